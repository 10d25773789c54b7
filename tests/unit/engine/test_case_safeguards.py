"""What the case worker must never do, and what must never end it: each test fails without its safeguard."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from settlement_engine.domain.backoff import Backoff
from settlement_engine.domain.exceptions import CaseKind
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.proposals import Finding
from settlement_engine.domain.settlement import Attestation, Settlement
from settlement_engine.errors import Unavailable
from settlement_engine.ports import Answer, DoubtLimit, ProposalSpec, RailCapabilities, RailClass
from settlement_lab.memory import MemoryCases
from tests.unit.engine.engine_world import EngineWorld, ScriptedRail, payment_request, running

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from uuid import UUID

    from settlement_engine.ports import Question

    Report = Callable[[Sequence[Answer]], None]

SILENT = [None] * 10_000
ONLY_THE_CASE_WORKER_ENQUIRES = Backoff(first_seconds=60, max_seconds=60)
PATIENT = RailCapabilities(
    rail_class=RailClass.A,
    answer_timeout_seconds=0.3,
    is_not_found_definite=True,
    validity_seconds=3600,
    deduplicates_seconds=3600,
)


async def doubted(world: EngineWorld) -> Settlement:
    """Make a settlement without answers, about which only the case worker enquires."""
    world.rail.sends.append(None)
    world.rail.enquiries.extend(SILENT)
    [accepted] = await world.engine.submit([payment_request()])
    assert not isinstance(accepted, Exception)
    key, records = accepted.id, world.records
    await world.until(lambda: records.histories[key].state is State.IN_DOUBT)
    await world.until(lambda: records.open[key].engine_id == 0)
    return accepted


async def attest(world: EngineWorld, settlement: Settlement, finding: Finding) -> None:
    """Let two people agree, without waiting for the engine."""
    resolutions = world.case_management.resolutions
    proposal = await resolutions.propose(
        ProposalSpec(
            settlement_id=settlement.id,
            finding=finding,
            reason="the statement of today says so",
            evidence_name="camt.053.xml",
            evidence=b"<Document/>",
            who="ada",
            valid_seconds=60.0,
        )
    )
    await resolutions.approve(proposal.id, "grace", proposal.content_sha256)


def enquiries(*worlds: EngineWorld) -> int:
    return sum(word == "enquire" for world in worlds for word, _, _ in world.rail.asked)


class Answering(ScriptedRail):
    """A rail whose answers to an enquiry the test sets."""

    def __init__(self) -> None:
        super().__init__()
        self.answer: Callable[[Question, Report], None] | None = None

    async def enquire(self, questions: Any, report: Any) -> None:
        if self.answer is None:
            await super().enquire(questions, report)
            return
        for question in questions:
            self.answer(question, report)


def word(question: Question, event: Event) -> Answer:
    return Answer(settlement_id=question.settlement_id, event=event, attempt=question.attempt)


async def test_a_definite_status_takes_precedence_over_later_vague_ones() -> None:
    rail = Answering()
    async with running(enquiry=ONLY_THE_CASE_WORKER_ENQUIRES, rail=rail) as world:
        found = await doubted(world)

        def settled_and_then_vague(question: Question, report: Report) -> None:
            report([word(question, Event.SETTLED), word(question, Event.ACKNOWLEDGED)])
            report([word(question, Event.NOT_FOUND)])

        rail.answer = settled_and_then_vague
        await attest(world, found, Finding.NOT_SETTLED)
        ended = await world.engine.wait(found.id, 5)
        assert ended.state is State.COMPLETED
        assert (await world.store.history(found.id))[-1].event is Event.SETTLED


async def test_a_definite_status_after_the_decision_is_not_lost() -> None:
    rail = Answering()
    async with running(enquiry=ONLY_THE_CASE_WORKER_ENQUIRES, rail=rail) as world:
        found = await doubted(world)
        late: list[Callable[[], None]] = []

        def answer_later(question: Question, report: Report) -> None:
            late.append(lambda: report([word(question, Event.SETTLED)]))

        rail.answer = answer_later
        await attest(world, found, Finding.NOT_SETTLED)
        assert (await world.engine.wait(found.id, 5)).state is State.ROLLED_BACK
        late[0]()
        await world.until(lambda: world.records.cases)
        [case] = world.records.cases.values()
        assert case.kind is CaseKind.DISPROVED


async def test_no_proposal_is_applied_during_a_recovery() -> None:
    async with running(enquiry=ONLY_THE_CASE_WORKER_ENQUIRES) as world:
        found = await doubted(world)
        world.engine._gate.shut()
        asked = enquiries(world)
        await attest(world, found, Finding.SETTLED)
        await asyncio.sleep(0.2)  # ten intervals of the case worker
        assert world.records.histories[found.id].state is State.IN_DOUBT
        assert enquiries(world) == asked
        world.engine._gate.open()
        assert (await world.engine.wait(found.id, 5)).state is State.COMPLETED


async def test_a_resolution_belongs_to_one_engine_while_the_bank_may_answer() -> None:
    rail = ScriptedRail()
    rail.capabilities = PATIENT
    settings: dict[str, Any] = {
        "enquiry": ONLY_THE_CASE_WORKER_ENQUIRES,
        "resolve_pause_seconds": 0.001,
    }
    async with running(rail=rail, **settings) as world:
        found = await doubted(world)
        beside = EngineWorld(world.records, **settings)
        beside.rail.capabilities = PATIENT
        for each in (world, beside):
            each.rail.answer_delay_seconds = 3_600
        await beside.start()
        asked = enquiries(world, beside)
        await attest(world, found, Finding.SETTLED)
        assert (await world.engine.wait(found.id, 5)).state is State.COMPLETED
        assert enquiries(world, beside) == asked + 1
        await beside.crash()


async def test_an_enquiry_of_the_case_worker_times_out() -> None:
    async with running(enquiry=ONLY_THE_CASE_WORKER_ENQUIRES) as world:
        found = await doubted(world)
        world.rail.answer_delay_seconds = 3_600
        await attest(world, found, Finding.SETTLED)
        assert (await world.engine.wait(found.id, 5)).state is State.COMPLETED
        assert world.records.histories[found.id].attestation is Attestation.STANDS


async def test_an_error_of_the_bank_during_an_enquiry_is_no_answer() -> None:
    rail = Answering()
    async with running(enquiry=ONLY_THE_CASE_WORKER_ENQUIRES, rail=rail) as world:
        found = await doubted(world)

        def fail(_question: Question, _report: Report) -> None:
            message = "the bank is closed"
            raise OSError(message)

        rail.answer = fail
        await attest(world, found, Finding.NOT_SETTLED)
        assert (await world.engine.wait(found.id, 5)).state is State.ROLLED_BACK
        rail.answer = None
        assert (await world.settle("k2")).state is State.COMPLETED, "the engine still runs"


class FailingCases(MemoryCases):
    """A store of cases whose database is unavailable a few times."""

    losses = 3

    async def open_doubts(self, limits: Sequence[DoubtLimit], count_max: int) -> int:
        if self.losses:
            self.losses -= 1
            message = "lost"
            raise Unavailable(message)
        return await super().open_doubts(limits, count_max)


async def test_the_case_worker_tries_again_after_a_database_outage() -> None:
    at_once = (DoubtLimit(rail="", in_doubt_seconds=0.0, overdue_seconds=0.0),)
    async with running(enquiry=ONLY_THE_CASE_WORKER_ENQUIRES, doubt_limits=at_once) as world:
        shaky = FailingCases(world.records)
        world.case_management.cases = shaky
        await doubted(world)
        await world.until(lambda: world.records.cases)
        assert shaky.losses == 0


async def resent(world: EngineWorld, key: UUID) -> None:
    """Send the payment once more, as a claim after parking does: state and sequence do not change."""
    world.records.count(key, sends=1)


async def received(world: EngineWorld, key: UUID) -> None:
    """Let the bank report that it has the payment."""
    world.rail.say([Answer(settlement_id=key, event=Event.ACKNOWLEDGED, attempt=1)])
    await world.until(lambda: world.records.histories[key].state is State.SENT)
    await world.until(lambda: world.records.open[key].engine_id == 0)


@pytest.mark.parametrize("change", [resent, received])
async def test_evidence_that_is_older_than_a_send_is_not_applied(
    change: Callable[[EngineWorld, UUID], Awaitable[None]],
) -> None:
    """It was taken up in time, and its statement is outdated when the settlement is read."""
    async with running(
        enquiry=ONLY_THE_CASE_WORKER_ENQUIRES, case_interval_seconds=1_000.0
    ) as world:
        found = await doubted(world)
        await attest(world, found, Finding.NOT_SETTLED)
        proposals = await world.case_management.resolutions.take_up(60.0, 10)
        assert [proposal.settlement_id for proposal in proposals] == [found.id]
        await change(world, found.id)
        answered: list[Answer] = []
        case_worker, before = world.engine._case_worker, enquiries(world)
        assert case_worker is not None
        world.engine._mailbox.hear = lambda answers: answered.extend(answers)  # type: ignore[method-assign]  # noqa: PLW0108 - the names of its arguments
        await case_worker._act(proposals)
        assert answered == []
        assert enquiries(world) == before
        assert world.records.histories[found.id].state in (State.IN_DOUBT, State.SENT)
        if change is resent:
            world.records.count(
                found.id, sends=-1
            )  # no history tells of it, which the proof would find


async def test_evidence_that_still_holds_is_applied() -> None:
    async with running(
        enquiry=ONLY_THE_CASE_WORKER_ENQUIRES, case_interval_seconds=1_000.0
    ) as world:
        found = await doubted(world)
        await attest(world, found, Finding.NOT_SETTLED)
        proposals = await world.case_management.resolutions.take_up(60.0, 10)
        case_worker, before = world.engine._case_worker, enquiries(world)
        assert case_worker is not None
        await case_worker._act(proposals)
        assert enquiries(world) == before + 1
        assert (await world.engine.wait(found.id, 5)).state is State.ROLLED_BACK


@pytest.mark.parametrize("finding", [Finding.SETTLED, Finding.NOT_SETTLED])
async def test_an_attestation_names_its_payment(finding: Finding) -> None:
    """So that it can never be taken for a report about another attempt."""
    async with running(enquiry=ONLY_THE_CASE_WORKER_ENQUIRES) as world:
        found = await doubted(world)
        answered: list[Answer] = []
        mailbox = world.engine._mailbox
        hear = mailbox.hear
        mailbox.hear = lambda answers: hear(_noted(answers, answered))  # type: ignore[method-assign]
        await attest(world, found, finding)
        await world.engine.wait(found.id, 5)
        assert [answer.attempt for answer in answered] == [1]


def _noted(answers: Any, answered: list[Answer]) -> list[Answer]:
    found = list(answers)
    answered.extend(found)
    return found
