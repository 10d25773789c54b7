"""When reconciliation runs by itself: the schedule in its zone, arrivals, other engines' runs, alerts."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, ClassVar

import pytest
import structlog

from settlement_engine.domain.proof import BalanceProof
from settlement_engine.domain.reconciliation import (
    AccountOutcome,
    AccountResult,
    ReconciliationRun,
    StartedFor,
)
from settlement_engine.engine.reconciliation import Reconciliation
from settlement_engine.engine.reconciliation_schedule import (
    UNSEEN_AGAIN_SECONDS,
    UNSEEN_AT_ONCE_MAX,
    UNSEEN_STATEMENTS_MAX,
    MeteredReconciliation,
    ReconciliationSchedule,
    ReconciliationTimes,
)
from settlement_engine.errors import Contention, Unavailable
from tests.support.bank_statements import BankDay, Booked, take
from tests.support.histories import Scene
from tests.support.stores import CountedIds, MemoryStores

if TYPE_CHECKING:
    from settlement_engine.ports import Reconciler, ReconciliationStore

START = datetime(2026, 3, 28, 20, 0, tzinfo=UTC)


class SpringClock:
    """A clock that follows the loop's jumping time, from the evening before clocks go forward in Berlin."""

    def now(self) -> datetime:
        return START + timedelta(seconds=asyncio.get_running_loop().time())


class Recorded:
    """A reconciler that records its runs, and fails as told."""

    def __init__(self, *failures: Exception) -> None:
        self.runs: list[tuple[datetime, ReconciliationRun]] = []
        self.failures = list(failures)
        self.clock = SpringClock()

    async def reconcile(self, run: ReconciliationRun) -> list[AccountResult]:
        if self.failures:
            raise self.failures.pop(0)
        self.runs.append((self.clock.now(), run))
        return []


def scheduled(
    reconciler: Reconciler,
    schedule: str = "0 */6 * * *",
    store: ReconciliationStore | None = None,
    **times: object,
) -> ReconciliationSchedule:
    return ReconciliationSchedule(
        reconciler,
        store or MemoryStores().reconciliation,
        ReconciliationTimes(schedule=schedule, **times),  # type: ignore[arg-type]
        clock=SpringClock(),
        ids=CountedIds(),
    )


async def for_hours(schedule: ReconciliationSchedule, hours: float) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(schedule.run(), hours * 3_600)


async def test_runs_follow_the_schedule_in_its_zone():
    reconciler = Recorded()
    schedule = scheduled(reconciler, "30 2 * * *", zone="Europe/Berlin")
    await for_hours(schedule, 60)
    assert {run.started_for for _, run in reconciler.runs} == {StartedFor.SCHEDULE}
    # In the night of 29 March half past two does not exist in Berlin: it is three o'clock, once.
    first, second, third = (at for at, _ in reconciler.runs)
    assert abs((first - datetime(2026, 3, 29, 1, 0, tzinfo=UTC)).total_seconds()) < 60
    assert abs((second - datetime(2026, 3, 30, 0, 30, tzinfo=UTC)).total_seconds()) < 60
    assert abs((third - datetime(2026, 3, 31, 0, 30, tzinfo=UTC)).total_seconds()) < 60


async def test_two_engines_give_a_scheduled_run_one_id():
    one, other = Recorded(), Recorded()
    together = (for_hours(scheduled(each), 12.5) for each in (one, other))
    await asyncio.gather(*together)
    ids = [[run.id for _, run in each.runs] for each in (one, other)]
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == 2


async def test_arrivals_are_reconciled_soon_and_account_by_account():
    reconciler = Recorded()
    schedule = scheduled(reconciler)
    schedule.arrived({7, 3})
    schedule.arrived({3})
    await for_hours(schedule, 0.1)
    assert [each.account_id for _, each in reconciler.runs] == [3, 7]
    assert {each.started_for for _, each in reconciler.runs} == {StartedFor.ARRIVAL}
    off = scheduled(reconciler, on_arrival=False)
    off.arrived({9})
    await for_hours(off, 0.1)
    assert len(reconciler.runs) == 2


async def test_another_engines_run_is_waited_for_and_a_failure_ends_one_run_only():
    busy = Contention("another reconciliation is going on")
    gone = Unavailable("the database is gone", why="the test says so")
    reconciler = Recorded(busy, busy, gone)
    schedule = scheduled(reconciler)
    schedule.arrived({3, 7})
    await for_hours(schedule, 0.1)
    assert [each.account_id for _, each in reconciler.runs] == [7]  # that of 3 has failed
    await for_hours(schedule, 6)
    assert reconciler.runs[-1][1].started_for is StartedFor.SCHEDULE


async def test_statements_of_an_engine_that_died_are_reconciled_after_a_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = await Scene.open(MemoryStores(), funds_minor=0)
    store, account = scene.stores.reconciliation, await scene.source()
    await take(scene.stores, BankDay(account=account, opening=0, entries=[Booked(minor=5)]))
    ask = store.accounts_with_unseen_statements
    asked: list[int] = []

    async def fails_at_first(statements_max: int, *, older_seconds: float = 0.0) -> list[int]:
        asked.append(statements_max)
        if len(asked) == 1:
            gone = "the database is gone"
            raise Unavailable(gone, why="the test says so")
        return await ask(statements_max, older_seconds=older_seconds)

    monkeypatch.setattr(store, "accounts_with_unseen_statements", fails_at_first)
    await for_hours(scheduled(Reconciliation(store), store=store, on_arrival=False), 0.1)
    assert asked == []
    await for_hours(scheduled(Reconciliation(store), store=store), 0.1)
    [(account_id, _, proof)] = await scene.stores.reconciled.proofs(None, account.id, 0, 10)
    assert (account_id, proof.their_closing_minor) == (account.id, 5)
    assert asked == [UNSEEN_STATEMENTS_MAX] * 3  # until there is an answer, and then now and then
    after = Recorded()
    await for_hours(scheduled(after, store=store), 0.1)
    assert after.runs == []


class Remembered:
    """Reconciles, and remembers the accounts."""

    def __init__(self, inner: Reconciler) -> None:
        self._inner = inner
        self.accounts: list[int | None] = []

    async def reconcile(self, run: ReconciliationRun) -> list[AccountResult]:
        results = await self._inner.reconcile(run)
        self.accounts.append(run.account_id)
        return results


async def test_statements_of_an_engine_that_died_are_reconciled_by_those_that_run() -> None:
    """Nobody starts: the engines that run look now and then, and one of them takes the account."""
    stores = MemoryStores()
    scene = await Scene.open(stores, funds_minor=0)
    store, account = scene.stores.reconciliation, await scene.source()
    stores.records.clock = SpringClock()
    engines = [Remembered(Reconciliation(scene.stores.beside().reconciliation)) for _ in range(2)]
    looking = [asyncio.create_task(scheduled(each, store=store).run()) for each in engines]
    await asyncio.sleep(60)
    assert [each.accounts for each in engines] == [[], []]
    await take(scene.stores, BankDay(account=account, opening=0, entries=[Booked(minor=5)]))
    await asyncio.sleep(2 * UNSEEN_AGAIN_SECONDS + 60)
    for each in looking:
        each.cancel()
    await asyncio.gather(*looking, return_exceptions=True)
    done = [account_id for each in engines for account_id in each.accounts]
    assert set(done) == {account.id}
    [(account_id, _, proof)] = await scene.stores.reconciled.proofs(None, account.id, 0, 10)
    assert (account_id, proof.their_closing_minor) == (account.id, 5)


class Shared(Recorded):
    """Engines of which one at a time has a run: the others are told so."""

    running: ClassVar[list[int]] = []
    most: ClassVar[list[int]] = []

    async def reconcile(self, run: ReconciliationRun) -> list[AccountResult]:
        if self.running:
            raise Contention("another reconciliation is going on")
        self.running.append(1)
        self.most.append(len(self.running))
        await asyncio.sleep(1)
        self.running.clear()
        return await super().reconcile(run)


class Unseen:
    """A store with accounts whose statements nobody has reconciled, until somebody does."""

    def __init__(self, *engines: Recorded, accounts: int) -> None:
        self.engines = engines
        self.accounts = accounts
        self.asked: list[float] = []

    async def accounts_with_unseen_statements(
        self, statements_max: int, *, older_seconds: float = 0.0
    ) -> list[int]:
        del statements_max
        self.asked.append(older_seconds)
        done = {run.account_id for each in self.engines for _, run in each.runs}
        return [each for each in range(1, self.accounts + 1) if each not in done]


async def test_two_engines_share_what_a_third_one_has_left_and_never_run_at_once() -> None:
    engines = [Shared(), Shared()]
    store = Unseen(*engines, accounts=3 * UNSEEN_AT_ONCE_MAX)
    together = (
        for_hours(scheduled(each, store=store), 1)  # type: ignore[arg-type]
        for each in engines
    )
    await asyncio.gather(*together)
    done = [run.account_id for each in engines for _, run in each.runs]
    assert set(done) == set(range(1, store.accounts + 1))
    assert len(done) <= store.accounts + 4 * UNSEEN_AT_ONCE_MAX, "hardly any is done twice"
    assert set(Shared.most) == {1}
    assert store.asked[0] == 0.0
    assert store.asked[-1] == UNSEEN_AGAIN_SECONDS


async def test_accounts_whose_run_never_begins_keep_no_other_one() -> None:
    class Stubborn(Recorded):
        async def reconcile(self, run: ReconciliationRun) -> list[AccountResult]:
            if run.account_id in {3, 7}:
                raise Contention("the database stopped the transaction in favour of another one")
            return await super().reconcile(run)

    reconciler = Stubborn()
    schedule = scheduled(reconciler)
    schedule.arrived(range(1, 10))
    await for_hours(schedule, 0.1)
    assert {run.account_id for _, run in reconciler.runs} == {1, 2, 4, 5, 6, 8, 9}


async def test_a_run_of_the_schedule_does_not_wait_for_all_that_has_arrived() -> None:
    class Slow(Recorded):
        async def reconcile(self, run: ReconciliationRun) -> list[AccountResult]:
            await asyncio.sleep(60)
            return await super().reconcile(run)

    reconciler = Slow()
    schedule = scheduled(reconciler, "0 * * * *")
    schedule.arrived(range(1, 200))
    await for_hours(schedule, 5)
    assert [run.started_for for _, run in reconciler.runs].index(StartedFor.SCHEDULE) <= 61
    arrived = [run for _, run in reconciler.runs if run.started_for is StartedFor.ARRIVAL]
    assert len(arrived) == 199


class Meter:
    def __init__(self) -> None:
        self.said: list[int] = []

    def reconciled(self, differences: int) -> None:
        self.said.append(differences)

    def compared(self, *, equal: int, differing: int) -> None:
        self.balances = (equal, differing)


def result(account_id: int, currency: str, theirs: int) -> AccountResult:
    proof = BalanceProof(
        booking_date=START.date(),
        our_closing_minor=0,
        unmatched_theirs_minor=theirs,
        unmatched_ours_minor=0,
        opening_difference_minor=0,
        difference_minor=0,
        their_closing_minor=theirs,
    )
    outcome = AccountOutcome.IDENTIFIED if theirs else AccountOutcome.BALANCED
    return AccountResult(account_id, "BANK", currency, outcome, proof=proof)


class Found:
    def __init__(self, *results: AccountResult) -> None:
        self.results = list(results)

    async def reconcile(self, run: ReconciliationRun) -> list[AccountResult]:
        del run
        return self.results


async def test_a_run_is_counted_and_large_sums_are_alerts():
    found = Found(result(1, "EUR", 150), result(2, "EUR", -150), result(3, "JPY", 10))
    meter = Meter()
    metered = MeteredReconciliation(found, meter, {"EUR": 300, "JPY": 11})
    run = ReconciliationRun(
        id=uuid.UUID(int=1), started_for=StartedFor.DEMAND, who="ada", rules_version=""
    )
    with structlog.testing.capture_logs() as logged:
        assert await metered.reconcile(run) == found.results
    assert meter.said == [3]
    alerts = [each for each in logged if each["log_level"] == "error"]
    assert [(each["currency"], each["total_minor"]) for each in alerts] == [("EUR", 300)]
