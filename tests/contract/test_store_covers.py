"""Covers: stored before they are sent, counted, repaired only after the bank's own no, and never rewritten."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import pytest_asyncio

from settlement_engine.domain.bank_codes import folded_bank
from settlement_engine.domain.covers import COVERS_MAX, CoverProblem, CoverRefusal
from settlement_engine.domain.exceptions import CaseKind, Severity
from settlement_engine.domain.kept_messages import MessageDirection
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.proposals import Finding
from settlement_engine.errors import InvariantViolated, WrongState
from settlement_engine.ports import (
    CaseFilter,
    CoverResult,
    FailedCover,
    InboundMessage,
    MessageSource,
    PaymentReferences,
    ProposalSpec,
    Receipt,
    ReportClosing,
    ReportOutcome,
    Result,
    StatusReport,
)
from tests.support.histories import Scene, results
from tests.support.made_covers import intent_of, new_cover

if TYPE_CHECKING:
    from uuid import UUID

    from settlement_engine.domain.covers import Cover
    from settlement_engine.ports import NewCover, OpenReport

pytestmark = pytest.mark.asyncio(loop_scope="module")

FAMILY, PAIRS = "mock", "mock_cover"
MANY = 10_000
_numbers = itertools.count(1)


@pytest_asyncio.fixture(loop_scope="module")
async def scene(stores):
    """Two banks whose payments are cover payments."""
    return await Scene.open(stores, rail=PAIRS)


async def last(scene: Any, settlement: Any) -> Cover:
    key = (settlement.id, settlement.attempt.number)
    found: dict[UUID, Cover] = await scene.stores.covers.latest([key])
    return found[settlement.id]


def said(settlement: Any, number: int = 1, **changes: Any) -> CoverResult:
    return CoverResult(
        settlement_id=settlement.id, attempt=settlement.attempt.number, number=number, **changes
    )


async def refuse(scene: Any, settlement: Any, number: int = 1) -> None:
    await scene.stores.covers.note([said(settlement, number, code="AC04", text="ü closed")])


async def refused(scene: Any, state: State = State.SENT) -> Any:
    """Bring a settlement to a state, with a cover that its bank has refused."""
    settlement = await scene.bring(state)
    await scene.stores.covers.record([new_cover(settlement)])
    await refuse(scene, settlement)
    return settlement


async def send_cover(scene: Any, settlement: Any, cover: NewCover) -> list[Result]:
    """Record the send intent of a cover, whether or not it is stored."""
    step = scene.step(settlement, Event.COVER_DUE, detail=intent_of(cover.cover))
    return results(await scene.stores.settlements.apply([step], scene.engine_id))


# --- what is stored ---------------------------------------------------------------------------------


async def test_a_cover_is_stored_once_and_read_back_as_it_was(scene):
    settlement, covers = await scene.bring(State.LOCKED), scene.stores.covers
    key = (settlement.id, 1)
    assert await covers.latest([key]) == {}
    new = new_cover(settlement)
    before = await scene.stores.registry.now()
    await covers.record([new])
    stored = await last(scene, settlement)
    assert stored == msgspec.structs.replace(new.cover, recorded_at=stored.recorded_at)
    assert before <= stored.recorded_at <= await scene.stores.registry.now()
    await covers.record([new_cover(settlement, content=b"other bytes", message_id="CGOTHER")])
    assert await last(scene, settlement) == stored


async def test_covers_are_stored_and_read_for_many_payments_at_once(scene):
    settlements = [await scene.bring(State.LOCKED) for _ in range(3)]
    new = [new_cover(each) for each in settlements]
    await scene.stores.covers.record([])
    await scene.stores.covers.record([new[1], new[0]])
    keys = [(each.id, 1) for each in settlements]
    found = await scene.stores.covers.latest(keys)
    assert {key: each.content for key, each in found.items()} == {
        each.settlement_id: each.cover.content for each in new[:2]
    }
    assert await scene.stores.covers.latest([(settlements[0].id, 2)]) == {}
    assert await scene.stores.covers.latest([]) == {}


async def test_a_cover_needs_a_payment_and_a_repair_its_predecessor(scene):
    waiting, sent = await scene.new(), await scene.bring(State.SENT)
    nothing = msgspec.structs.replace(new_cover(sent), settlement_id=waiting.id)
    for early in (nothing, new_cover(sent, 2)):
        with pytest.raises(InvariantViolated):
            await scene.stores.covers.record([early])
    await scene.stores.covers.record([new_cover(sent)])
    with pytest.raises(InvariantViolated):
        await scene.stores.covers.record([new_cover(sent, 2)])
    assert (await last(scene, sent)).number == 1
    assert await scene.stores.covers.latest([(waiting.id, 1)]) == {}


async def test_a_repair_says_who_has_ordered_it_and_why_and_a_first_cover_nobody(scene):
    one, two, covers = *[await scene.bring(State.SENT) for _ in range(2)], scene.stores.covers
    for ordered in (new_cover(two, ordered_by="ada"), new_cover(two, reason="why")):
        with pytest.raises(InvariantViolated):
            await covers.record([new_cover(one), ordered])
    assert await covers.latest([(one.id, 1), (two.id, 1)]) == {}
    settlement = await refused(scene)
    for silent in (new_cover(settlement, 2, ordered_by=""), new_cover(settlement, 2, reason="")):
        with pytest.raises(InvariantViolated):
            await covers.order(silent)
    assert (await last(scene, settlement)).number == 1


async def test_only_a_first_cover_is_found_at_its_bank(scene):
    settlement, covers = await scene.bring(State.SENT), scene.stores.covers
    await covers.record([new_cover(settlement, is_found=True)])
    found = await last(scene, settlement)
    assert (found.is_found, found.has_left, found.sends) == (True, True, 0)
    await refuse(scene, settlement)
    with pytest.raises(InvariantViolated):
        await covers.order(new_cover(settlement, 2, is_found=True))
    assert await covers.order(new_cover(settlement, 2))


async def test_what_is_proved_of_a_cover_is_stored_once(scene):
    settlement, covers = await scene.bring(State.LOCKED), scene.stores.covers
    await covers.record([new_cover(settlement)])
    settlement = await scene.move(settlement, Event.COVER_DUE)
    await covers.note([])
    for _ in range(2):
        await covers.note([said(settlement, undelivered=1)])
        found = await last(scene, settlement)
        assert (found.sends, found.undelivered, found.has_left) == (1, 1, False)
    settlement = await scene.move(settlement, Event.COVER_DUE)
    found = await last(scene, settlement)
    assert (found.sends, found.undelivered, found.has_left) == (2, 1, True)
    await refuse(scene, settlement)
    await covers.note([said(settlement, code="AC01", text="again, with other words")])
    found = await last(scene, settlement)
    assert found.refusal == CoverRefusal(code="AC04", text="ü closed")
    assert (found.sends, found.undelivered) == (2, 1)


# --- the send intent --------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [State.LOCKED, State.IN_DOUBT, State.SENT])
async def test_the_send_intent_of_a_cover_counts_one_more_transmission(scene, state):
    settlement = await scene.bring(state)
    sends = settlement.attempt.sends
    for number in (1, 2):
        settlement = await scene.move(settlement, Event.COVER_DUE)
        assert settlement.state is State.SENT
        assert settlement.attempt.sends == sends + number
        assert (await last(scene, settlement)).sends == number
    last_move = (await scene.stores.settlements.history(settlement.id))[-1]
    assert last_move.detail == scene.step(settlement, Event.COVER_DUE).detail
    await scene.move(settlement, Event.SETTLED)


async def test_a_cover_that_is_not_stored_is_not_sent(scene):
    settlement = await scene.bring(State.LOCKED)
    before = await scene.everything(settlement)
    with pytest.raises(InvariantViolated):
        await send_cover(scene, settlement, new_cover(settlement))
    await scene.stores.covers.record([new_cover(settlement)])
    for other in (
        new_cover(settlement, content=b"other bytes"),
        new_cover(settlement, 2, content=new_cover(settlement).cover.content),
    ):
        with pytest.raises(InvariantViolated):
            await send_cover(scene, settlement, other)
    bare = scene.step(settlement, Event.COVER_DUE, detail={})
    with pytest.raises(InvariantViolated):
        await scene.stores.settlements.apply([bare], scene.engine_id)
    assert await scene.everything(settlement) == before
    assert await send_cover(scene, settlement, new_cover(settlement)) == [Result.APPLIED]


async def test_a_cover_that_was_refused_or_repaired_is_not_sent_again(scene):
    settlement = await scene.move(await scene.bring(State.LOCKED), Event.COVER_DUE)
    await refuse(scene, settlement)
    first, second = new_cover(settlement), new_cover(settlement, 2)
    before = await scene.everything(settlement)
    with pytest.raises(InvariantViolated):
        await send_cover(scene, settlement, first)
    assert await scene.stores.covers.order(second)
    with pytest.raises(InvariantViolated):
        await send_cover(scene, settlement, first)
    assert await scene.everything(settlement) == before
    assert await send_cover(scene, settlement, second) == [Result.APPLIED]
    found = await last(scene, settlement)
    assert (found.number, found.sends, found.undelivered, found.refusal) == (2, 1, 0, None)
    assert (await scene.load(settlement)).attempt.sends == 3


async def test_what_was_attested_before_a_cover_left_does_not_hold_after_it(scene):
    settlement = await scene.bring(State.SENT)
    proposal = await scene.stores.resolutions.propose(
        ProposalSpec(
            settlement_id=settlement.id,
            finding=Finding.NOT_SETTLED,
            reason="the bank says so",
            evidence_name="fax.pdf",
            evidence=b"%PDF",
            who="ada",
            valid_seconds=600.0,
        )
    )
    await scene.move(settlement, Event.COVER_DUE)
    with pytest.raises(WrongState):
        await scene.stores.resolutions.approve(proposal.id, "grace", proposal.content_sha256)


# --- repairs ----------------------------------------------------------------------------------------


async def test_a_repair_is_ordered_once_after_each_refusal(scene):
    settlement, covers = await refused(scene), scene.stores.covers
    for number in range(2, COVERS_MAX + 1):
        repair = new_cover(settlement, number)
        assert await covers.order(repair)
        assert not await covers.order(msgspec.structs.replace(repair, cover=_by(repair, "grace")))
        found = await last(scene, settlement)
        assert found == msgspec.structs.replace(repair.cover, recorded_at=found.recorded_at)
        assert not await covers.order(new_cover(settlement, 2))
        await refuse(scene, settlement, number)
    with pytest.raises(InvariantViolated):
        await covers.order(_tenth(settlement))
    assert (await last(scene, settlement)).number == COVERS_MAX


def _tenth(settlement: Any) -> NewCover:
    ninth = new_cover(settlement, COVERS_MAX)
    one_more = msgspec.structs.replace(ninth.cover, number=COVERS_MAX + 1, message_id="CG10")
    return msgspec.structs.replace(ninth, cover=one_more)


def _by(repair: NewCover, who: str) -> Cover:
    return msgspec.structs.replace(repair.cover, ordered_by=who, content=b"another")


async def test_a_repair_without_the_banks_no_is_refused(scene):
    settlement, covers = await scene.bring(State.SENT), scene.stores.covers
    with pytest.raises(InvariantViolated):
        await covers.order(new_cover(settlement, 2))
    await covers.record([new_cover(settlement)])
    with pytest.raises(InvariantViolated):
        await covers.order(new_cover(settlement, 2))
    await refuse(scene, settlement)
    with pytest.raises(InvariantViolated):
        await covers.order(new_cover(settlement, 3))
    assert (await last(scene, settlement)).number == 1
    assert await covers.order(new_cover(settlement, 2))


async def test_of_concurrent_orders_one_is_stored(scene):
    settlement = await refused(scene)
    other = scene.stores.beside().covers
    repair = new_cover(settlement, 2)
    made = await asyncio.gather(
        *(
            store.order(msgspec.structs.replace(repair, cover=_by(repair, f"who{number}")))
            for number, store in enumerate((scene.stores.covers, other) * 3)
        )
    )
    assert sum(made) == 1
    assert (await last(scene, settlement)).ordered_by == f"who{made.index(True)}"


@pytest.mark.parametrize("state", [State.LOCKED, State.RECALLING, State.COMPLETED])
async def test_nothing_is_repaired_in_another_state(scene, state):
    settlement = await refused(scene, state)
    assert not await scene.stores.covers.order(new_cover(settlement, 2))
    assert (await last(scene, settlement)).number == 1


async def test_nothing_is_repaired_that_is_frozen_or_unknown(scene):
    settlement = await refused(scene)
    other = msgspec.structs.replace(new_cover(settlement, 2), attempt=2)
    assert not await scene.stores.covers.order(other)
    frozen = await scene.move(settlement, Event.AMOUNT_DIFFERED)
    assert frozen.is_frozen
    assert not await scene.stores.covers.order(new_cover(settlement, 2))
    assert (await last(scene, settlement)).number == 1


async def test_a_repair_has_both_banks_asked_at_once(scene):
    settlement = await refused(scene, State.IN_DOUBT)
    settlement = await scene.move(settlement, Event.NO_ANSWER, due_seconds=3600.0)
    assert settlement.id not in await claimed(scene)
    assert await scene.stores.covers.order(new_cover(settlement, 2))
    assert settlement.id in await claimed(scene)


async def test_a_repair_takes_nothing_from_the_engine_that_asks(scene):
    settlement = await refused(scene)
    assert await scene.stores.covers.order(new_cover(settlement, 2))
    assert settlement.id not in await claimed(scene)
    moved = scene.step(
        settlement, Event.COVER_DUE, detail=intent_of(new_cover(settlement, 2).cover)
    )
    assert results(await scene.stores.settlements.apply([moved], scene.engine_id)) == [
        Result.APPLIED
    ]


async def claimed(scene: Any) -> set[UUID]:
    found = await scene.stores.settlements.claim(scene.engine_id, MANY)
    return {each.settlement.id for each in found}


# --- exceptions -------------------------------------------------------------------------------------


def failed(settlement: Any, problem: CoverProblem, cover: int = 1) -> FailedCover:
    return FailedCover(
        settlement_id=settlement.id,
        attempt=settlement.attempt.number,
        problem=problem,
        cover=cover,
        detail={"failed": problem.value, "text": 'ü "closed" \\ {}'},
    )


async def cases_of(scene: Any, settlement: Any) -> Any:
    wanted = CaseFilter(settlement_id=settlement.id, has_closed=True, limit=MANY)
    return list(reversed(await scene.stores.cases.cases(wanted)))


async def test_a_failed_cover_is_one_exception_until_the_settlement_ends(scene):
    settlement, covers = await scene.bring(State.SENT), scene.stores.covers
    await covers.open_failed([])
    first = failed(settlement, CoverProblem.COVER_FAILED)
    for _ in range(2):
        await covers.open_failed([first])
    others = [
        failed(settlement, CoverProblem.COVER_FAILED, 2),
        failed(settlement, CoverProblem.PAYMENT_FAILED),
    ]
    await covers.open_failed([first, *others])
    found = await cases_of(scene, settlement)
    assert [each.detail for each in found] == [each.detail for each in (first, *others)]
    assert {(each.kind, each.severity) for each in found} == {
        (CaseKind.COVER_FAILED, Severity.HIGH)
    }
    with pytest.raises(WrongState):
        await scene.stores.cases.close_case(found[0].id, "ada", "looked at it")
    await scene.stores.cases.close_ended(MANY)
    assert [each.closed_at for each in await cases_of(scene, settlement)] == [None] * 3
    await scene.move(settlement, Event.SETTLED)
    await scene.stores.cases.close_ended(MANY)
    assert [each.closed_by for each in await cases_of(scene, settlement)] == ["engine"] * 3


async def test_nothing_is_opened_about_a_settlement_that_has_ended(scene):
    settlement = await scene.bring(State.COMPLETED)
    await scene.stores.covers.open_failed([failed(settlement, CoverProblem.COVER_TOO_LATE, 0)])
    assert await cases_of(scene, settlement) == []


# --- what banks report ------------------------------------------------------------------------------


def message(
    *reports: StatusReport, bank: str = "", source: MessageSource = MessageSource.CALLBACK
) -> InboundMessage:
    return InboundMessage(
        rail=FAMILY,
        source=source,
        content=f"cover message {next(_numbers)}".encode(),
        reports=reports,
        sender_reference="THEIRS",
        scope=frozenset({f"{folded_bank(bank)}/*"} if bank else ()),
    )


def status(event: Event = Event.SETTLED, **names: Any) -> StatusReport:
    return StatusReport(event=event, references=PaymentReferences(**names), code="X1", text="said")


async def reports_of(scene: Any, settlement: Any) -> list[OpenReport]:
    found = await scene.stores.inbound.open_reports(scene.engine_id, MANY)
    return [each for each in found if each.settlement_id == settlement.id]


async def close(scene: Any, *reports: OpenReport) -> None:
    closings = [ReportClosing(report_id=each.id, outcome=ReportOutcome.NO_NEWS) for each in reports]
    await scene.stores.inbound.close_reports(closings)


async def test_a_report_that_names_only_a_cover_finds_its_payment(scene):
    settlement = await refused(scene)
    assert await scene.stores.covers.order(new_cover(settlement, 2))
    for number in (1, 2):
        names = new_cover(settlement, number).cover.message_id
        assert await scene.stores.inbound.record([message(status(message_id=names))]) == [
            Receipt.STORED
        ]
        [report] = await reports_of(scene, settlement)
        assert (report.attempt, report.rail, report.is_known) == (1, FAMILY, False)
        await close(scene, report)


async def test_both_banks_of_a_cover_payment_may_report_on_it(scene):
    settlement = await scene.bring(State.SENT)
    await scene.stores.covers.record([new_cover(settlement)])
    instruction, uetr = settlement.instruction, settlement.attempt.references.uetr
    cover = new_cover(settlement).cover.message_id
    for bank in (instruction.from_bank, instruction.to_bank):
        for given in (status(uetr=uetr), status(message_id=cover)):
            receipts = await scene.stores.inbound.record([message(given, bank=bank)])
            assert receipts == [Receipt.STORED], bank
            await close(scene, *await reports_of(scene, settlement))
    for given in (status(uetr=uetr), status(message_id=cover)):
        receipts = await scene.stores.inbound.record([message(given, bank="OTHER")])
        assert receipts == [Receipt.REFUSED]
    elsewhere = msgspec.structs.replace(message(status(uetr=uetr)), rail="other")
    assert await scene.stores.inbound.record([elsewhere]) == [Receipt.REFUSED]
    assert await reports_of(scene, settlement) == []


async def test_the_bank_that_is_paid_does_not_report_on_an_ordinary_payment(stores):
    scene = await Scene.open(stores, rail=FAMILY)
    settlement: Any = await scene.bring(State.SENT)
    given = status(uetr=settlement.attempt.references.uetr)
    to_bank = settlement.instruction.to_bank
    assert await stores.inbound.record([message(given, bank=to_bank)]) == [Receipt.REFUSED]
    assert await reports_of(scene, settlement) == []


async def test_a_refusal_of_a_cover_that_is_recorded_is_known(scene):
    settlement = await scene.bring(State.SENT)
    await scene.stores.covers.record([new_cover(settlement)])
    cover, own = (
        new_cover(settlement).cover.message_id,
        settlement.attempt.references.message_id,
    )
    given = [
        status(Event.REJECTED, message_id=cover),
        status(Event.SETTLED, message_id=cover),
        status(Event.REJECTED, message_id=own),
    ]
    await scene.stores.inbound.record([message(*given)])
    before = await reports_of(scene, settlement)
    assert [each.is_known for each in before] == [False] * 3
    await refuse(scene, settlement)
    after = await reports_of(scene, settlement)
    assert [(each.report, each.is_known) for each in after] == list(
        zip(given, (True, False, False), strict=True)
    )
    await close(scene, *after)


async def test_a_cover_that_is_paid_after_its_repair_is_marked(scene):
    settlement = await refused(scene)
    assert await scene.stores.covers.order(new_cover(settlement, 2))
    first, second = (new_cover(settlement, number).cover.message_id for number in (1, 2))
    given = [
        status(Event.SETTLED, message_id=first),
        status(Event.SETTLED, message_id=second),
        status(Event.ACKNOWLEDGED, message_id=first),
    ]
    await scene.stores.inbound.record([message(*given)])
    found = await reports_of(scene, settlement)
    assert [each.is_of_earlier_cover for each in found] == [True, False, False]
    await close(scene, *found)


async def test_what_from_has_reported_as_paid_is_not_repaired(scene):
    settlement = await refused(scene)
    cover = new_cover(settlement).cover.message_id
    await scene.stores.inbound.record([message(status(Event.SETTLED, message_id=cover))])
    assert not await scene.stores.covers.order(new_cover(settlement, 2))


async def test_what_to_has_reported_keeps_nobody_from_a_repair(scene):
    settlement = await refused(scene)
    own = settlement.attempt.references.message_id
    await scene.stores.inbound.record([message(status(Event.SETTLED, message_id=own))])
    assert await scene.stores.covers.order(new_cover(settlement, 2))


# --- what is listed ---------------------------------------------------------------------------------


async def test_covers_are_among_the_messages_of_their_payment(scene):
    settlement = await refused(scene)
    assert await scene.stores.covers.order(new_cover(settlement, 2))
    found = await scene.stores.messages.messages_of(settlement.id, MANY)
    covers = [new_cover(settlement, number).cover for number in (1, 2)]
    names = [each.message_id for each in covers]
    assert [each.message_id for each in found] == [settlement.attempt.references.message_id, *names]
    assert [each.content for each in found[1:]] == [each.content for each in covers]
    assert {(each.direction, each.rail, each.type, each.attempt) for each in found} == {
        (MessageDirection.OUT, PAIRS, None, 1)
    }
    assert [each.size_bytes for each in found[1:]] == [len(each.content) for each in covers]
    assert found[1].references == settlement.attempt.references
