"""Entries of statements in a running engine: a debit ends a doubt, an absence ends nothing, contradictions are cases."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING

import pytest
import structlog

from settlement_engine.domain.closed_differences import (
    CHARGES_ACCOUNT,
    NO_RULES,
    ROUNDING_ACCOUNT,
    versioned,
)
from settlement_engine.domain.decisions.after_the_end import UNPOSTED
from settlement_engine.domain.exceptions import CaseKind
from settlement_engine.domain.ledger import AccountKind
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.matching.values import Charge, Rules, Tolerance
from settlement_engine.domain.reconciliation import ReconciliationRun, StartedFor
from settlement_engine.domain.statement_evidence import UnreadRow
from settlement_engine.domain.statements import EntryStatus
from settlement_engine.engine.reconciliation import Reconciliation
from settlement_engine.engine.settings import EngineSettings
from settlement_engine.engine.statement_evidence import UNREAD_AT_ONCE_MAX, StatementSearch
from settlement_engine.errors import CorruptRecord, Unavailable
from settlement_engine.ports import AccountFilter, ReportOutcome
from settlement_engine.ports.statement_evidence import AbsentPayment, Searched, absence_of
from settlement_lab.memory import MemoryEvidence, MemoryReconciliation, MemoryStatements
from tests.support.booked import FIRST_DAY, BankAccount, booking, take
from tests.unit.engine.engine_world import payment_request, running
from tests.unit.engine.test_case_worker import kinds, posted, say

if TYPE_CHECKING:
    from settlement_engine.domain.reconciliation import AccountResult
    from settlement_engine.domain.settlement import Settlement
    from settlement_engine.domain.statements import Entry
    from tests.unit.engine.engine_world import EngineWorld

SEARCHING = EngineSettings(evidence_poll_seconds=0.005)


RULES = versioned(
    Rules(
        version="",
        charges=(Charge("EUR", 15, CHARGES_ACCOUNT),),
        tolerances=(Tolerance("EUR", 1, ROUNDING_ACCOUNT),),
    )
)


async def imported(
    world: EngineWorld,
    *entries: Entry,
    bank: BankAccount | None = None,
    rules: Rules = NO_RULES,
) -> None:
    """Import the next statement of the paying bank, and let the engine work off what it says."""
    bank = bank or BankAccount(await world.nostro())
    outcome = await take(MemoryStatements(world.records), bank.statement(*entries))
    assert outcome == "IMPORTED"
    search = StatementSearch(SEARCHING, MemoryEvidence(world.records), rules=rules)
    while await search.step():
        pass
    await world.until(
        lambda: world.records.closed_reports.keys() == world.records.inbound_reports.keys()
    )


async def todays_bank(world: EngineWorld) -> BankAccount:
    """The paying bank, whose next statement is of the day on which we have booked."""
    bank = BankAccount(await world.nostro())
    bank.number = (world.records.clock.now().date() - FIRST_DAY).days - 1
    return bank


async def reconciled(world: EngineWorld) -> list[AccountResult]:
    """Reconcile the paying bank's account by the same rules."""
    store = MemoryReconciliation(world.records, world.accounts)
    run = ReconciliationRun(
        id=uuid.uuid4(),
        started_for=StartedFor.DEMAND,
        who="ada",
        rules_version="",
        account_id=(await world.nostro()).id,
    )
    return await Reconciliation(store, rules=RULES).reconcile(run)


def outcomes(world: EngineWorld) -> list[ReportOutcome]:
    return list(world.records.closed_reports.values())


async def doubted(world: EngineWorld, key: str = "k1") -> Settlement:
    """Send a payment whose confirmation is lost for ever."""
    world.rail.sends.extend([None])
    world.rail.enquiries.extend([None] * 10_000)
    [found] = await world.engine.submit([payment_request(key)])
    assert not isinstance(found, Exception)
    await world.until(lambda: world.records.histories[found.id].state is State.IN_DOUBT)
    return world.records.histories[found.id]


async def test_a_lost_confirmation_is_ended_by_the_statement() -> None:
    async with running() as world:
        found = await doubted(world)
        await imported(world, booking(found))
        assert (await world.engine.wait(found.id, 5)).state is State.COMPLETED
        moves = await world.store.history(found.id)
        assert moves[-1].event is Event.SETTLED
        said = moves[-1].detail
        assert (said["statement"], said["statement_entry"]) == ("1", "1")
        assert (said["statement_says"], said["amount_minor"]) == ("debit", "100")
        assert (await world.nostro()).posted == 10_000 - 100
        assert outcomes(world) == [ReportOutcome.APPLIED]


@pytest.mark.parametrize("status", [EntryStatus.PENDING, EntryStatus.INFORMATION])
async def test_what_is_not_booked_ends_nothing(status: EntryStatus) -> None:
    async with running() as world:
        found = await doubted(world)
        await imported(world, booking(found, status=status))
        assert world.records.histories[found.id].state is State.IN_DOUBT


async def test_a_statement_without_the_payment_ends_nothing() -> None:
    async with running() as world:
        found = await doubted(world)
        bank = BankAccount(await world.nostro())
        for _ in range(3):
            await imported(world, bank=bank)
        history = world.records.histories[found.id]
        assert (history.state, history.is_frozen) == (State.IN_DOUBT, False)
        assert (await world.nostro()).held == 100


async def test_a_completed_payment_that_the_statements_lack_is_a_critical_exception() -> None:
    """The report of the absence, as the store makes it; of a settlement in doubt it changes nothing."""
    async with running() as world:
        completed, open_one = await world.settle("k1"), await doubted(world, "k2")
        evidence = MemoryEvidence(world.records)
        for each in (completed, open_one):
            content, report = absence_of(AbsentPayment(each.id, 1, 7))
            evidence.store(content, [(each.id, 1, report)], "")
        await world.until(lambda: len(world.records.closed_reports) == 2)
        assert kinds(world) == [CaseKind.STATEMENT_DIFFERS]
        histories = world.records.histories
        assert histories[completed.id].is_frozen
        assert histories[completed.id].state is State.COMPLETED
        doubt = histories[open_one.id]
        assert (doubt.state, doubt.is_frozen) == (State.IN_DOUBT, False)
        assert (await world.nostro()).held == 100
        assert sorted(outcomes(world)) == [ReportOutcome.APPLIED, ReportOutcome.NO_NEWS]


async def test_another_amount_is_not_settled_and_freezes() -> None:
    async with running() as world:
        found = await doubted(world)
        await imported(world, booking(found, -99))
        history = world.records.histories[found.id]
        assert (history.state, history.is_frozen) == (State.SENT, True)
        assert kinds(world) == [CaseKind.AMOUNT_DIFFERS]
        assert (await world.nostro()).held == 100


@pytest.mark.parametrize(
    ("minor", "closed_by", "kind"),
    [
        (-99, "tolerance", AccountKind.FX),
        (-101, "tolerance", AccountKind.FX),
        (-115, "charges-by-tariff", AccountKind.FEES),
    ],
)
async def test_a_debit_within_the_rules_ends_a_doubt_and_matching_books_the_difference(
    minor: int, closed_by: str, kind: AccountKind
) -> None:
    async with running() as world:
        found = await doubted(world)
        bank = await todays_bank(world)
        await imported(world, booking(found, minor), bank=bank, rules=RULES)
        assert (await world.engine.wait(found.id, 5)).state is State.COMPLETED
        history = world.records.histories[found.id]
        assert (history.is_frozen, kinds(world)) == (False, [])
        said = (await world.store.history(found.id))[-1].detail
        assert (said["statement_says"], said["statement_closed_by"]) == ("debit", closed_by)
        assert (said["amount_minor"], said["statement_rules"]) == (
            str(-minor),
            RULES.full_version,
        )
        assert (await world.nostro()).posted == 10_000 - 100
        [result] = await reconciled(world)
        assert result.closed_differences == 1
        assert (await world.nostro()).posted == 10_000 + minor
        [other] = await world.accounts.accounts(AccountFilter(kind=kind))
        assert other.debits_posted - other.credits_posted == -minor - 100
        assert outcomes(world) == [ReportOutcome.APPLIED]


@pytest.mark.parametrize("minor", [-98, -102, -114, -116, -85])
async def test_a_debit_beyond_the_rules_is_another_amount(minor: int) -> None:
    async with running() as world:
        found = await doubted(world)
        bank = await todays_bank(world)
        await imported(world, booking(found, minor), bank=bank, rules=RULES)
        history = world.records.histories[found.id]
        assert (history.state, history.is_frozen) == (State.SENT, True)
        assert kinds(world) == [CaseKind.AMOUNT_DIFFERS]
        assert (await world.nostro()).held == 100
        [result] = await reconciled(world)
        assert result.closed_differences == 0


async def test_a_completed_payment_is_not_contradicted_by_what_the_rules_close() -> None:
    async with running() as world:
        near, beyond = await world.settle("k1"), await world.settle("k2")
        await imported(world, booking(near, -101), booking(beyond, -102), rules=RULES)
        assert world.records.histories[near.id].is_frozen is False
        assert world.records.histories[beyond.id].is_frozen is True
        assert kinds(world) == [CaseKind.AMOUNT_DIFFERS]


async def test_a_second_debit_within_the_rules_goes_to_suspense_as_the_payments_amount() -> None:
    async with running() as world:
        found = await doubted(world)
        await imported(world, booking(found, -101), booking(found, -101), rules=RULES)
        history = world.records.histories[found.id]
        assert (history.state, history.is_frozen) == (State.COMPLETED, True)
        assert kinds(world) == [CaseKind.DEBITED_TWICE]
        assert (await world.nostro()).posted == 10_000 - 200
        assert await posted(world, AccountKind.SUSPENSE) == -100


async def test_a_late_debit_within_the_rules_is_a_late_debit() -> None:
    async with running() as world:
        world.rail.sends.extend([Event.REJECTED])
        found = await world.settle()
        await imported(world, booking(found, -101), rules=RULES)
        assert kinds(world) == [CaseKind.LATE_DEBIT]
        assert (await world.nostro()).posted == 10_000


async def test_two_debits_settle_once_and_the_second_goes_to_suspense() -> None:
    async with running() as world:
        found = await doubted(world)
        await imported(world, booking(found), booking(found))
        history = world.records.histories[found.id]
        assert (history.state, history.is_frozen) == (State.COMPLETED, True)
        assert kinds(world) == [CaseKind.DEBITED_TWICE]
        assert (await world.nostro()).posted == 10_000 - 200
        assert await posted(world, AccountKind.SUSPENSE) == -100


async def test_a_second_debit_that_is_not_covered_is_an_exception_at_once() -> None:
    async with running(funds=100) as world:
        found = await doubted(world)
        await imported(world, booking(found), booking(found))
        history = world.records.histories[found.id]
        assert (history.state, history.is_frozen) == (State.COMPLETED, True)
        assert kinds(world) == [CaseKind.SECOND_DEBIT]
        [case] = world.records.cases.values()
        assert case.detail["why"] == UNPOSTED
        assert (await world.nostro()).posted == 0
        assert "step_broken" not in world.meter.invariant_warnings
        assert outcomes(world) == [ReportOutcome.APPLIED] * 2


async def test_the_debit_of_a_confirmed_payment_is_a_match_and_no_report() -> None:
    async with running() as world:
        found = await world.settle()
        await imported(world, booking(found))
        assert world.records.inbound_reports == {}
        assert world.records.histories[found.id].is_frozen is False


async def test_a_confirmation_that_comes_after_the_statement_changes_nothing() -> None:
    async with running() as world:
        found = await doubted(world)
        await imported(world, booking(found))
        say(world, found, Event.SETTLED, confirmation="LATE-1")
        await world.until(lambda: len(world.records.closed_reports) == 2)
        history = world.records.histories[found.id]
        assert (history.state, history.is_frozen) == (State.COMPLETED, False)


async def test_a_debit_of_a_rejected_payment_is_a_critical_exception() -> None:
    async with running() as world:
        world.rail.sends.extend([Event.REJECTED])
        found = await world.settle()
        assert found.state is State.ROLLED_BACK
        await imported(world, booking(found))
        history = world.records.histories[found.id]
        assert (history.state, history.is_frozen) == (State.ROLLED_BACK, True)
        assert kinds(world) == [CaseKind.LATE_DEBIT]
        assert (await world.nostro()).posted == 10_000


async def test_a_return_that_only_the_statement_shows_is_booked() -> None:
    async with running() as world:
        found = await doubted(world)
        await imported(world, booking(found), booking(found, 95, charges_minor=5))
        assert world.records.histories[found.id].state is State.RETURNED
        moves = [move.to_state for move in await world.store.history(found.id)]
        assert moves[-2:] == [State.COMPLETED, State.RETURNED]
        assert (await world.nostro()).posted == 10_000 - 5


async def test_a_return_that_a_message_brought_is_not_booked_again() -> None:
    async with running() as world:
        found = await world.settle()
        say(world, found, Event.RETURNED)
        await world.until(lambda: world.records.histories[found.id].state is State.RETURNED)
        await imported(world, booking(found), booking(found, 100))
        assert kinds(world) == []
        assert (await world.nostro()).posted == 10_000


async def test_a_reversed_debit_is_a_critical_exception() -> None:
    async with running() as world:
        found = await world.settle()
        await imported(world, booking(found), booking(found, 100, is_reversal=True))
        assert kinds(world) == [CaseKind.STATEMENT_DIFFERS]
        assert (await world.nostro()).posted == 10_000 - 100


class ShakyEvidence:
    """A store that is out of reach at first, and then has one part to search."""

    def __init__(self) -> None:
        self.calls = 0
        self.looks: list[tuple[int, int]] = []

    async def search_next(self, rows_max: int, rules: Rules = NO_RULES) -> Searched | None:
        self.calls += 1
        if self.calls == 1:
            what = "the database is out of reach"
            raise Unavailable(what)
        return Searched(rows=rows_max, found=1, news=1) if self.calls == 2 else None

    async def search_unread(self, rules: Rules = NO_RULES) -> Searched | None:
        return None

    async def unread_count(self) -> int:
        return 0

    async def tell_absent(self, days: int, most: int) -> int:
        self.looks.append((days, most))
        return most if len(self.looks) == 1 else 0


async def test_a_database_out_of_reach_only_delays_the_search() -> None:
    store = ShakyEvidence()
    task = asyncio.create_task(StatementSearch(SEARCHING, store).run())
    async with asyncio.timeout(5):
        while store.calls < 8:  # noqa: ASYNC110 - a counter cannot be awaited
            await asyncio.sleep(0.002)
    assert not task.done()
    assert store.looks == [(5, 500)] * 2, "again while there may be more, and then not for a while"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


class SlowEvidence:
    """A store whose limit of time ends a step with more than 60 rows, until the machine is quicker."""

    def __init__(self, rows: int) -> None:
        self.left = rows
        self.rows_max: int = 60
        self.asked: list[int] = []

    async def search_next(self, rows_max: int, rules: Rules = NO_RULES) -> Searched | None:
        self.asked.append(rows_max)
        if not self.left:
            return None
        if rows_max > self.rows_max:
            what = "the transaction has run into its limit of time"
            raise Unavailable(what)
        done = min(rows_max, self.left)
        self.left -= done
        return Searched(rows=done, found=0, news=0)

    async def search_unread(self, rules: Rules = NO_RULES) -> Searched | None:
        return None

    async def unread_count(self) -> int:
        return 0

    async def tell_absent(self, days: int, most: int) -> int:
        what = "this takes too long, too"
        raise Unavailable(what)


async def test_a_step_that_takes_too_long_is_tried_again_with_fewer_rows() -> None:
    store = SlowEvidence(1_000)
    task = asyncio.create_task(StatementSearch(SEARCHING, store).run())
    async with asyncio.timeout(10):
        while store.left:  # noqa: ASYNC110 - a counter cannot be awaited
            await asyncio.sleep(0.002)
        failed = [rows for rows in store.asked if rows > store.rows_max]
        assert set(store.asked) >= {500, 250, 125, 62, 31}
        assert failed[:4] == [500, 250, 125, 62]
        store.rows_max, store.left = 500, 100_000
        while store.asked[-1] < 500:  # noqa: ASYNC110
            await asyncio.sleep(0.002)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


UNREAD = (UnreadRow(7, 1, "ValueError: 'TOLD' is not a valid EntryStatus"),)


class PartlyUnread:
    """A store whose database refuses a row, until it is searched alone and set aside; it is readable after a while."""

    def __init__(self) -> None:
        self.left = 200
        self.asked: list[int] = []
        self.tried = 0
        self.is_set_aside = False

    async def search_next(self, rows_max: int, rules: Rules = NO_RULES) -> Searched | None:
        self.asked.append(rows_max)
        if not self.left:
            return None
        if not self.is_set_aside:
            if rows_max > 1:
                raise CorruptRecord("the database could not execute a statement")
            self.left -= 1
            self.is_set_aside = True
            return Searched(rows=1, found=0, news=0, unread=UNREAD, statement=3)
        done = min(rows_max, self.left)
        self.left -= done
        return Searched(rows=done, found=0, news=0)

    async def search_unread(self, rules: Rules = NO_RULES) -> Searched | None:
        if not self.is_set_aside or self.left:
            return None
        self.tried += 1
        is_read = self.tried > UNREAD_AT_ONCE_MAX + 1
        self.is_set_aside = not is_read
        return Searched(rows=1, found=1, news=1, unread=() if is_read else UNREAD)

    async def unread_count(self) -> int:
        return int(self.is_set_aside)

    async def tell_absent(self, days: int, most: int) -> int:
        del days, most
        return 0


async def test_what_cannot_be_read_is_an_alarm_and_keeps_no_other_row() -> None:
    store = PartlyUnread()
    shown: list[int] = []
    search = StatementSearch(SEARCHING, store, shown.append)
    with structlog.testing.capture_logs() as logged:
        task = asyncio.create_task(search.run())
        async with asyncio.timeout(5):
            while store.tried < UNREAD_AT_ONCE_MAX:  # noqa: ASYNC110 - a counter cannot be awaited
                await asyncio.sleep(0.002)
            while 1 not in shown:  # noqa: ASYNC110
                await asyncio.sleep(0.002)
        assert not store.left
        assert store.tried == UNREAD_AT_ONCE_MAX, "a look tries so many in vain, and then rests"
        search._unread_look_at_seconds = 0.0  # a minute later
        async with asyncio.timeout(5):
            while shown[-1]:  # noqa: ASYNC110
                await asyncio.sleep(0.002)
        assert not store.is_set_aside
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    [alarm] = [each for each in logged if each["log_level"] == "error"]
    assert (alarm["event"], alarm["statement"], alarm["entry"]) == (
        "statement_entries_not_read",
        3,
        7,
    )
