"""An entry of a statement that this program cannot read keeps no other one from being searched, and is tried again."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from settlement_engine.domain.chain_problems import ProblemKind
from settlement_engine.domain.lifecycle import State
from settlement_engine.domain.missing_statements import StatementDueTimes
from settlement_engine.domain.reconciliation import (
    AccountOutcome,
    ReconciliationRun,
    StartedFor,
)
from settlement_engine.engine.reconciliation import Reconciliation
from settlement_engine.engine.statement_problems import PresentProblems
from settlement_engine.errors import CorruptRecord, InvariantViolated
from tests.contract.test_store_reconciliation import (
    PAID_IN,
    Books,
    compared,
    report_balance,
)
from tests.contract.test_store_statement_evidence import MANY, opened
from tests.support.booked import booking, take
from tests.support.stores import PostgresStores, WallClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.databases import Databases

DAMAGES = {
    "references that are no object": ("refs", "'[1]'"),
    "a status of another version": ("status", "'told'"),
    "a date beyond every calendar": ("booking_date", "'20000-01-01'"),
    "a date without end": ("value_date", "'infinity'"),
}
PASSED = "UPDATE unread_entries SET tried_at = tried_at - interval '6 minutes'"


class Damaged:
    """Two statements, each with debits of three payments in doubt, on a database that somebody has altered."""

    def __init__(self, stores: PostgresStores, connection: Any) -> None:
        self.stores = stores
        self.connection = connection

    async def open(self) -> None:
        self.scene, self.bank = await opened(self.stores)
        for _ in range(2):
            doubted = [await self.scene.bring(State.IN_DOUBT) for _ in range(3)]
            content = self.bank.statement(*map(booking, doubted))
            assert await take(self.stores.statements, content) == "IMPORTED"
        rows = await self.connection.fetch("SELECT id FROM statements ORDER BY id")
        self.first, self.second = (row["id"] for row in rows)
        for table in ("statements", "statement_entries"):
            await self.connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL")
            checks = await self.connection.fetch(
                "SELECT conname FROM pg_constraint WHERE conrelid = $1::regclass AND contype = 'c'",
                table,
            )
            for check in checks:
                drop = f"ALTER TABLE {table} DROP CONSTRAINT {check['conname']}"
                await self.connection.execute(drop)

    async def searched(self) -> list[tuple[int, int]]:
        """Search until nothing is left; return the numbers of the rows that were told, as statement and entry."""
        rows = MANY
        while True:
            try:
                if await self.stores.evidence.search_next(rows) is None:
                    break
            except (CorruptRecord, InvariantViolated):
                rows //= 2
                assert rows, "one row alone is never refused"
        return await self.told()

    async def told(self) -> list[tuple[int, int]]:
        rows = await self.connection.fetch(
            "SELECT statement_id, entry_number FROM statement_evidence WHERE is_news ORDER BY 1, 2"
        )
        return [(row["statement_id"] - self.first, row["entry_number"]) for row in rows]

    async def problems(self) -> list[tuple[int, str]]:
        found = PresentProblems(self.stores.statements, WallClock(), StatementDueTimes())
        page = await found.page(None, 0)
        return [
            (each.problem.statement_id, each.problem.reason)
            for each in page.problems
            if each.problem.kind is ProblemKind.UNREAD
        ]


@pytest.fixture
async def damaged(databases: Databases) -> AsyncIterator[Damaged]:
    url = await databases.migrated()
    stores = PostgresStores(url)
    connection = await asyncpg.connect(url)
    made = Damaged(stores, connection)
    await made.open()
    yield made
    await connection.close()
    await stores.close()


ALL = [(0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (1, 3)]


@pytest.mark.parametrize(("column", "value"), DAMAGES.values(), ids=DAMAGES)
async def test_an_entry_that_cannot_be_read_is_set_aside_and_tried_again(
    damaged: Damaged, column: str, value: str
) -> None:
    execute, store = damaged.connection.execute, damaged.stores.evidence
    keep = f"SELECT {column}::text FROM statement_entries WHERE statement_id = $1 AND number = 2"
    before = await damaged.connection.fetchval(keep, damaged.first)
    alter = f"UPDATE statement_entries SET {column} = {{}} WHERE statement_id = $1 AND number = 2"
    await execute(alter.format(value), damaged.first)
    assert await damaged.searched() == [each for each in ALL if each != (0, 2)]
    assert await store.unread_count() == 1
    [(statement, reason)] = await damaged.problems()
    assert statement == damaged.first
    assert reason.startswith("1 entry cannot be read, the first is 2; ")

    assert await store.search_unread() is None, "only after some minutes"
    await execute(PASSED)
    again = await store.search_unread()
    assert again is not None
    assert [(each.entry, each.detail) for each in again.unread] == [(2, 1)]
    assert await store.search_unread() is None
    await execute(alter.format(f"'{before}'"), damaged.first)  # or a program that can read it
    await execute(PASSED)
    read = await store.search_unread()
    assert read is not None
    assert (read.found, read.news, read.unread) == (1, 1, ())
    assert await damaged.told() == ALL
    assert await store.unread_count() == 0
    assert await damaged.problems() == []


async def test_a_statement_of_which_nothing_can_be_read_lets_the_others_go_first(
    damaged: Damaged,
) -> None:
    execute, store = damaged.connection.execute, damaged.stores.evidence
    alter = "UPDATE statements SET source = $2 WHERE id = $1"
    await execute(alter, damaged.first, "camt.099")
    assert await damaged.searched() == [each for each in ALL if each[0] == 1]
    assert await store.unread_count() == 1
    [(statement, reason)] = await damaged.problems()
    assert statement == damaged.first
    assert reason.startswith("nothing of it can be read; ")
    assert "camt.099" in reason
    await execute(PASSED)
    assert await store.search_unread() is None, "it is searched as it was"
    assert len(await damaged.searched()) == 3
    await execute(alter, damaged.first, "camt.053")
    assert len(await damaged.searched()) == 3, "only after some minutes"
    await execute(PASSED)
    assert await damaged.searched() == ALL
    assert await store.unread_count() == 0


async def test_an_entry_that_the_database_refuses_is_set_aside_when_it_is_searched_alone(
    damaged: Damaged,
) -> None:
    execute, store = damaged.connection.execute, damaged.stores.evidence
    await execute(
        "ALTER TABLE statement_evidence ADD CONSTRAINT refused CHECK (entry_number <> 2) NOT VALID"
    )
    assert await damaged.searched() == [each for each in ALL if each[1] != 2]
    assert await store.unread_count() == 2
    await execute(PASSED)
    for _ in range(2):
        again = await store.search_unread()
        assert again is not None
        assert len(again.unread) == 1
    assert await store.search_unread() is None
    await execute("ALTER TABLE statement_evidence DROP CONSTRAINT refused")
    await execute(PASSED)
    while await store.search_unread() is not None:
        pass
    assert await damaged.told() == ALL


async def test_an_account_with_a_reported_balance_that_cannot_be_read_is_reported_as_failed(
    damaged: Damaged,
) -> None:
    books = await Books.open(damaged.stores)
    await report_balance(books, PAID_IN)
    alter = "UPDATE statements SET content = '[1]' WHERE source = 'camt.052'"
    await damaged.connection.execute(alter)
    failed = await compared(books)
    assert failed.outcome is AccountOutcome.FAILED
    assert "has reported cannot be read" in failed.reason


async def test_an_account_with_such_an_entry_is_reported_as_failed_and_the_others_go_on(
    damaged: Damaged,
) -> None:
    _, bank = await opened(damaged.stores)
    assert await take(damaged.stores.statements, bank.statement()) == "IMPORTED"
    run = ReconciliationRun(
        id=uuid.uuid4(), started_for=StartedFor.SCHEDULE, who="engine", rules_version=""
    )
    alter = "UPDATE statement_entries SET refs = '[1]' WHERE statement_id = $1 AND number = 2"
    await damaged.connection.execute(alter, damaged.first)
    results = {
        each.account_id: each
        for each in await Reconciliation(damaged.stores.reconciliation).reconcile(run)
    }
    failed = results[damaged.bank.account.id]
    assert failed.outcome is AccountOutcome.FAILED
    assert "cannot be read" in failed.reason
    assert results[bank.account.id].outcome is not AccountOutcome.FAILED
