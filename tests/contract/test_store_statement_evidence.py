"""The search of statements for our payments: what is found, what is told, and that an interruption loses nothing."""

from __future__ import annotations

import asyncio
import contextlib
import itertools

import pytest

from settlement_engine.domain.closed_differences import (
    CHARGES_ACCOUNT,
    NO_RULES,
    ROUNDING_ACCOUNT,
    versioned,
)
from settlement_engine.domain.exceptions import CaseKind
from settlement_engine.domain.ledger import AccountKind
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.matching.values import Charge, Rules, Tolerance
from settlement_engine.domain.statement_evidence import EntrySays
from settlement_engine.domain.statements import EntryStatus, StatementReferences
from settlement_engine.errors import InvariantViolated
from settlement_engine.evidence.verified_entries import entry_faults
from settlement_engine.ports import CaseFilter, ReportClosing, ReportOutcome, Result
from tests.support.booked import BankAccount, booking, named, take
from tests.support.histories import Scene, funding, spec

pytestmark = pytest.mark.asyncio(loop_scope="module")

MANY = 500
Y = EntrySays
_numbers = itertools.count(1)


async def opened(stores) -> tuple[Scene, BankAccount]:
    """Two banks whose paying one keeps an account of ours under a number."""
    scene = await Scene.open(stores, funds_minor=0)
    number = f"NL{next(_numbers):012d}{scene.source_bank}"[-30:]
    account = await stores.accounts.open_account(
        spec(AccountKind.NOSTRO, scene.source_bank, account_number=number)
    )
    scene._accounts[AccountKind.NOSTRO] = account
    paid_in = funding(10**9, bank=scene.source_bank, account_number=number)
    await stores.accounts.fund(paid_in)
    return scene, BankAccount(account)


async def searched(stores, rows_max: int = MANY, rules: Rules = NO_RULES) -> tuple[int, int]:
    """Search to the end; return how many mentions were found, and how many are news."""
    found = news = 0
    while (step := await stores.evidence.search_next(rows_max, rules)) is not None:
        found += step.found
        news += step.news
        assert step.rows <= rows_max
    return found, news


async def told(scene, *settlements) -> list[tuple[Event, EntrySays, int | None]]:
    """Close the open reports of statements, and return what they say of the settlements, in their order."""
    reports = await scene.stores.inbound.open_reports(scene.engine_id, 1_000)
    own = {each.id for each in settlements}
    mine = [each for each in reports if each.settlement_id in own]
    await scene.stores.inbound.close_reports(
        [ReportClosing(report_id=each.id, outcome=ReportOutcome.APPLIED) for each in mine]
    )
    found = []
    for each in mine:
        assert each.report.entry is not None
        assert each.attempt == 1
        found.append((each.report.event, each.report.entry.says, each.report.stated.minor))
    return found


async def test_a_booked_debit_of_a_payment_in_doubt_is_told_once(stores):
    scene, bank = await opened(stores)
    doubted = await scene.bring(State.IN_DOUBT)
    content = bank.statement(booking(doubted))
    assert await take(stores.statements, content) == "IMPORTED"
    assert await searched(stores) == (1, 1)
    assert await searched(stores) == (0, 0)
    assert await take(stores.statements, content) == "ALREADY_IMPORTED"
    assert await searched(stores) == (0, 0)
    assert await told(scene, doubted) == [(Event.SETTLED, Y.DEBIT, 100)]


async def test_the_debit_of_what_has_completed_is_found_and_is_no_news(stores):
    scene, bank = await opened(stores)
    completed = await scene.bring(State.COMPLETED)
    await take(stores.statements, bank.statement(booking(completed)))
    assert await searched(stores) == (1, 0)
    assert await told(scene, completed) == []


@pytest.mark.parametrize(
    "name",
    ["end_to_end", "transaction", "uetr", "message", "instruction"],
)
async def test_a_payment_is_found_by_each_of_its_names(stores, name):
    scene, bank = await opened(stores)
    doubted = await scene.bring(State.IN_DOUBT)
    assert doubted.attempt is not None
    ours = doubted.attempt.references
    names = {
        "end_to_end": ours.end_to_end_id,
        "transaction": ours.end_to_end_id,
        "uetr": str(ours.uetr),
        "message": ours.message_id,
        "instruction": doubted.id.hex,
    }
    entry = booking(doubted, names=StatementReferences(**{name: names[name]}))
    await take(stores.statements, bank.statement(entry))
    assert await searched(stores) == (1, 1)


async def test_a_payment_is_found_by_its_trace(stores):
    scene, bank = await opened(stores)
    trace = f"{next(_numbers):015d}"
    sent = await scene.locked(trace)
    entry = booking(sent, names=StatementReferences(end_to_end=trace))
    await take(stores.statements, bank.statement(entry))
    assert await searched(stores) == (1, 1)


async def test_only_payments_from_the_statements_account_are_found(stores):
    scene, _ = await opened(stores)
    _, other = await opened(stores)
    doubted = await scene.bring(State.IN_DOUBT)
    await take(stores.statements, other.statement(booking(doubted)))
    assert await searched(stores) == (0, 0)


async def test_names_of_two_payments_name_none(stores):
    scene, bank = await opened(stores)
    one, two = await scene.bring(State.IN_DOUBT), await scene.bring(State.IN_DOUBT)
    assert two.attempt is not None
    both = named(one, uetr=str(two.attempt.references.uetr))
    await take(stores.statements, bank.statement(booking(one, names=both)))
    assert await searched(stores) == (0, 0)


async def test_only_booked_entries_are_told(stores):
    scene, bank = await opened(stores)
    doubted = await scene.bring(State.IN_DOUBT)
    for status in (EntryStatus.PENDING, EntryStatus.FUTURE, EntryStatus.INFORMATION):
        await take(stores.statements, bank.statement(booking(doubted, status=status)))
    assert await searched(stores) == (0, 0)


async def test_two_debits_in_one_statement_and_a_third_in_the_next(stores):
    scene, bank = await opened(stores)
    doubted = await scene.bring(State.IN_DOUBT)
    await take(stores.statements, bank.statement(booking(doubted), booking(doubted)))
    await take(stores.statements, bank.statement(booking(doubted)))
    assert await searched(stores) == (3, 3)
    assert await told(scene, doubted) == [
        (Event.SETTLED, Y.DEBIT, 100),
        (Event.SETTLED, Y.SECOND_DEBIT, 100),
        (Event.SETTLED, Y.FURTHER_DEBIT, 100),
    ]


async def test_a_statement_that_does_not_continue_the_chain_counts_no_second_debit(stores):
    """The same days told by two statements are one booking: only one of them stands in the chain."""
    scene, bank = await opened(stores)
    doubted = await scene.bring(State.IN_DOUBT)
    await take(stores.statements, bank.statement(booking(doubted)))
    bank.number -= 1
    bank.balance += 100
    again = bank.statement(booking(doubted, text="told again"))
    assert await take(stores.statements, again) == "REISSUED"
    assert await searched(stores) == (2, 1)
    assert await told(scene, doubted) == [(Event.SETTLED, Y.DEBIT, 100)]


async def test_returns_and_reversals_are_told_with_their_amounts(stores):
    scene, bank = await opened(stores)
    completed = await scene.bring(State.COMPLETED)
    entries = (
        booking(completed),
        booking(completed, 40),
        booking(completed, 40),
        booking(completed, 15, charges_minor=5),
        booking(completed, 100, is_reversal=True),
    )
    await take(stores.statements, bank.statement(*entries))
    assert await searched(stores) == (5, 4)
    reports = await stores.inbound.open_reports(scene.engine_id, 1_000)
    mine = [each.report for each in reports if each.settlement_id == completed.id]
    said = [(each.entry.says, each.entry.nth, each.stated.charges_minor) for each in mine]
    assert said == [(Y.RETURN, 1, 0), (Y.RETURN, 2, 0), (Y.RETURN, 1, 5), (Y.REVERSAL, 1, 0)]
    references = [each.stated.reference for each in mine]
    assert len(set(references[:3])) == 3
    assert all(each.startswith("statement entry ") for each in references[:3])
    assert len(await told(scene, completed)) == 4


async def test_what_the_rules_close_is_a_debit_with_its_rule_and_what_they_do_not_is_none(stores):
    scene, bank = await opened(stores)
    rules = versioned(
        Rules(
            version="",
            charges=(
                Charge("EUR", 15, CHARGES_ACCOUNT, scene.source_bank),
                Charge("EUR", 20, CHARGES_ACCOUNT),  # of banks without a tariff of their own
                Charge("EUR", 25, CHARGES_ACCOUNT, scene.target_bank),
                Charge("USD", 30, CHARGES_ACCOUNT, scene.source_bank),
            ),
            tolerances=(Tolerance("EUR", 2, ROUNDING_ACCOUNT),),
        )
    )
    expected = [
        *((-98, "tolerance"), (-102, "tolerance"), (-115, "charges-by-tariff")),
        *((-97, ""), (-103, ""), (-120, ""), (-125, ""), (-130, "")),
    ]
    settlements = [await scene.bring(State.IN_DOUBT) for _ in expected]
    booked = [booking(each, minor) for each, (minor, _) in zip(settlements, expected, strict=True)]
    await take(stores.statements, bank.statement(*booked))
    assert await searched(stores, 3, rules) == (8, 8)
    for settlement, (minor, closed_by) in zip(settlements, expected, strict=True):
        reports = await stores.inbound.open_reports(scene.engine_id, 1_000)
        [entry] = [each.report.entry for each in reports if each.settlement_id == settlement.id]
        says = Y.DEBIT if closed_by else Y.OTHER_AMOUNT
        version = rules.full_version if closed_by else ""
        assert (entry.says, entry.closed_by, entry.rules_version) == (says, closed_by, version)
        dossier = await stores.archive.dossier(settlement.id)
        [record] = dossier.entries
        assert (record.says, record.closed_by, record.told_minor) == (says, closed_by, -minor)
        assert list(entry_faults(dossier, None)) == []
    assert len(await told(scene, *settlements)) == 8


async def test_a_second_debit_within_the_rules_is_the_second_one(stores):
    scene, bank = await opened(stores)
    doubted = await scene.bring(State.IN_DOUBT)
    rules = versioned(Rules(version="", tolerances=(Tolerance("EUR", 2, ROUNDING_ACCOUNT),)))
    await take(stores.statements, bank.statement(booking(doubted, -101), booking(doubted, -101)))
    await take(stores.statements, bank.statement(booking(doubted, -101)))
    assert await searched(stores, rules=rules) == (3, 3)
    assert await told(scene, doubted) == [
        (Event.SETTLED, Y.DEBIT, 101),
        (Event.SETTLED, Y.SECOND_DEBIT, 101),
        (Event.SETTLED, Y.FURTHER_DEBIT, 101),
    ]


@pytest.mark.parametrize("rows_max", [1, 2, 3])
async def test_any_size_of_the_steps_finds_the_same(stores, rows_max):
    scene, bank = await opened(stores)
    settlements = [await scene.bring(State.IN_DOUBT) for _ in range(4)]
    await take(stores.statements, bank.statement(*map(booking, settlements)))
    assert await searched(stores, rows_max) == (4, 4)
    assert len(await told(scene, *settlements)) == 4


async def test_a_batch_is_searched_payment_by_payment(stores):
    scene, bank = await opened(stores)
    settlements = [await scene.bring(State.IN_DOUBT) for _ in range(5)]
    details = tuple(detail for each in settlements for detail in booking(each).details)
    batch = booking(settlements[0], -500, details=details)
    await take(stores.statements, bank.statement(batch))
    assert await searched(stores, 2) == (5, 5)
    assert await told(scene, *settlements) == [(Event.SETTLED, Y.DEBIT, 100)] * 5


async def test_two_engines_share_the_work_and_tell_nothing_twice(stores):
    scene, bank = await opened(stores)
    settlements = [await scene.bring(State.IN_DOUBT) for _ in range(6)]
    for each in settlements:
        await take(stores.statements, bank.statement(booking(each)))
    other = stores.beside()
    both = await asyncio.gather(searched(stores, 1), searched(other, 1))
    assert sum(found for found, _ in both) == sum(news for _, news in both) == 6
    assert len(await told(scene, *settlements)) == 6
    await stores.close_beside()


async def test_a_search_that_is_cut_off_is_gone_on_with(stores):
    scene, bank = await opened(stores)
    settlements = [await scene.bring(State.IN_DOUBT) for _ in range(8)]
    await take(stores.statements, bank.statement(*map(booking, settlements)))
    for turn in range(40):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.001 * (turn % 5)):
                await stores.evidence.search_next(1, NO_RULES)
    await searched(stores, 1)
    assert len(await told(scene, *settlements)) == 8


ENTRY = {"statement": "3", "statement_entry": "2", "statement_detail": "1"}
BOOKED = (Event.DEBITED_TWICE, CaseKind.DEBITED_TWICE)
ONLY_TOLD = (Event.CONTRADICTED, CaseKind.SECOND_DEBIT)


@pytest.mark.parametrize(("first", "then"), [(BOOKED, ONLY_TOLD), (ONLY_TOLD, BOOKED)])
async def test_one_report_of_a_second_debit_is_booked_or_told(stores, first, then):
    """It is worked off again after a crash, when the account covers it at last, or no more."""
    scene = await Scene.open(stores, funds_minor=1_000)
    settlement = await scene.bring(State.COMPLETED)

    async def result(event, kind, **entry):
        detail = {"exception": kind.value, **ENTRY, **entry}
        [found] = await scene.apply(scene.step(settlement, event, detail=detail))
        return found.result

    assert await result(*first) is Result.APPLIED
    settlement = await scene.load(settlement)
    before = await scene.everything(settlement)
    assert await result(*then) is Result.STALE
    assert await scene.everything(settlement) == before
    [case] = await stores.cases.cases(CaseFilter(settlement_id=settlement.id, has_closed=False))
    assert case.kind is first[1]
    assert await result(*then, statement_entry="5") is Result.APPLIED  # it is another one


@pytest.mark.parametrize("state", [State.COMPLETED, State.RETURNED])
async def test_a_second_debit_below_the_limit_is_refused_and_its_exception_is_not(stores, state):
    """The limit refuses the posting whole; what the engine then writes instead passes at once."""
    scene = await Scene.open(stores, funds_minor=100)
    settlement = await scene.bring(state)
    if state is State.RETURNED:
        await scene.bring(State.COMPLETED)
    before = await scene.everything(settlement)
    with pytest.raises(InvariantViolated):
        await scene.apply(scene.step(settlement, Event.DEBITED_TWICE))
    assert await scene.everything(settlement) == before
    detail = {"exception": CaseKind.SECOND_DEBIT.value}
    told = scene.step(settlement, Event.CONTRADICTED, detail=detail)
    [outcome] = await scene.apply(told)
    assert outcome.result is Result.APPLIED
    after = await scene.load(settlement)
    assert (after.state, after.is_frozen) == (state, True)
    [case] = await stores.cases.cases(CaseFilter(settlement_id=settlement.id, has_closed=False))
    assert case.kind is CaseKind.SECOND_DEBIT


async def test_an_account_is_undecided_until_its_statements_are_searched_and_their_news_is_decided(
    stores,
):
    scene, bank = await opened(stores)
    other, _ = await opened(stores)
    asked = [scene.route.source_id, bank.account.id, other.route.source_id]
    await searched(stores)
    assert await stores.undecided.undecided_accounts(asked) == set()
    doubted = await scene.bring(State.IN_DOUBT)
    await take(stores.statements, bank.statement(booking(doubted)))
    assert await stores.undecided.undecided_accounts(asked) == {bank.account.id}
    assert await searched(stores) == (1, 1)
    assert await stores.undecided.undecided_accounts(asked) == {bank.account.id}
    assert await stores.undecided.undecided_accounts([]) == set()
    await told(scene, doubted)
    assert await stores.undecided.undecided_accounts(asked) == set()
