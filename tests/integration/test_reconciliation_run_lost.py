"""A run whose session is lost while it goes on: it writes nothing more, and another run is complete."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import asyncpg
import pytest

from settlement_engine.domain.lifecycle import State
from settlement_engine.domain.reconciliation import (
    AccountOutcome,
    PageMatches,
    ReconciliationRun,
    RunBegin,
    RunLost,
    StartedFor,
)
from settlement_engine.engine.reconciliation import Reconciliation
from settlement_engine.ports import Zones
from tests.support.bank_statements import BankDay, Booked, debit, take
from tests.support.histories import Scene
from tests.support.stores import PostgresStores

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

FUNDS = 1_000
PAID = 100


def matching_nothing(_page):
    return PageMatches(matches=(), suggestions=(), result_hash="")


class Two:
    """Two engines' stores, with an imported statement of an account that nobody has reconciled yet."""

    def __init__(self, url: str) -> None:
        self.one, self.two = PostgresStores(url), PostgresStores(url)
        self.url = url
        self.account = 0

    async def open(self) -> None:
        scene = await Scene.open(self.one, funds_minor=FUNDS)
        paid = await scene.bring(State.COMPLETED, minor=PAID)
        account = await scene.source()
        self.account = account.id
        entries = [Booked(minor=FUNDS, text="funding"), debit(paid)]
        await take(self.one, BankDay(account=account, opening=0, entries=entries))

    def run(self) -> ReconciliationRun:
        return ReconciliationRun(
            id=uuid.uuid4(),
            started_for=StartedFor.DEMAND,
            who="ada",
            rules_version="1",
            account_id=self.account,
        )

    async def lose(self) -> None:
        """End the session that holds the run, as an idle limit of the server would."""
        connection = await asyncpg.connect(self.url)
        pid = self.one.reconciliation._holder
        assert await connection.fetchval("SELECT pg_terminate_backend($1, 5000)", pid)
        await connection.close()

    async def statement(self, stores):
        [found] = await stores.reconciliation.statements_to_match(self.account, 10)
        return found

    async def items(self) -> tuple[int, int]:
        """How many entries are open, and how many of theirs the days count."""
        connection = await asyncpg.connect(self.url)
        row = await connection.fetchrow(
            "SELECT (SELECT count(*) FROM open_entries WHERE account_id = $1),"
            " (SELECT sum(theirs) FROM reconciliation_days WHERE account_id = $1)",
            self.account,
        )
        await connection.close()
        assert row is not None
        return row[0], int(row[1])


@pytest.fixture
async def two(database_url: str) -> AsyncIterator[Two]:
    made = Two(database_url)
    await made.open()
    yield made
    await made.one.close()
    await made.two.close()


async def test_a_run_that_was_lost_writes_nothing_more(two):
    store, run = two.one.reconciliation, two.run()
    assert await store.begin(run) is RunBegin.BEGUN
    while await store.take_in_postings(Zones(by_account={})):
        pass
    read = await two.statement(two.one)
    await two.lose()
    await Reconciliation(two.two.reconciliation).reconcile(two.run())
    before = await two.items()
    with pytest.raises(RunLost):
        await store.match_statement_page(two.account, run.id, read, matching_nothing)
    with pytest.raises(RunLost):
        await store.end(run.id, [], 0, b"\x00" * 32)
    assert await two.items() == before
    await store.leave()
    [result] = await Reconciliation(store).reconcile(two.run())
    assert result.outcome is not AccountOutcome.UNRESOLVED
    assert result.proof is not None
    assert result.proof.difference_minor == 0


async def test_a_page_that_a_lost_run_had_begun_is_not_matched_again(two):
    """It was read before the other run's page was committed."""
    store, run = two.two.reconciliation, two.run()
    assert await store.begin(run) is RunBegin.BEGUN
    read = await two.statement(two.two)
    await two.one.reconciliation.match_statement_page(two.account, run.id, read, matching_nothing)
    done = await store.match_statement_page(two.account, run.id, read, matching_nothing)
    assert (done.entries, done.is_last, done.upto) == (0, True, read.entries)
    assert await two.items() == (2, 2)


async def test_the_engine_ends_a_run_that_was_lost(two, monkeypatch):
    store, run = two.one.reconciliation, two.run()
    read = store.statements_to_match

    async def losing(account_id, limit):
        await two.lose()
        return await read(account_id, limit)

    monkeypatch.setattr(store, "statements_to_match", losing)
    with pytest.raises(RunLost):
        await Reconciliation(store).reconcile(run)
    monkeypatch.undo()
    [result] = await Reconciliation(store).reconcile(run)  # it was not ended, and goes on
    assert result.proof is not None
    assert result.proof.difference_minor == 0
