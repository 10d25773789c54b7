"""A run of reconciliation: one account's failure is its own, and a run that fails is given free."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from typing_extensions import override

from settlement_engine.domain.closed_differences import ROUNDING_ACCOUNT, versioned
from settlement_engine.domain.lifecycle import State
from settlement_engine.domain.matching.values import Rules, Tolerance
from settlement_engine.domain.reconciliation import (
    AccountOutcome,
    ReconciliationRun,
    StartedFor,
)
from settlement_engine.domain.statement_import import AccountNames
from settlement_engine.engine.reconciliation import ACCOUNTS_AT_ONCE, Reconciliation
from settlement_engine.errors import Unavailable
from settlement_lab.memory import MemoryReconciliation
from tests.support.bank_statements import BankDay, debit, take
from tests.support.histories import Scene, funding
from tests.support.stores import MemoryStores

if TYPE_CHECKING:
    from settlement_engine.domain.reconciliation import AccountToReconcile
    from settlement_engine.ports import StatementToMatch, Zones


RULES = versioned(Rules(version="", tolerances=(Tolerance("EUR", 2, ROUNDING_ACCOUNT),)))


class Unreachable(MemoryReconciliation):
    """A store that fails for one account, or for all."""

    account_id = 0
    is_down = False
    zones: Zones | None = None

    @override
    async def statements_to_match(self, account_id: int, limit: int) -> list[StatementToMatch]:
        if account_id == self.account_id:
            raise Unavailable("the database is gone", why="the test says so", todo="Wait.")
        return await super().statements_to_match(account_id, limit)

    @override
    async def take_in_postings(self, zones: Zones) -> bool:
        self.zones = zones
        if self.is_down:
            raise Unavailable("the database is gone", why="the test says so")
        return await super().take_in_postings(zones)


class Counted(MemoryReconciliation):
    """A store that counts the accounts that it returns."""

    read: list[int]

    @override
    async def accounts_to_reconcile(
        self, run: ReconciliationRun, limit: int
    ) -> list[AccountToReconcile]:
        found = await super().accounts_to_reconcile(run, limit)
        self.read.append(len(found))
        return found


class Beside(MemoryReconciliation):
    """A store in which an account waits for another one that is reconciled beside it."""

    error: Exception | None = None
    most = 0
    now_reconciled = 0

    @override
    async def statements_to_match(self, account_id: int, limit: int) -> list[StatementToMatch]:
        self.now_reconciled += 1
        try:
            self.most = max(self.most, self.now_reconciled)
            for _ in range(10):
                await asyncio.sleep(0)
                self.most = max(self.most, self.now_reconciled)
            if self.error is not None:
                raise self.error
            return await super().statements_to_match(account_id, limit)
        finally:
            self.now_reconciled -= 1


def run_of_all() -> ReconciliationRun:
    return ReconciliationRun(
        id=uuid.uuid4(), started_for=StartedFor.SCHEDULE, who="engine", rules_version=""
    )


@pytest.fixture
async def scenes() -> list[Scene]:
    """Two accounts at banks, each with a payment that its statement has."""
    stores = MemoryStores()
    found = [await Scene.open(stores) for _ in range(2)]
    for scene in found:
        paid = await scene.bring(State.COMPLETED, minor=100)
        day = BankDay(account=await scene.source(), opening=10**9, entries=[debit(paid)])
        await take(stores, day)
    return found


async def test_an_account_that_fails_does_not_stop_the_others(scenes):
    store = Unreachable(scenes[0].stores.records, scenes[0].stores.accounts)
    store.account_id = scenes[0].route.source_id
    results = {
        each.account_id: each for each in await Reconciliation(store).reconcile(run_of_all())
    }
    failed = results[scenes[0].route.source_id]
    assert failed.outcome is AccountOutcome.FAILED
    assert failed.reason == "the database is gone: the test says so. Wait."
    other = results[scenes[1].route.source_id]
    assert other.proof is not None
    assert other.proof.unmatched_theirs == 0


async def test_an_account_that_cannot_reverse_a_difference_says_so_and_the_others_go_on():
    """Its new statement is matched as well; what it lacks is a break, until it is funded."""
    stores = MemoryStores()
    reconciliation = Reconciliation(stores.reconciliation, rules=RULES)
    poor, rich = [await Scene.open(stores, funds_minor=0) for _ in range(2)]
    days = []
    for scene in (poor, rich):
        await stores.accounts.fund(funding(2_000, bank=scene.source_bank))
        paid = await scene.bring(State.COMPLETED, minor=1_000)
        given = BankDay(
            account=await scene.source(), opening=2_000, entries=[debit(paid, minor=-998)]
        )
        await take(stores, given)
        days.append(replace(given, entries=[debit(paid)], made=23))
    await reconciliation.reconcile(run_of_all())
    await poor.bring(State.COMPLETED, minor=1_002)
    for day in days:
        await take(stores, day)
    results = {each.account_id: each for each in await reconciliation.reconcile(run_of_all())}
    assert "fund the account" in results[poor.route.source_id].reason
    assert "cover" not in results[rich.route.source_id].reason
    assert AccountOutcome.FAILED not in {each.outcome for each in results.values()}
    await stores.accounts.fund(funding(2, bank=poor.source_bank, reference="MORE"))
    results = {each.account_id: each for each in await reconciliation.reconcile(run_of_all())}
    assert "cover" not in results[poor.route.source_id].reason


async def test_a_run_that_fails_is_given_free_and_the_next_one_completes_it(scenes):
    store = Unreachable(scenes[0].stores.records, scenes[0].stores.accounts)
    store.is_down = True
    with pytest.raises(Unavailable):
        await Reconciliation(store).reconcile(run_of_all())
    store.is_down = False
    results = await Reconciliation(store).reconcile(run_of_all())
    assert AccountOutcome.FAILED not in {each.outcome for each in results}


async def test_a_run_of_one_account_does_not_read_all_others(scenes):
    """Thousands of accounts may arrive, each for a run of its own."""
    account = await scenes[0].source()
    store = Counted(scenes[0].stores.records, scenes[0].stores.accounts)
    read = store.read = []
    run = replace(run_of_all(), account_id=account.id)
    [found] = await Reconciliation(store).reconcile(run)
    assert (found.account_id, read) == (account.id, [1])
    names = AccountNames(bank=account.bank, currency=account.currency, number="1", zone="UTC")
    other = replace(run_of_all(), account_id=account.id)
    await Reconciliation(store, [names, replace(names, bank="NOBODY")]).reconcile(other)
    assert read[1:] == [1, 0, 1], "those of the banks whose accounts have zones, and its own"


async def test_the_zone_of_an_account_decides_its_booking_days(scenes):
    account = await scenes[0].source()
    store = Unreachable(scenes[0].stores.records, scenes[0].stores.accounts)
    names = AccountNames(
        bank=account.bank,
        currency=account.currency,
        number=account.account_number,
        zone="Pacific/Kiritimati",
    )
    await Reconciliation(store, [names], zone="Asia/Dubai").reconcile(run_of_all())
    assert store.zones is not None
    assert store.zones.default == "Asia/Dubai"
    assert store.zones.by_account == {account.id: "Pacific/Kiritimati"}


async def test_accounts_are_reconciled_side_by_side_and_reported_in_their_order(scenes):
    store = Beside(scenes[0].stores.records, scenes[0].stores.accounts)
    results = await Reconciliation(store).reconcile(run_of_all())
    assert store.most == ACCOUNTS_AT_ONCE
    assert [each.account_id for each in results] == sorted(each.account_id for each in results)


async def test_an_error_that_is_no_accounts_own_ends_the_run(scenes):
    store = Beside(scenes[0].stores.records, scenes[0].stores.accounts)
    store.error = AssertionError("a fault of ours")
    with pytest.raises(ExceptionGroup) as raised:
        await Reconciliation(store).reconcile(run_of_all())
    assert raised.value.subgroup(AssertionError)
    assert store.now_reconciled == 0
    store.error = None
    assert await Reconciliation(store).reconcile(run_of_all())
