"""Inbound messages: stored once, matched by any reference, processed by the owner, closed once."""

from __future__ import annotations

import itertools
from uuid import uuid4

import msgspec
import pytest

from settlement_engine.domain.bank_codes import folded_bank
from settlement_engine.domain.exceptions import CaseKind
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.ports import (
    CaseFilter,
    InboundMessage,
    MessageSource,
    Named,
    NamedBy,
    PaymentReferences,
    Receipt,
    ReportClosing,
    ReportOutcome,
    StatusReport,
)
from tests.support.histories import Scene

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMIT = 1000
_numbers = itertools.count(1)


def status(event=Event.SETTLED, **names):
    return StatusReport(event=event, references=PaymentReferences(**names), code="X1", text="said")


def message(*reports, rail="mock", content=b"", source=MessageSource.CALLBACK):
    return InboundMessage(
        rail=rail,
        source=source,
        content=content or f"message {next(_numbers)}".encode(),
        reports=reports,
        sender_reference="THEIRS",
    )


async def record(scene, *messages):
    return await scene.stores.inbound.record(messages)


async def found(scene, *, engine_id=None, limit=LIMIT, in_flight=()):
    engine_id = scene.engine_id if engine_id is None else engine_id
    return await scene.stores.inbound.open_reports(engine_id, limit, in_flight)


async def close(scene, outcome, *reports):
    await scene.stores.inbound.close_reports(
        [ReportClosing(report_id=each.id, outcome=outcome) for each in reports]
    )


async def of(scene, settlement, **wanted):
    return [each for each in await found(scene, **wanted) if each.settlement_id == settlement.id]


@pytest.mark.parametrize("name", ["uetr", "end_to_end_id", "message_id"])
async def test_a_payment_is_found_by_each_of_our_references(scene, name):
    settlement = await scene.bring(State.SENT)
    value = getattr(settlement.attempt.references, name)
    assert await record(scene, message(status(**{name: value}))) == [Receipt.STORED]
    [report] = await of(scene, settlement)
    assert (report.attempt, report.rail) == (settlement.attempt.number, "mock")
    assert report.report == status(**{name: value})
    await close(scene, ReportOutcome.APPLIED, report)


@pytest.mark.parametrize("has_callers_own", [False, True])
async def test_a_payment_is_found_by_its_transaction_id_and_instruction_id(scene, has_callers_own):
    """Where the caller's end-to-end id goes through to the creditor, ours is the transaction id."""
    settlement = await scene.bring(State.SENT)
    theirs = {"end_to_end_id": "INVOICE 17"} if has_callers_own else {}
    for names in (
        {"transaction_id": settlement.attempt.references.end_to_end_id},
        {"instruction_id": settlement.id.hex},
        {"instruction_id": settlement.id.hex.upper()},
    ):
        await record(scene, message(status(**names, **theirs)))
        [report] = await of(scene, settlement)
        assert report.attempt == settlement.attempt.number
        await close(scene, ReportOutcome.APPLIED, report)
    other = await scene.bring(State.SENT)
    mixed = status(
        transaction_id=settlement.attempt.references.end_to_end_id, instruction_id=other.id.hex
    )
    unknown = status(instruction_id="1" * 31, transaction_id="INVOICE 17")
    await record(scene, message(mixed), message(unknown))
    unmatched = [each for each in await found(scene) if each.settlement_id is None]
    assert [each.report for each in unmatched] == [mixed, unknown]
    await close(scene, ReportOutcome.UNKNOWN_PAYMENT, *unmatched)


async def test_a_payment_is_found_by_the_rails_own_reference(scene):
    settlement = await scene.bring(State.SENT)
    assert settlement.rail_reference == ""
    name = f"RAIL-{settlement.id}"
    moved = await scene.move(
        settlement, Event.SETTLED, rail_reference=name, detail={"rail_reference": name}
    )
    await record(scene, message(status(rail_reference=moved.rail_reference)))
    [report] = await of(scene, settlement)
    await close(scene, ReportOutcome.NO_NEWS, report)


async def test_a_payment_is_found_by_its_trace(scene):
    trace, other = f"0910000{next(_numbers):08d}", f"0910000{next(_numbers):08d}"
    settlement = await scene.locked(trace)
    await scene.locked(other)
    await scene.locked()
    assert settlement.attempt.trace == trace
    await record(scene, message(status(trace=trace)))
    [report] = await of(scene, settlement)
    assert report.report.references == PaymentReferences(trace=trace)
    mixed = status(trace=other, uetr=settlement.attempt.references.uetr)
    unknown = status(trace=f"{trace}0")
    await record(scene, message(mixed), message(unknown))
    unmatched = [each for each in await found(scene) if each.settlement_id is None]
    assert [each.report for each in unmatched] == [mixed, unknown]
    await close(scene, ReportOutcome.UNKNOWN_PAYMENT, *unmatched)
    cases = await scene.stores.cases.cases(CaseFilter(limit=LIMIT))
    assert f"{trace}0" in {each.detail.get("trace") for each in cases}
    await close(scene, ReportOutcome.APPLIED, report)


async def test_a_trace_used_twice_names_no_payment(scene):
    trace = f"0910000{next(_numbers):08d}"
    for _ in range(2):
        await scene.locked(trace)
    await record(scene, message(status(trace=trace)))
    [report] = [each for each in await found(scene) if each.report == status(trace=trace)]
    assert report.settlement_id is None
    await close(scene, ReportOutcome.UNKNOWN_PAYMENT, report)


async def test_the_rails_own_reference_of_a_quiet_answer_is_known(scene):
    """The bank stated it when it had nothing new to say."""
    settlement = await scene.bring(State.SENT)
    name = f"QUIET-{settlement.id}"
    quiet = await scene.move(settlement, Event.ACKNOWLEDGED, detail={"rail_reference": name})
    assert quiet.seq == settlement.seq
    await record(scene, message(status(rail_reference=name)))
    [report] = await of(scene, settlement)
    await close(scene, ReportOutcome.APPLIED, report)
    assert await scene.stores.settlements.find_by_any_id(name) == [
        Named(settlement.id, NamedBy.RAIL_REFERENCE)
    ]


async def test_the_rails_own_reference_is_learned_from_a_report_that_also_gives_ours(scene):
    settlement = await scene.bring(State.SENT)
    name = f"LEARNED-{settlement.id}"
    uetr = settlement.attempt.references.uetr
    await record(scene, message(status(Event.ACKNOWLEDGED, uetr=uetr, rail_reference=name)))
    await record(scene, message(status(rail_reference=name)))
    await record(scene, message(status(rail_reference=name), rail="other"))
    first, second = await of(scene, settlement)
    assert second.report == status(rail_reference=name)
    assert second.attempt == first.attempt == settlement.attempt.number
    assert await scene.stores.settlements.find_by_any_id(name) == [
        Named(settlement.id, NamedBy.RAIL_REFERENCE)
    ]
    await close(scene, ReportOutcome.APPLIED, first, second)
    [elsewhere] = [each for each in await found(scene) if each.rail == "other"]
    assert elsewhere.settlement_id is None
    await close(scene, ReportOutcome.UNKNOWN_PAYMENT, elsewhere)


async def test_a_rails_own_reference_of_two_payments_names_none(scene):
    one, other = await scene.bring(State.SENT), await scene.bring(State.SENT)
    shared = f"SHARED-{one.id}"
    for each in (one, other):
        await scene.move(each, Event.ACKNOWLEDGED, detail={"rail_reference": shared})
    await record(scene, message(status(rail_reference=shared)))
    [report] = [each for each in await found(scene) if each.report == status(rail_reference=shared)]
    assert report.settlement_id is None
    await close(scene, ReportOutcome.UNKNOWN_PAYMENT, report)


async def test_references_of_two_payments_in_one_report_name_none(scene):
    one, other = await scene.bring(State.SENT), await scene.bring(State.SENT)
    mixed = status(
        uetr=one.attempt.references.uetr,
        end_to_end_id=other.attempt.references.end_to_end_id,
    )
    await record(scene, message(mixed))
    assert not await of(scene, one)
    assert not await of(scene, other)
    [report] = [each for each in await found(scene) if each.report == mixed]
    assert report.settlement_id is None
    await close(scene, ReportOutcome.UNKNOWN_PAYMENT, report)


async def test_a_call_back_about_a_payment_of_another_rail_is_refused_and_changes_nothing(scene):
    settlement, own = await scene.bring(State.SENT), await scene.bring(State.SENT)
    names = settlement.attempt.references
    every_name = (
        status(uetr=names.uetr),
        status(end_to_end_id=names.end_to_end_id),
        status(message_id=names.message_id),
        status(transaction_id=names.end_to_end_id),
        status(instruction_id=settlement.id.hex),
    )
    for given in every_name:
        refused = message(status(uetr=uuid4()), given, rail="other")
        assert await record(scene, refused, refused) == [Receipt.REFUSED] * 2
        assert not await of(scene, settlement)
        assert not [each for each in await found(scene) if each.report in refused.reports]
    later = message(status(uetr=own.attempt.references.uetr))
    assert await record(scene, message(every_name[0], rail="other"), later) == [
        Receipt.REFUSED,
        Receipt.STORED,
    ]
    [report] = await of(scene, own)
    await close(scene, ReportOutcome.NO_NEWS, report)


@pytest.mark.parametrize("source", [MessageSource.INBOX, MessageSource.PUSHED])
async def test_what_was_fetched_is_kept_whatever_it_names(scene, source):
    """There is nobody to whom it could be refused: a person looks at it."""
    settlement = await scene.bring(State.SENT)
    given = status(uetr=settlement.attempt.references.uetr)
    fetched = message(given, rail="other", source=source)
    assert await record(scene, fetched) == [Receipt.STORED]
    assert not await of(scene, settlement)
    [report] = [each for each in await found(scene) if each.report == given]
    await close(scene, ReportOutcome.UNKNOWN_PAYMENT, report)


@pytest.mark.parametrize(
    ("scope", "is_heard"),
    [
        (set(), True),
        ({"{bank}/*"}, True),
        ({"*/EUR", "OTHER/*"}, True),
        ({"{bank}/EUR"}, True),
        ({"{bank}/USD"}, False),
        ({"OTHER/*"}, False),
    ],
)
async def test_a_bank_reports_only_on_payments_that_went_to_it(scene, scope, is_heard):
    settlement = await scene.bring(State.SENT)
    bank = folded_bank(settlement.instruction.from_bank)
    assert settlement.instruction.amount.currency == "EUR"
    given = status(uetr=settlement.attempt.references.uetr)
    texts = frozenset(each.format(bank=bank) for each in scope)
    receipts = await record(scene, msgspec.structs.replace(message(given), scope=texts))
    assert receipts == [Receipt.STORED if is_heard else Receipt.REFUSED]
    reports = await of(scene, settlement)
    assert [each.report for each in reports] == [given] * is_heard
    await close(scene, ReportOutcome.NO_NEWS, *reports)


async def test_a_rails_own_reference_of_another_banks_payment_is_no_reason_to_refuse(scene):
    """Two banks may use the same reference."""
    settlement = await scene.bring(State.SENT)
    name = f"TAKEN-{settlement.id}"
    await scene.move(settlement, Event.ACKNOWLEDGED, detail={"rail_reference": name})
    given = status(rail_reference=name)
    others = msgspec.structs.replace(message(given), scope=frozenset({"OTHER/*"}))
    assert await record(scene, others) == [Receipt.STORED]
    assert not await of(scene, settlement)
    [report] = [each for each in await found(scene) if each.report == given]
    await close(scene, ReportOutcome.UNKNOWN_PAYMENT, report)


async def test_a_foreign_name_beside_ones_of_the_senders_own_payment_is_no_reason_to_refuse(scene):
    """A caller may have chosen an end-to-end id that is the name of another payment."""
    one = await scene.bring(State.SENT)
    other = await (await Scene.open(scene.stores)).bring(State.SENT)
    assert other.attempt is not None
    given = status(
        uetr=one.attempt.references.uetr, end_to_end_id=other.attempt.references.end_to_end_id
    )
    bank = folded_bank(one.instruction.from_bank)
    mine = msgspec.structs.replace(message(given), scope=frozenset({f"{bank}/*"}))
    assert await record(scene, mine) == [Receipt.STORED]
    [report] = await of(scene, one)
    assert report.report == given
    await close(scene, ReportOutcome.NO_NEWS, report)


async def test_the_same_content_from_another_bank_is_another_message(scene):
    """A bank that guesses what another will say cannot keep it from being heard."""
    settlement = await scene.bring(State.SENT)
    name = f"GUESSED-{settlement.id}"
    given = message(status(rail_reference=name))
    one = msgspec.structs.replace(given, sender="one", scope=frozenset({"OTHER/*"}))
    two = msgspec.structs.replace(given, sender="two")
    assert await record(scene, one, two) == [Receipt.STORED, Receipt.STORED]
    assert await record(scene, two, one, given) == [
        Receipt.REPEATED,
        Receipt.REPEATED,
        Receipt.STORED,
    ]
    reports = [each for each in await found(scene) if each.report == given.reports[0]]
    assert len(reports) == 3
    await close(scene, ReportOutcome.UNKNOWN_PAYMENT, *reports)


async def test_the_same_content_is_the_same_message(scene):
    settlement = await scene.bring(State.SENT)
    sent = message(status(uetr=settlement.attempt.references.uetr))
    assert await record(scene, sent, sent) == [Receipt.STORED, Receipt.REPEATED]
    assert await record(scene, sent) == [Receipt.REPEATED]
    [report] = await of(scene, settlement)
    await close(scene, ReportOutcome.APPLIED, report)
    assert await record(scene, sent) == [Receipt.REPEATED]
    assert not await of(scene, settlement)


async def test_reports_come_in_the_order_of_receipt_and_one_message_may_have_many(scene):
    one, other = await scene.bring(State.SENT), await scene.bring(State.SENT)
    uetrs = [each.attempt.references.uetr for each in (one, other)]
    events = [Event.ACKNOWLEDGED, Event.SETTLED]
    for event in events:
        await record(scene, message(*(status(event, uetr=uetr) for uetr in uetrs)))
    for settlement in (one, other):
        reports = await of(scene, settlement)
        assert [each.report.event for each in reports] == events
        await close(scene, ReportOutcome.APPLIED, *reports)


async def test_open_reports_are_processed_by_the_owner_or_if_unowned_by_any_engine(scene):
    settlement = await scene.bring(State.SENT)
    other_engine = scene.engine_id + 1_000_000
    await record(scene, message(status(uetr=settlement.attempt.references.uetr)))
    assert await of(scene, settlement)
    assert not await of(scene, settlement, engine_id=other_engine)
    parked = await scene.move(settlement, Event.NO_ANSWER, due_seconds=600.0)
    assert await of(scene, parked, engine_id=other_engine)
    ended = await scene.move(parked, Event.SETTLED)
    assert await of(scene, ended, engine_id=other_engine)
    await close(scene, ReportOutcome.APPLIED, *await of(scene, ended))


async def test_reports_in_flight_are_excluded_and_the_limit_holds(scene):
    settlement = await scene.bring(State.SENT)
    uetr = settlement.attempt.references.uetr
    await record(scene, *(message(status(uetr=uetr)) for _ in range(3)))
    reports = await of(scene, settlement)
    first, *rest = reports
    assert await of(scene, settlement, in_flight=[first.id]) == rest
    assert len(await found(scene, limit=2)) == 2
    await close(scene, ReportOutcome.NO_NEWS, *reports)


async def test_an_unknown_payment_is_one_case_however_often_it_is_reported(scene):
    name = f"NOBODYS-{next(_numbers)}"
    for _ in range(2):
        given = status(end_to_end_id=name)
        await record(scene, message(given))
        [report] = [each for each in await found(scene) if each.report == given]
        await close(scene, ReportOutcome.UNKNOWN_PAYMENT, report)
        await close(scene, ReportOutcome.UNKNOWN_PAYMENT, report)
    cases = await scene.stores.cases.cases(CaseFilter(limit=LIMIT))
    [case] = [each for each in cases if each.detail.get("end_to_end_id") == name]
    assert case.kind is CaseKind.UNKNOWN_PAYMENT
    assert case.settlement_id is None
    assert (case.detail["rail"], case.detail["event"]) == ("mock", "settled")


async def test_open_reports_are_measured(scene):
    settlement = await scene.bring(State.SENT)
    before = (await scene.stores.gauges.gauges(0)).open_inbound_reports
    await record(scene, message(status(uetr=settlement.attempt.references.uetr)))
    measured = await scene.stores.gauges.gauges(0)
    assert measured.open_inbound_reports == before + 1
    assert measured.oldest_inbound_report_seconds >= 0
    await close(scene, ReportOutcome.APPLIED, *await of(scene, settlement))
    assert (await scene.stores.gauges.gauges(0)).open_inbound_reports == before


async def test_open_reports_are_counted_by_rail(scene):
    settlement = await scene.bring(State.SENT)
    before, _ = await scene.stores.inbound.open_count()
    await record(scene, message(status(uetr=settlement.attempt.references.uetr)))
    count, by_rail = await scene.stores.inbound.open_count()
    assert (count, by_rail["mock"]) == (before + 1, before + 1)
    await close(scene, ReportOutcome.APPLIED, *await of(scene, settlement))
    assert (await scene.stores.inbound.open_count())[0] == before
