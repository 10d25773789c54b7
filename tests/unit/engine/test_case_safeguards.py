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
from tests.unit.engine.engine_world import House, ToldRail, payment_request, running

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from uuid import UUID

    from settlement_engine.ports import Question

    Report = Callable[[Sequence[Answer]], None]

SILENT = [None] * 10_000
ONLY_THE_DESK_ASKS = Backoff(first_seconds=60, max_seconds=60)
PATIENT = RailCapabilities(
    rail_class=RailClass.A,
    answer_timeout_seconds=0.3,
    is_not_found_definite=True,
    validity_seconds=3600,
    deduplicates_seconds=3600,
)


async def doubted(house: House) -> Settlement:
    """Make a settlement without answers, about which only the case worker enquires."""
    house.rail.sends.append(None)
    house.rail.enquiries.extend(SILENT)
    [accepted] = await house.engine.submit([payment_request()])
    assert not isinstance(accepted, Exception)
    key, records = accepted.settlement.id, house.records
    await house.until(lambda: records.histories[key].state is State.IN_DOUBT)
    await house.until(lambda: records.open[key].engine_id == 0)
    return accepted.settlement


async def attest(house: House, settlement: Settlement, finding: Finding) -> None:
    """Let two people agree, without waiting for the engine."""
    resolutions = house.case_management.resolutions
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


def enquiries(*houses: House) -> int:
    return sum(word == "enquire" for house in houses for word, _, _ in house.rail.asked)


class Answering(ToldRail):
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
    async with running(enquiry=ONLY_THE_DESK_ASKS, rail=rail) as house:
        found = await doubted(house)

        def settled_and_then_vague(question: Question, report: Report) -> None:
            report([word(question, Event.SETTLED), word(question, Event.ACKNOWLEDGED)])
            report([word(question, Event.NOT_FOUND)])

        rail.answer = settled_and_then_vague
        await attest(house, found, Finding.NOT_SETTLED)
        ended = await house.engine.wait(found.id, 5)
        assert ended.state is State.COMPLETED
        assert (await house.store.history(found.id))[-1].event is Event.SETTLED


async def test_a_definite_status_after_the_decision_is_not_lost() -> None:
    rail = Answering()
    async with running(enquiry=ONLY_THE_DESK_ASKS, rail=rail) as house:
        found = await doubted(house)
        late: list[Callable[[], None]] = []

        def answer_later(question: Question, report: Report) -> None:
            late.append(lambda: report([word(question, Event.SETTLED)]))

        rail.answer = answer_later
        await attest(house, found, Finding.NOT_SETTLED)
        assert (await house.engine.wait(found.id, 5)).state is State.ROLLED_BACK
        late[0]()
        await house.until(lambda: house.records.cases)
        [case] = house.records.cases.values()
        assert case.kind is CaseKind.DISPROVED


async def test_no_proposal_is_applied_during_a_recovery() -> None:
    async with running(enquiry=ONLY_THE_DESK_ASKS) as house:
        found = await doubted(house)
        house.engine._gate.shut()
        asked = enquiries(house)
        await attest(house, found, Finding.SETTLED)
        await asyncio.sleep(0.2)  # ten intervals of the case worker
        assert house.records.histories[found.id].state is State.IN_DOUBT
        assert enquiries(house) == asked
        house.engine._gate.open()
        assert (await house.engine.wait(found.id, 5)).state is State.COMPLETED


async def test_a_resolution_belongs_to_one_engine_while_the_bank_may_answer() -> None:
    rail = ToldRail()
    rail.capabilities = PATIENT
    settings: dict[str, Any] = {
        "enquiry": ONLY_THE_DESK_ASKS,
        "resolve_pause_seconds": 0.001,
    }
    async with running(rail=rail, **settings) as house:
        found = await doubted(house)
        beside = House(house.records, **settings)
        beside.rail.capabilities = PATIENT
        for each in (house, beside):
            each.rail.answer_delay_seconds = 3_600
        await beside.start()
        asked = enquiries(house, beside)
        await attest(house, found, Finding.SETTLED)
        assert (await house.engine.wait(found.id, 5)).state is State.COMPLETED
        assert enquiries(house, beside) == asked + 1
        await beside.crash()


async def test_an_enquiry_of_the_case_worker_times_out() -> None:
    async with running(enquiry=ONLY_THE_DESK_ASKS) as house:
        found = await doubted(house)
        house.rail.answer_delay_seconds = 3_600
        await attest(house, found, Finding.SETTLED)
        assert (await house.engine.wait(found.id, 5)).state is State.COMPLETED
        assert house.records.histories[found.id].attestation is Attestation.STANDS


async def test_an_error_of_the_bank_during_an_enquiry_is_no_answer() -> None:
    rail = Answering()
    async with running(enquiry=ONLY_THE_DESK_ASKS, rail=rail) as house:
        found = await doubted(house)

        def fail(_question: Question, _report: Report) -> None:
            message = "the bank is closed"
            raise OSError(message)

        rail.answer = fail
        await attest(house, found, Finding.NOT_SETTLED)
        assert (await house.engine.wait(found.id, 5)).state is State.ROLLED_BACK
        rail.answer = None
        assert (await house.settle("k2")).state is State.COMPLETED, "the engine still runs"


class ShakyMatters(MemoryCases):
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
    async with running(enquiry=ONLY_THE_DESK_ASKS, doubt_limits=at_once) as house:
        shaky = ShakyMatters(house.records)
        house.case_management.cases = shaky
        await doubted(house)
        await house.until(lambda: house.records.cases)
        assert shaky.losses == 0


async def resent(house: House, key: UUID) -> None:
    """Send the payment once more, as a claim after parking does: state and sequence do not change."""
    house.records.count(key, sends=1)


async def received(house: House, key: UUID) -> None:
    """Let the bank report that it has the payment."""
    house.rail.say([Answer(settlement_id=key, event=Event.ACKNOWLEDGED, attempt=1)])
    await house.until(lambda: house.records.histories[key].state is State.SENT)
    await house.until(lambda: house.records.open[key].engine_id == 0)


@pytest.mark.parametrize("change", [resent, received])
async def test_evidence_that_is_older_than_a_send_is_not_applied(
    change: Callable[[House, UUID], Awaitable[None]],
) -> None:
    """It was taken up in time, and its statement is outdated when the settlement is read."""
    async with running(enquiry=ONLY_THE_DESK_ASKS, case_interval_seconds=1_000.0) as house:
        found = await doubted(house)
        await attest(house, found, Finding.NOT_SETTLED)
        proposals = await house.case_management.resolutions.take_up(60.0, 10)
        assert [proposal.settlement_id for proposal in proposals] == [found.id]
        await change(house, found.id)
        heard: list[Answer] = []
        clerk, before = house.engine._case_worker, enquiries(house)
        assert clerk is not None
        house.engine._mailbox.hear = lambda answers: heard.extend(answers)  # type: ignore[method-assign]  # noqa: PLW0108 - the names of its arguments
        await clerk._act(proposals)
        assert heard == []
        assert enquiries(house) == before
        assert house.records.histories[found.id].state in (State.IN_DOUBT, State.SENT)


async def test_evidence_that_still_holds_is_applied() -> None:
    async with running(enquiry=ONLY_THE_DESK_ASKS, case_interval_seconds=1_000.0) as house:
        found = await doubted(house)
        await attest(house, found, Finding.NOT_SETTLED)
        proposals = await house.case_management.resolutions.take_up(60.0, 10)
        clerk, before = house.engine._case_worker, enquiries(house)
        assert clerk is not None
        await clerk._act(proposals)
        assert enquiries(house) == before + 1
        assert (await house.engine.wait(found.id, 5)).state is State.ROLLED_BACK


@pytest.mark.parametrize("finding", [Finding.SETTLED, Finding.NOT_SETTLED])
async def test_an_attestation_names_its_payment(finding: Finding) -> None:
    """So that it can never be taken for a report about another attempt."""
    async with running(enquiry=ONLY_THE_DESK_ASKS) as house:
        found = await doubted(house)
        heard: list[Answer] = []
        mailbox = house.engine._mailbox
        hear = mailbox.hear
        mailbox.hear = lambda answers: hear(_noted(answers, heard))  # type: ignore[method-assign]
        await attest(house, found, finding)
        await house.engine.wait(found.id, 5)
        assert [answer.attempt for answer in heard] == [1]


def _noted(answers: Any, heard: list[Answer]) -> list[Answer]:
    found = list(answers)
    heard.extend(found)
    return found
