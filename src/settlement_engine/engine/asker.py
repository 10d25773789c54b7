"""The asker: it asks screening and the rails, outside of any transaction.

Promises: every question that is asked ends with an answer; if none arrives in time, the answer is NO_ANSWER. A slow
or broken rail delays only its own questions: they wait in its lanes (``engine/dispatch``), and the time-out of an
answer begins when the question is sent. Must never: take a missing response for a rejection.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from settlement_engine.domain.decisions.before_the_end import ONLY_TO_A_QUESTION, when_not_taken
from settlement_engine.domain.lifecycle import QUESTION, Ask, Event
from settlement_engine.engine.dispatch.dispatcher import EngineHooks
from settlement_engine.engine.dispatch.free_calls import FailedSends
from settlement_engine.engine.external_timeout import is_cancelled
from settlement_engine.engine.filing import never_left
from settlement_engine.engine.integrity import may_be_put, silence
from settlement_engine.ports import Answer, EnquiryRail, Question, RecallRail

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from settlement_engine.domain.settlement import Settlement
    from settlement_engine.engine.dispatch.call import LaneCall
    from settlement_engine.engine.dispatch.dispatcher import Dispatcher
    from settlement_engine.engine.gate import Gate
    from settlement_engine.engine.integrity import Integrity
    from settlement_engine.engine.lease import EngineLease
    from settlement_engine.engine.settings import EngineSettings
    from settlement_engine.ports import Meter, Report, Screening, SendRail

    Hear = Callable[[Iterable[Answer]], None]
    Carried = Callable[[UUID], Settlement | None]

QUESTIONS_BATCH_MAX: Final = 500
"""The most questions in one call."""

log = structlog.get_logger(__name__)


class Asker:
    """Groups questions by rail, and turns missing responses into NO_ANSWER."""

    def __init__(  # noqa: PLR0913 - whom it asks, and what it has to look at before
        self,
        settings: EngineSettings,
        rails: Mapping[str, SendRail],
        screening: Screening,
        *,
        lease: EngineLease,
        meter: Meter,
        gate: Gate,
        integrity: Integrity,
        dispatcher: Dispatcher,
        possible_rails: Callable[[Settlement], tuple[str, ...]],
    ) -> None:
        self._settings = settings
        self._rails = rails
        self._screening = screening
        self._lease = lease
        self._meter = meter
        self._gate = gate
        self._integrity = integrity
        self._dispatcher, self._free = dispatcher, dispatcher.free
        self._possible_rails = possible_rails
        self._at_gate: dict[tuple[str, ...], int] = {}
        self._hear: Hear = _nobody
        self._hear_recall: Hear = _nobody
        self._carried: Carried = _knows_none
        self.keep_message: Callable[[Answer], None] = _ignore
        """Keeps the message of an answer that comes too late, or twice."""

    def attach(self, hear: Hear, carried: Carried) -> None:
        """Set the function that receives the answers, and the one that knows the settlements in memory."""
        self._hear, self._hear_recall, self._carried = hear, hear, carried
        self._dispatcher.attach(EngineHooks(hear=hear, carried=carried, put=self._put))

    def divert(self, asked: Carried, take: Callable[[Iterable[Answer]], Iterable[Answer]]) -> None:
        """Set who recalls settlements that are not in memory, because they have ended.

        ``asked`` knows those that are asked about; ``take`` gets the responses to recalls, and what was not put,
        and returns those of others.
        """
        hear, carried = self._hear, self._carried
        self._hear_recall = lambda answers: hear(take(answers))
        hooks = EngineHooks(
            hear=self._hear_recall,
            carried=lambda settlement_id: asked(settlement_id) or carried(settlement_id),
            put=self._put,
        )
        self._dispatcher.attach(hooks)

    def ask(self, settlements: Sequence[Settlement]) -> None:
        """Ask the open question of each settlement; returns at once."""
        groups: dict[tuple[Ask, str], list[Settlement]] = {}
        for settlement in settlements:
            question = QUESTION[settlement.state]
            rail = "" if question is Ask.SCREEN else _rail_of(settlement)
            groups.setdefault((question, rail), []).append(settlement)
        for (question, rail), group in groups.items():
            if question is Ask.SCREEN:
                self._ask_screening(group)
            elif rail not in self._rails:
                self._lease.spawn(self._miss(question, rail, group))
            elif question not in self._rails[rail].capabilities.asks:
                self._lease.spawn(self._answer_untaken(question, rail, group))
            elif self._free.may_leave(rail):
                for start in range(0, len(group), QUESTIONS_BATCH_MAX):
                    batch = group[start : start + QUESTIONS_BATCH_MAX]
                    self._lease.spawn(self._put_freely(question, self._rails[rail], batch))
            else:
                self._dispatcher.offer(question, rail, group)

    def _ask_screening(self, settlements: list[Settlement]) -> None:
        """Have settlements screened, once the gate is open for every rail that each may take.

        The bank of a rail whose gate is closed may have the payment from before a restore: the payment must
        not be sent over another rail meanwhile.
        """
        groups: dict[tuple[str, ...], list[Settlement]] = {}
        if self._gate.is_open:
            groups[()] = settlements
        else:
            for settlement in settlements:
                groups.setdefault(self._possible_rails(settlement), []).append(settlement)
        for rails, group in groups.items():
            for start in range(0, len(group), QUESTIONS_BATCH_MAX):
                batch = group[start : start + QUESTIONS_BATCH_MAX]
                self._lease.spawn(self._screen(batch, self._gate.turn, rails))

    async def _miss(self, question: Ask, rail: str, batch: list[Settlement]) -> None:
        """Answer NO_ANSWER for a rail that this engine does not have: it may have the payment.

        The rail's name may have been altered in the database: that is reported as well.
        """
        self._meter.invariant_warning("rail_missing", len(batch))
        log.error("rail_missing", rail=rail, count=len(batch))
        for settlement in batch:
            self._integrity.of_question(settlement, question)
        answers = [
            Answer(settlement_id=each.id, event=Event.NO_ANSWER, attempt=each.attempt.number)
            for each in batch
            if each.attempt is not None
        ]
        self._hear(answers)

    async def _answer_untaken(self, question: Ask, rail: str, batch: list[Settlement]) -> None:
        """Answer a question that the rail does not support: NO_ANSWER, or a refused recall."""
        text = f"the rail {rail} takes no {question.value} questions"
        self._hear(
            Answer(
                settlement_id=each.id,
                event=when_not_taken(question),
                attempt=each.attempt.number,
                text=text,
            )
            for each in batch
            if each.attempt is not None
        )

    async def _screen(self, batch: list[Settlement], turn: int, rails: tuple[str, ...]) -> None:
        if not await self._waits_at_gate(batch, turn, rails):
            return
        await self._listen_for(
            "screening",
            Ask.SCREEN,
            {settlement.id: 0 for settlement in batch},
            self._settings.screening_timeout_seconds,
            lambda report: self._screening.screen(batch, report),
            FailedSends(),
        )

    async def _waits_at_gate(
        self, batch: list[Settlement], turn: int, rails: tuple[str, ...]
    ) -> bool:
        """Wait for the gate; False when the wait was discarded, or too many wait and it is parked."""
        if self._gate.is_open or self._gate.is_open_for_all(rails):
            return turn == self._gate.turn
        waiting = self._at_gate.get(rails, 0)
        if waiting >= self._settings.gate_waiting_max:
            self._hear(Answer(settlement_id=each.id, event=Event.NO_ANSWER) for each in batch)
            return False
        self._at_gate[rails] = waiting + len(batch)
        try:
            return await self._gate.passes(turn, rails)
        finally:
            self._at_gate[rails] -= len(batch)

    def _altered(
        self, question: Ask, settlements: Sequence[Settlement]
    ) -> tuple[list[Settlement], list[Settlement]]:
        """Find altered settlements that must not be asked about, and those that are enquired about instead.

        Instead of a recall that is not allowed, an enquiry is sent: the bank may have settled the payment.
        """
        for settlement in settlements:
            if settlement.recorded is not None or settlement.is_frozen:
                break
        else:
            return [], []  # the usual case: this process wrote all of them
        altered, asked_about = [], []
        for settlement in settlements:
            found = self._integrity.of_question(settlement, question)
            if may_be_put(question, settlement, found):
                continue
            if question is Ask.RECALL and may_be_put(Ask.ENQUIRE, settlement, found):
                asked_about.append(settlement)
            else:
                altered.append(settlement)
        return altered, asked_about

    def _answer_altered(
        self, rail: str, altered: list[Settlement], asked_about: list[Settlement]
    ) -> None:
        """Answer NO_ANSWER for altered settlements, and enquire about the others."""
        if asked_about:
            self._dispatcher.offer(Ask.ENQUIRE, rail, asked_about)
        if altered:
            self._hear(silence(each) for each in altered)

    async def _put(self, call: LaneCall) -> None:
        """Carry out a call that has left its lanes: the time-out of its answers begins now."""
        altered, asked_about = self._altered(call.question, call.settlements)
        if altered or asked_about:
            call.leave_out([*altered, *asked_about])
            self._answer_altered(call.rail.name, altered, asked_about)
        if call.settlements:
            await self._ask_rail(call.rail, call.question, call.settlements, call)

    async def _put_freely(self, question: Ask, rail: SendRail, batch: list[Settlement]) -> None:
        """Carry out a call that needs no lane; the lanes count what was not answered."""
        altered, asked_about = self._altered(question, batch)
        left = batch
        if altered or asked_about:
            out = {each.id for each in (*altered, *asked_about)}
            left = [each for each in batch if each.id not in out]
            self._answer_altered(rail.name, altered, asked_about)
        self._free.begin(rail.name, left)
        failed = FailedSends()
        asked: Sequence[
            Settlement
        ] = ()  # a call that we ended ourselves says nothing about the bank
        try:
            if left:
                await self._ask_rail(rail, question, left, failed)
            asked = left
        finally:
            if self._free.end(question, rail.name, left, asked=asked, failed=failed):
                self._dispatcher.wake()

    async def _ask_rail(
        self,
        rail: SendRail,
        question: Ask,
        settlements: Sequence[Settlement],
        notes: LaneCall | FailedSends,
    ) -> None:
        now = self._lease.now()
        questions = [question_of(settlement, question, now) for settlement in settlements]
        for settlement in settlements:
            settlement.cover_due = ""  # it may be sent by this question only
        way = _way(rail, question)
        await self._listen_for(
            rail.name,
            question,
            {each.settlement_id: each.attempt for each in questions},
            rail.capabilities.answer_timeout_seconds,
            lambda report: way(questions, report),
            notes,
        )

    async def _listen_for(
        self,
        name: str,
        question: Ask,
        open_questions: dict[UUID, int],
        timeout_seconds: float,
        put: Callable[[Report], Awaitable[None]],
        notes: LaneCall | FailedSends,
    ) -> None:
        """Ask a batch and pass on its answers as they arrive; questions still open at the end have none."""
        hear = self._hear_recall if question is Ask.RECALL else self._hear
        started_at = self._lease.monotonic()
        asked = len(open_questions)
        try:
            async with asyncio.timeout(timeout_seconds):
                await put(self._reporter(open_questions, notes, hear))
        except TimeoutError:
            pass
        except asyncio.CancelledError:
            if is_cancelled():
                raise
            # Whoever was asked has cancelled the answer on its own side: that is silence.
        except Exception as error:  # noqa: BLE001 - whatever goes wrong out there is silence
            log.warning("question_failed", rail=name, ask=question.value, error=repr(error))
        unanswered = dict(open_questions)
        open_questions.clear()  # later answers no longer belong to these questions
        if unanswered and question is Ask.SEND:
            hear(await never_left(self._rails.get(name), self._lease, unanswered))
        silent = len(unanswered)
        seconds = self._lease.monotonic() - started_at
        self._meter.rail_answered(name, question.value, seconds, asked - silent, silent)
        if silent:
            notes.silent(unanswered)
            hear(
                Answer(settlement_id=settlement_id, event=Event.NO_ANSWER, attempt=attempt)
                for settlement_id, attempt in unanswered.items()
            )

    def _reporter(
        self, open_questions: dict[UUID, int], notes: LaneCall | FailedSends, hear: Hear
    ) -> Report:
        """Return the function that receives the answers of one call."""

        def report(answers: Sequence[Answer]) -> None:
            asked_for = [
                answer
                for answer in answers
                if open_questions.pop(answer.settlement_id, None) is not None
                or answer.event not in ONLY_TO_A_QUESTION
            ]
            notes.heard(asked_for)
            hear(asked_for)
            if len(asked_for) < len(answers):
                heard = set(map(id, asked_for))
                for dropped in (each for each in answers if id(each) not in heard):
                    self.keep_message(dropped)

        return report


def _ignore(_answer: Answer) -> None:
    """Keep nothing: there is no journal."""


def _knows_none(_settlement_id: UUID) -> None:
    """Know no settlement: there is no mailbox yet."""


def _nobody(_answers: Iterable[Answer]) -> None:
    message = "the asker was not attached to a mailbox"
    raise AssertionError(message)


def _way(rail: SendRail, question: Ask) -> Callable[[Sequence[Question], Report], Awaitable[None]]:
    """Return the part of a rail that takes a question; the rail must have it."""
    if question is Ask.ENQUIRE:
        assert isinstance(rail, EnquiryRail), "a rail that takes enquiries can be asked"
        return rail.enquire
    if question is Ask.RECALL:
        assert isinstance(rail, RecallRail), "a rail that takes recalls has a way for them"
        return rail.recall
    return rail.send


def _rail_of(settlement: Settlement) -> str:
    assert settlement.attempt is not None, "after the send intent there is an attempt"
    return settlement.attempt.route.rail


def question_of(
    settlement: Settlement, question: Ask, asked_at: datetime | None = None
) -> Question:
    """Make the question about a settlement's current attempt."""
    attempt = settlement.attempt
    assert attempt is not None, "after the send intent there is an attempt"
    return Question(
        settlement_id=settlement.id,
        attempt=attempt.number,
        references=attempt.references,
        payload=attempt.payload,
        valid_until=attempt.valid_until,
        is_possible_duplicate=question is Ask.SEND and attempt.sends > 1,
        trace=attempt.trace,
        fencing_token=settlement.fencing_token,
        recorded_at=attempt.recorded_at,
        seq=settlement.seq,
        cover_due=settlement.cover_due,
        has_ended=settlement.is_ended,
        asked_at=asked_at,
        sends=attempt.sends,
    )
