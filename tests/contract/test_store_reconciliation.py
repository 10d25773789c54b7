"""Reconciliation on both stores: matches, breaks and proofs, in any order, cut off, and taken back."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Self

import pytest

from settlement_engine.domain.balance_comparison import StatedBalance
from settlement_engine.domain.ledger import AccountKind
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.payment import Delivery
from settlement_engine.domain.reconciliation import (
    AccountOutcome,
    ReconciliationRun,
    RunBegin,
    StartedFor,
)
from settlement_engine.domain.statement_import import ReceivedFile
from settlement_engine.domain.statements import (
    BalanceType,
    Source,
    Statement,
    StatementAccount,
    StatementBalance,
)
from settlement_engine.engine.reconciliation import Reconciliation
from settlement_engine.engine.statement_import import StatementImport
from settlement_engine.errors import Contention, NotFound, WrongState
from settlement_engine.messages.camt052_building import build_camt052
from settlement_engine.ports import BreakFilter, ReportFilter
from tests.support.bank_statements import BankDay, Booked, debit, take, today
from tests.support.histories import Scene, funding

if TYPE_CHECKING:
    from datetime import date

    from settlement_engine.domain.proof import BalanceProof
    from settlement_engine.domain.reconciliation import (
        AccountResult,
        AccountToReconcile,
        ReconciliationBreak,
    )
    from settlement_engine.domain.settlement import Settlement
    from tests.support.stores import Stores

pytestmark = pytest.mark.asyncio(loop_scope="module")

ONE_DAY = timedelta(days=1)
PAID_IN = 10**9
FUNDED = Booked(minor=PAID_IN, text="incoming PAID-IN-REFERENCE thank you")


def run_of(account_id: int | None, **changes: object) -> ReconciliationRun:
    fields = {
        "id": uuid.uuid4(),
        "started_for": StartedFor.DEMAND,
        "who": "ada",
        "rules_version": "",
        "account_id": account_id,
    }
    return ReconciliationRun(**{**fields, **changes})  # type: ignore[arg-type]


class Books:
    """Our account at a bank, that bank, and the reconciliation between them."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.stores: Stores = scene.stores
        self.id = scene.route.source_id

    @classmethod
    async def open(cls, stores: Stores) -> Self:
        scene = await Scene.open(stores, funds_minor=0)
        funding = {"reference": "PAID-IN-REFERENCE"}
        await _fund(scene, **funding)
        return cls(scene)

    async def settled(self, *amounts: int) -> list[Settlement]:
        return [await self.scene.bring(State.COMPLETED, minor=minor) for minor in amounts]

    async def day(self, *entries: Booked, opening: int = 0) -> BankDay:
        return BankDay(account=await self.scene.source(), opening=opening, entries=entries)

    async def reconcile(self, **changes: object) -> AccountResult:
        [result] = await Reconciliation(self.stores.reconciliation).reconcile(
            run_of(self.id, **changes)
        )
        return result

    async def breaks(self, **wanted: object) -> list[ReconciliationBreak]:
        filtered = {"limit": 100, "account_id": self.id, "is_open": True, **wanted}
        return await self.stores.reconciled.breaks(BreakFilter(**filtered))  # type: ignore[arg-type]

    async def kinds(self) -> list[str]:
        return sorted(each.kind for each in await self.breaks())

    async def proof(self) -> BalanceProof:
        [(_, _, proof)] = await self.stores.reconciled.proofs(None, self.id, 0, 10)
        return proof


async def _fund(scene: Scene, **changes: str) -> None:
    paid_in = funding(PAID_IN, bank=scene.source_bank, **changes)
    await scene.stores.accounts.fund(paid_in)


async def test_what_both_sides_have_is_matched_and_the_proof_is_zero(stores):
    books = await Books.open(stores)
    paid = await books.settled(100, 250, 250)
    await take(stores, await books.day(FUNDED, *map(debit, paid)))
    result = await books.reconcile()
    assert result.outcome is AccountOutcome.BALANCED
    assert await books.breaks() == []
    proof = await books.proof()
    assert proof == result.proof
    assert proof.is_zero
    assert proof.our_closing_minor == proof.their_closing_minor == PAID_IN - 600
    assert (proof.unmatched_ours, proof.unmatched_theirs) == (0, 0)


async def test_a_payout_is_no_item_of_our_account_at_the_settlement_agent(stores):
    """It goes from FROM to TO: only what is delivered to our own account is booked by the agent."""
    books = await Books.open(stores)
    await books.reconcile()

    async def items(account_id: int) -> int:
        found = await stores.reconciliation.books(account_id, None)
        return sum(each.ours for each in found.days)

    agent_id = books.scene.route.agent_id
    before = await items(agent_id)
    for delivery in (Delivery.PAY_OUT, Delivery.BOOK):
        await books.scene.bring(State.COMPLETED, minor=70, requested_delivery=delivery)
    await books.reconcile()
    assert await items(agent_id) == before + 1
    assert await items(books.id) == 1 + 2


async def test_a_second_run_changes_nothing(stores):
    books = await Books.open(stores)
    paid = await books.settled(100, 200)
    await take(stores, await books.day(FUNDED, debit(paid[0]), Booked(minor=-7)))
    first = await books.reconcile()
    before = await books.breaks()
    assert await books.reconcile() == first
    assert await books.breaks() == before


async def test_two_offsetting_errors_with_equal_balances_are_found(stores):
    """The balances agree to the cent, and yet one payment is missing and another was paid that nobody ordered."""
    books = await Books.open(stores)
    paid = await books.settled(100, 100)
    await take(stores, await books.day(FUNDED, debit(paid[0]), Booked(minor=-100, text="unknown")))
    result = await books.reconcile()
    assert result.proof is not None
    assert result.proof.our_closing_minor == result.proof.their_closing_minor
    assert result.outcome is AccountOutcome.IDENTIFIED
    assert await books.kinds() == ["MISSING_THEIRS", "UNKNOWN_DEBIT"]
    assert (result.proof.unmatched_ours_minor, result.proof.unmatched_theirs_minor) == (-100, -100)


async def test_each_difference_has_its_kind(stores):
    books = await Books.open(stores)
    twice, other_amount, missing, back = await books.settled(100, 200, 300, 400)
    entries = (
        debit(twice),
        debit(twice, servicer="AGAIN-1"),
        debit(other_amount, minor=-201),
        debit(back),
        debit(back, minor=400, is_reversal=True),
        Booked(minor=55, text="nobody expects it"),
        Booked(minor=-66, text="nobody ordered it"),
    )
    await take(stores, await books.day(FUNDED, *entries))
    result = await books.reconcile()
    assert result.proof is not None
    assert result.proof.is_zero
    assert await books.kinds() == sorted(
        [
            "DUPLICATE",
            "AMOUNT",
            "REVERSAL",
            "MISSING_OURS",
            "UNKNOWN_DEBIT",
            "MISSING_THEIRS",
        ]
    )
    [amount] = [each for each in await books.breaks() if each.kind == "AMOUNT"]
    assert amount.amount_minor == -1
    [gone] = [each for each in await books.breaks() if each.kind == "MISSING_THEIRS"]
    assert gone.ours == (f"{missing.id}/1/1",)


@pytest.mark.parametrize(
    ("said", "before"),
    [
        ({"end_to_end": "INVOICE-1"}, ["AMBIGUOUS", "MISSING_THEIRS"]),
        ({"text": "for INVOICE-1"}, ["AMBIGUOUS", "MISSING_THEIRS"]),
    ],
)
async def test_equal_twins_are_matched_together_once_the_bank_has_all_of_them(stores, said, before):
    books = await Books.open(stores)
    for _ in range(2):
        await _fund(books.scene, reference="INVOICE-1")
    entry = Booked(minor=PAID_IN, **said)
    first = await books.day(FUNDED, entry)
    await take(stores, first)
    await books.reconcile()
    assert await books.kinds() == before
    await take(stores, first.next(entry))
    assert (await books.reconcile()).outcome is AccountOutcome.BALANCED
    assert await books.kinds() == []


async def test_one_entry_more_than_there_are_twins_is_a_duplicate(stores):
    books = await Books.open(stores)
    [paid] = await books.settled(100)
    text = f"for {debit(paid).end_to_end}"
    entry = debit(paid, end_to_end="", text=text)
    await take(stores, await books.day(FUNDED, entry, entry))
    result = await books.reconcile()
    assert result.proof is not None
    assert result.proof.is_zero
    assert await books.kinds() == ["DUPLICATE"]


@pytest.mark.parametrize("said", [{"end_to_end": "INVOICE-7"}, {"text": "for INVOICE-7"}])
async def test_a_funding_that_the_bank_books_twice_is_a_duplicate(stores, said):
    books = await Books.open(stores)
    await _fund(books.scene, reference="invoice-7")
    entry = Booked(minor=PAID_IN, **said)
    first = await books.day(FUNDED, entry)
    await take(stores, first)
    assert (await books.reconcile()).outcome is AccountOutcome.BALANCED
    await take(stores, first.next(entry))
    await books.reconcile()
    assert await books.kinds() == ["DUPLICATE"]


async def test_a_second_debit_that_only_the_trace_names_is_a_duplicate(stores):
    books = await Books.open(stores)
    trace = f"{uuid.uuid4().int % 10**15:015d}"
    sent = await books.scene.locked(trace)
    paid = await books.scene.move(sent, Event.SETTLED)
    entry = debit(paid, end_to_end=trace)
    first = await books.day(FUNDED, entry)
    await take(stores, first)
    assert (await books.reconcile()).outcome is AccountOutcome.BALANCED
    await take(stores, first.next(entry))
    await books.reconcile()
    assert await books.kinds() == ["DUPLICATE"]


async def test_a_later_entry_closes_the_break(stores):
    books = await Books.open(stores)
    early, late = await books.settled(100, 200)
    first = await books.day(FUNDED, debit(early))
    await take(stores, first)
    await books.reconcile()
    [missing] = await books.breaks()
    assert missing.kind == "MISSING_THEIRS"
    await take(stores, first.next(debit(late)))
    result = await books.reconcile()
    assert result.outcome is AccountOutcome.BALANCED
    shown = await stores.reconciled.break_by_id(missing.id)
    assert shown is not None
    assert not shown.is_open
    assert [event.kind for event in shown.events] == ["opened", "matched"]
    [(_, _, before)] = await stores.reconciled.proofs(first.day, books.id, 0, 10)
    assert before.is_zero
    assert before.unmatched_ours == 1  # as of the first day it was still a timing item


async def test_a_later_posting_closes_the_break_of_its_entry(stores):
    books = await Books.open(stores)
    sent = await books.scene.bring(State.SENT, minor=100)
    await take(stores, await books.day(FUNDED, debit(sent)))
    await books.reconcile()
    assert await books.kinds() == ["UNKNOWN_DEBIT"]
    await books.scene.move(sent, Event.SETTLED)
    assert (await books.reconcile()).outcome is AccountOutcome.BALANCED
    assert await books.kinds() == []


async def test_a_return_is_matched_by_its_payments_reference(stores):
    books = await Books.open(stores)
    [paid] = await books.settled(500)
    await books.scene.move(paid, Event.RETURNED)
    back = debit(paid, minor=500, servicer="RETURN-1")
    await take(stores, await books.day(FUNDED, debit(paid), back))
    result = await books.reconcile()
    assert result.outcome is AccountOutcome.BALANCED, await books.breaks()


async def test_the_first_statements_opening_balance_is_compared_with_our_books(stores):
    books = await Books.open(stores)
    [paid] = await books.settled(100)
    await take(stores, await books.day(FUNDED, debit(paid), opening=777))
    result = await books.reconcile()
    assert result.proof is not None
    assert result.proof.opening_difference_minor == 777
    assert result.proof.is_zero
    assert await books.kinds() == ["OPENING_DIFFERENCE"]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (2, 0, 1)])
async def test_any_order_of_files_and_runs_ends_in_the_same_books(stores, order):
    books = await Books.open(stores)
    paid = await books.settled(100, 200, 300, 400)
    first = await books.day(FUNDED, debit(paid[0]), Booked(minor=-9))
    second = first.next(debit(paid[1]), Booked(minor=13))
    third = second.next(debit(paid[2]))
    days = (first, second, third)
    for place in order:
        await take(stores, days[place])
        await books.reconcile()
    result = await books.reconcile()
    assert result.proof is not None
    assert result.proof.is_zero
    assert result.proof.booking_date == third.day
    assert await books.kinds() == ["MISSING_OURS", "MISSING_THEIRS", "UNKNOWN_DEBIT"]
    found = []
    for day in days:
        [(_, _, proof)] = await stores.reconciled.proofs(day.day, books.id, 0, 10)
        found.append((proof.unmatched_ours_minor, proof.unmatched_theirs_minor, proof.is_zero))
    assert found == [(-900, -9, True), (-700, 4, True), (-400, 4, True)]


async def test_a_missing_statement_holds_the_proof_back(stores):
    books = await Books.open(stores)
    paid = await books.settled(100, 200, 300)
    first = await books.day(FUNDED, debit(paid[0]))
    second = first.next(debit(paid[1]))
    third = second.next(debit(paid[2]))
    await take(stores, first, third)
    result = await books.reconcile()
    assert result.outcome is AccountOutcome.UNRESOLVED
    assert result.proof is not None
    assert "missing" in result.proof.held_back_by
    assert not result.proof.is_zero
    before = await books.reconcile(business_date=first.day)
    assert before.proof is not None
    assert before.proof.is_zero
    await take(stores, second)
    assert (await books.reconcile()).outcome is AccountOutcome.BALANCED


async def test_a_statement_that_was_corrected_counts_as_corrected(stores):
    books = await Books.open(stores)
    one, other = await books.settled(100, 200)
    wrong = await books.day(FUNDED, debit(one), Booked(minor=-5, text="a mistake"))
    await take(stores, wrong)
    await books.reconcile()
    assert await books.kinds() == ["MISSING_THEIRS", "UNKNOWN_DEBIT"]
    right = replace(wrong, entries=(FUNDED, debit(one), debit(other)), made=23)
    await take(stores, right)
    result = await books.reconcile()
    assert result.outcome is AccountOutcome.BALANCED
    assert await books.kinds() == []


async def test_a_match_that_was_taken_back_opens_its_items(stores):
    books = await Books.open(stores)
    [paid] = await books.settled(100)
    await take(stores, await books.day(FUNDED, debit(paid)))
    await books.reconcile()
    match_id = await _a_match(books)
    await stores.reconciliation.unmatch(match_id, who="ada", reason="it was another one")
    with pytest.raises(WrongState):
        await stores.reconciliation.unmatch(match_id, who="ada", reason="again")
    with pytest.raises(NotFound):
        await stores.reconciliation.unmatch(10**9, who="ada", reason="none")
    sums = await stores.reconciliation.books(books.id, None)
    assert sum(each.matched_ours for each in sums.days) == 1
    # No run makes a match again that a person has taken back: it is suggested.
    assert (await books.reconcile()).outcome is AccountOutcome.IDENTIFIED
    sums = await stores.reconciliation.books(books.id, None)
    assert sum(each.matched_ours for each in sums.days) == 1


async def _a_match(books: Books) -> int:
    """The number of the last match: stores number them."""
    number = 0
    for candidate in range(1, 1_000):
        found = await books.stores.reconciled.match(candidate)
        if found is None:
            break
        if found.account_id == books.id:
            number = candidate
    return number


async def test_one_run_at_a_time_in_all_engines(stores):
    books = await Books.open(stores)
    beside = stores.beside()
    run = run_of(books.id, rules_version="1")
    assert await stores.reconciliation.begin(run) is RunBegin.BEGUN
    assert await beside.reconciliation.begin(run) is RunBegin.BUSY
    for other in (stores, beside):
        with pytest.raises(Contention):
            await Reconciliation(other.reconciliation).reconcile(run_of(books.id))
    await stores.reconciliation.leave()
    again = Reconciliation(beside.reconciliation)
    assert len(await again.reconcile(run)) == 1  # it was cut off, and is carried out
    assert await again.reconcile(run) == []  # it is done
    assert await stores.reconciliation.begin(run) is RunBegin.DONE
    await take(stores, await books.day(FUNDED))
    done = await asyncio.gather(
        *(
            Reconciliation(each.reconciliation).reconcile(run_of(books.id))
            for each in (stores, beside)
        ),
        return_exceptions=True,
    )
    assert sum(isinstance(each, Contention) for each in done) <= 1
    assert any(isinstance(each, list) for each in done)


async def test_runs_are_reported_for_each_currency(stores):
    books = await Books.open(stores)
    [paid] = await books.settled(100)
    await take(stores, await books.day(FUNDED, debit(paid, minor=-150)))
    run = run_of(books.id)
    await Reconciliation(stores.reconciliation).reconcile(run)
    report = await stores.reconciled.report(run.id)
    assert report is not None
    assert report.run.who == "ada"
    assert report.ended_at is not None
    [part] = report.parts
    assert (part.currency, part.total_accounts, part.discrepancy_accounts) == ("EUR", 1, 1)
    assert part.total_discrepancy_minor == 50
    assert part.accounts[0].account_id == books.id
    assert part.accounts[0].proof == await books.proof()
    [latest] = await stores.reconciled.reports(ReportFilter(limit=1))
    assert latest == report
    older = await stores.reconciled.reports(ReportFilter(limit=5, before=run.id))
    assert run.id not in {each.run.id for each in older}
    assert await stores.reconciled.report(uuid.uuid4()) is None


async def test_statements_that_no_ended_run_has_looked_at_are_found(stores):
    books = await Books.open(stores)
    store = stores.reconciliation

    async def is_unseen(statements_max: int = 1_000) -> bool:
        return books.id in await store.accounts_with_unseen_statements(statements_max)

    assert not await is_unseen()
    await take(stores, day := await books.day(FUNDED))
    assert await is_unseen()
    assert not await is_unseen(0)
    assert books.id in await store.accounts_with_unseen_statements(1_000, older_seconds=-60)
    assert await store.accounts_with_unseen_statements(1_000, older_seconds=3_600) == []
    other = await Books.open(stores)
    await other.reconcile()  # a run of another account has not looked
    assert await is_unseen()
    cut_off = run_of(books.id, rules_version="matching/2")
    assert await store.begin(cut_off) is RunBegin.BEGUN
    await store.leave()
    assert await is_unseen()
    await books.reconcile()
    assert not await is_unseen()
    await take(stores, day.next(Booked(minor=7)))
    assert await is_unseen()
    account = await books.scene.source()
    await Reconciliation(store).reconcile(run_of(None, bank=account.bank, currency="EUR"))
    assert not await is_unseen()


async def test_an_account_without_statements_waits_for_them(stores):
    books = await Books.open(stores)
    await books.settled(100)
    result = await books.reconcile()
    assert (result.outcome, result.proof) == (AccountOutcome.PENDING, None)
    assert await books.breaks() == []
    with pytest.raises(NotFound):
        await Reconciliation(stores.reconciliation).reconcile(run_of(10**9))


async def test_an_account_at_the_agent_is_reconciled_too(stores):
    """A transfer between two accounts at banks is an item of both."""
    books = await Books.open(stores)
    [paid] = await books.settled(100)
    await take(stores, await books.day(FUNDED, debit(paid)))
    await books.reconcile()
    agent = await books.scene.account(AccountKind.SETTLEMENT)
    assert agent.id != books.id
    day = BankDay(account=agent, opening=0, entries=[debit(paid, minor=100)])
    await take(stores, day)
    [result] = await Reconciliation(stores.reconciliation).reconcile(run_of(agent.id))
    assert result.proof is not None
    assert result.proof.unmatched_theirs == 0


# --- statements of several days ---------------------------------------------------------------------


def on(booked: Booked, day: date) -> Booked:
    return replace(booked, booked_on=day)


async def test_inside_of_a_statement_each_entry_counts_on_its_own_date(stores):
    books = await Books.open(stores)
    paid = await books.settled(100, 200)
    first = today()
    entries = (
        on(FUNDED, first),
        on(debit(paid[0]), first),
        on(debit(paid[1]), first + 2 * ONE_DAY),
    )
    week = await books.day(*entries)
    await take(stores, replace(week, opened_on=first, day=first + 6 * ONE_DAY))
    result = await books.reconcile()
    assert result.outcome is AccountOutcome.BALANCED
    assert (await books.proof()).booking_date == first + 6 * ONE_DAY
    found = []
    for number in range(7):
        [(_, _, proof)] = await stores.reconciled.proofs(first + number * ONE_DAY, books.id, 0, 10)
        assert proof.booking_date == first + number * ONE_DAY
        assert proof.is_zero
        found.append((proof.their_closing_minor, proof.unmatched_ours, proof.unmatched_ours_minor))
    assert found[:2] == [(PAID_IN - 100, 1, -200)] * 2  # the bank books the other one later
    assert found[2:] == [(PAID_IN - 300, 0, 0)] * 5
    assert await stores.reconciled.proofs(first + 7 * ONE_DAY, books.id, 0, 10) == []
    assert await stores.reconciled.proofs(first - ONE_DAY, books.id, 0, 10) == []
    asked = await books.reconcile(business_date=first + ONE_DAY)
    assert asked.outcome is AccountOutcome.IDENTIFIED
    assert asked.proof is not None
    assert asked.proof.booking_date == first + ONE_DAY
    assert (await books.reconcile(business_date=first + 9 * ONE_DAY)).proof is None


async def test_a_booking_date_outside_of_the_statement_is_told_and_counts_on_its_last_day(stores):
    books = await Books.open(stores)
    [paid] = await books.settled(100)
    first = today()
    week = await books.day(on(FUNDED, first), on(debit(paid), first + 40 * ONE_DAY))
    await take(stores, replace(week, opened_on=first, day=first + 6 * ONE_DAY))
    assert [each.misdated for each in await stores.statements.kept_heads(books.id)] == [0]
    result = await books.reconcile()
    assert result.outcome is AccountOutcome.BALANCED
    assert [each.misdated for each in await stores.statements.kept_heads(books.id)] == [1]
    [(_, _, before)] = await stores.reconciled.proofs(first + 5 * ONE_DAY, books.id, 0, 10)
    assert (before.their_closing_minor, before.unmatched_ours) == (PAID_IN, 1)


async def test_a_statement_that_was_corrected_counts_on_its_new_dates(stores):
    books = await Books.open(stores)
    [paid] = await books.settled(100)
    first = today()
    week = await books.day(on(FUNDED, first), on(debit(paid), first))
    wrong = replace(week, opened_on=first, day=first + 6 * ONE_DAY)
    await take(stores, wrong)
    await books.reconcile()
    entries = (on(FUNDED, first), on(debit(paid), first + 3 * ONE_DAY))
    await take(stores, replace(wrong, entries=entries, made=23))
    assert (await books.reconcile()).outcome is AccountOutcome.BALANCED
    closings = []
    for number in (2, 3):
        [(_, _, proof)] = await stores.reconciled.proofs(first + number * ONE_DAY, books.id, 0, 10)
        assert proof.is_zero
        closings.append(proof.their_closing_minor)
    assert closings == [PAID_IN, PAID_IN - 100]


@pytest.mark.parametrize("lengths", [(1,), (7,), (28,), (3, 1, 9)])
async def test_any_statements_of_the_same_entries_end_in_the_same_books(stores, lengths):
    """Daily, weekly, monthly and others, with payments that only one side has."""
    books = await Books.open(stores)
    paid = await books.settled(*range(100, 110))
    start = today()
    booked = [
        on(FUNDED, start),
        *(on(debit(each), start + n * ONE_DAY) for n, each in enumerate(paid[:8])),
    ]
    booked += [on(Booked(minor=-7), start + 3 * ONE_DAY), on(Booked(minor=9), start + 20 * ONE_DAY)]
    statement, begins, place = await books.day(), 0, 0
    statement = replace(statement, number=0)
    while begins < 28:
        ends = min(28, begins + lengths[place % len(lengths)])
        days = [start + number * ONE_DAY for number in range(begins, ends)]
        entries = [each for each in booked if each.booked_on in days]
        statement = replace(
            statement,
            opening=statement.closing,
            entries=entries,
            number=statement.number + 1,
            opened_on=days[0] - ONE_DAY if place else days[0],
            day=days[-1],
        )
        await take(stores, statement)
        begins, place = ends, place + 1
    result = await books.reconcile()
    assert result.proof is not None
    assert result.proof.booking_date == start + 27 * ONE_DAY
    closing = PAID_IN - sum(range(100, 110))
    assert result.proof.our_closing_minor == closing
    assert result.proof.unmatched_theirs_minor == 2
    assert result.proof.unmatched_ours_minor == -(108 + 109)
    assert result.proof.their_closing_minor == closing + 2 + 108 + 109
    assert result.proof.is_zero
    assert await books.kinds() == [
        "MISSING_OURS",
        "MISSING_THEIRS",
        "MISSING_THEIRS",
        "UNKNOWN_DEBIT",
    ]
    sums = (await stores.reconciliation.books(books.id, None)).days
    assert (sum(each.matched_ours for each in sums), sum(each.theirs for each in sums)) == (9, 11)


# --- where a bank gives only a balance ---------------------------------------------------------------


class Teller:
    """Banks that state one balance."""

    def __init__(self, minor: int | None) -> None:
        self.minor = minor

    async def balance(self, account: AccountToReconcile) -> StatedBalance | None:
        if self.minor is None:
            return None
        return StatedBalance(self.minor, datetime.now(UTC), "swift")


async def compared(books: Books, minor: int | None = None) -> AccountResult:
    reconciliation = Reconciliation(books.stores.reconciliation, balances=Teller(minor))
    [result] = await reconciliation.reconcile(run_of(books.id))
    return result


async def report_balance(books: Books, minor: int, *, is_dated: bool = True) -> None:
    """Import an intraday report (camt.052) of a balance, without entries."""
    account = await books.scene.source()
    now = datetime.now(UTC)
    report = Statement(
        source=Source.CAMT052,
        account=StatementAccount(account.account_number, "OTHER", account.currency),
        id=f"BAL{minor}",
        entries=(),
        balances=(StatementBalance(BalanceType.INTERMEDIATE, minor, account.currency, now.date()),),
        created=now.isoformat() if is_dated else now.replace(tzinfo=None).isoformat(),
    )
    file = ReceivedFile(name=f"{minor}.xml", content=build_camt052(report), who="ada")
    [taken] = await StatementImport(books.stores.statements).import_file(file)
    assert taken.outcome == "IMPORTED"


async def test_an_equal_balance_is_compared_and_proves_nothing(stores):
    books = await Books.open(stores)
    [paid] = await books.settled(100)
    result = await compared(books, PAID_IN - 100)
    assert result.outcome is AccountOutcome.COMPARED
    assert result.proof is None
    assert result.comparison is not None
    assert (result.comparison.our_minor, result.comparison.source) == (PAID_IN - 100, "swift")
    assert result.reason.startswith("balance compared, no proof")
    assert await stores.reconciled.proofs(None, books.id, 0, 10) == []
    assert await stores.reconciled.proved([paid.id]) == frozenset()
    [report] = await stores.reconciled.reports(ReportFilter(limit=1))
    [part] = report.parts
    counts = (part.balanced_accounts, part.discrepancy_accounts, part.compared_accounts)
    assert counts == (0, 0, 1)
    assert part.accounts == (result,)


async def test_another_balance_is_a_discrepancy_that_nothing_explains(stores):
    books = await Books.open(stores)
    result = await compared(books, PAID_IN - 1)
    assert result.outcome is AccountOutcome.UNRESOLVED
    assert result.discrepancy_minor == -1
    assert "the bank states another" in result.reason
    [report] = await stores.reconciled.reports(ReportFilter(limit=1))
    assert (report.parts[0].discrepancy_accounts, report.parts[0].total_discrepancy_minor) == (1, 1)


async def test_a_report_of_a_balance_without_entries_is_compared_as_of_its_instant(stores):
    books = await Books.open(stores)
    await report_balance(books, PAID_IN)
    await books.settled(100)  # after the report: not part of what is compared
    result = await compared(books)
    assert result.outcome is AccountOutcome.COMPARED
    assert result.comparison is not None
    assert (result.comparison.our_minor, result.comparison.source) == (PAID_IN, "camt.052")
    assert (await books.reconcile(business_date=today())).outcome is AccountOutcome.PENDING


async def test_a_balance_without_an_instant_is_not_compared(stores):
    books = await Books.open(stores)
    await report_balance(books, PAID_IN, is_dated=False)
    assert (await compared(books)).outcome is AccountOutcome.PENDING


async def test_an_account_with_statements_is_proved_by_them_only(stores):
    books = await Books.open(stores)
    await report_balance(books, PAID_IN + 5)
    await take(stores, await books.day(FUNDED))
    result = await compared(books, PAID_IN + 5)
    assert (result.outcome, result.comparison) == (AccountOutcome.BALANCED, None)


async def test_the_differences_that_monitoring_shows_are_those_of_every_account(stores):
    async def shown() -> int:
        found = await stores.gauges.gauges(0)
        return int(found.discrepancies_minor.get("EUR", 0))

    begun = await shown()
    one, other = await Books.open(stores), await Books.open(stores)
    first = await one.day(FUNDED, Booked(minor=-66, text="nobody ordered it"))
    await take(stores, first)
    await take(stores, await other.day(FUNDED, Booked(minor=40, text="nobody expects it")))
    await one.reconcile()
    assert await shown() == begun + 66
    await other.reconcile()  # a run of one account changes nothing about the others
    assert await shown() == begun + 66 + 40
    await take(stores, first.next(Booked(minor=66, text="a mistake of ours")))
    await one.reconcile()
    assert await shown() == begun + 40
