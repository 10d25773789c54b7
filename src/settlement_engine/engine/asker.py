"""The asker: it puts questions to screening and to rails, outside any transaction.

Promises: every question that is put ends in an answer, and if none comes in time the answer is
NO_ANSWER. A slow or broken rail holds up nobody but its own questions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from settlement_engine.domain.lifecycle import QUESTION, Ask, Event
from settlement_engine.engine.integrity import may_be_put, silence
from settlement_engine.engine.patience import at_most
from settlement_engine.ports import Answer, Question

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
    from uuid import UUID

    from settlement_engine.domain.settlement import Settlement
    from settlement_engine.engine.gate import Gate
    from settlement_engine.engine.integrity import Integrity
    from settlement_engine.engine.presence import Presence
    from settlement_engine.engine.settings import EngineSettings
    from settlement_engine.ports import Meter, Rail, Screening

    Report = Callable[[Sequence[Answer]], None]
    Hear = Callable[[Iterable[Answer]], None]

QUESTIONS_BATCH_MAX: Final = 500
"""No more questions are put in one call."""

ONLY_ANSWERS: Final = frozenset({Event.UNDELIVERED, Event.NOT_FOUND})
"""Events that speak of the question just put: told twice or late, they would speak of another one."""

log = structlog.get_logger(__name__)


class Asker:
    """Groups questions by whom they are for, and makes silence an answer."""

    def __init__(  # noqa: PLR0913 - whom it asks, and what it has to look at before
        self,
        settings: EngineSettings,
        rails: Mapping[str, Rail],
        screening: Screening,
        *,
        presence: Presence,
        meter: Meter,
        gate: Gate,
        integrity: Integrity,
    ) -> None:
        self._settings = settings
        self._rails = rails
        self._screening = screening
        self._presence = presence
        self._meter = meter
        self._gate = gate
        self._integrity = integrity
        self._hear: Hear = _nobody

    def attach(self, hear: Hear) -> None:
        """Name who hears the answers."""
        self._hear = hear

    def ask(self, settlements: Sequence[Settlement]) -> None:
        """Put the open question of each settlement; returns at once."""
        groups: dict[tuple[Ask, str], list[Settlement]] = {}
        for settlement in settlements:
            question = QUESTION[settlement.state]
            rail = "" if question is Ask.SCREEN else _rail_of(settlement)
            groups.setdefault((question, rail), []).append(settlement)
        for (question, rail), group in groups.items():
            for start in range(0, len(group), QUESTIONS_BATCH_MAX):
                batch = group[start : start + QUESTIONS_BATCH_MAX]
                if question is Ask.SCREEN:
                    self._presence.spawn(self._screen(batch, self._gate.turn))
                elif rail not in self._rails:
                    self._presence.spawn(self._miss(question, rail, batch))
                elif question is Ask.ENQUIRE:
                    self._presence.spawn(self._put(question, self._rails[rail], batch))
                else:
                    turn = self._gate.turn
                    self._presence.spawn(self._put_later(question, self._rails[rail], batch, turn))

    async def _put_later(
        self, question: Ask, rail: Rail, batch: list[Settlement], turn: int
    ) -> None:
        """Put a question that can move money: not before the gate is open.

        What the bank has from time that was forgotten is not sent: it is doubted, and asked about.
        """
        if not await self._gate.passes(turn):
            return
        if question is Ask.SEND:
            self._hear(
                Answer(settlement_id=each.id, event=Event.NO_ANSWER, attempt=_number(each))
                for each in batch
                if self._gate.is_at_bank(_reference(each))
            )
            batch = [each for each in batch if not self._gate.is_at_bank(_reference(each))]
        if batch:
            await self._put(question, rail, batch)

    async def _miss(self, question: Ask, rail: str, batch: list[Settlement]) -> None:
        """Answer for a rail that this engine does not have: with silence, for it may have the payment.

        The name may have been altered: then that is told, besides.
        """
        self._meter.anomaly("rail_missing", len(batch))
        log.error("rail_missing", rail=rail, count=len(batch))
        for settlement in batch:
            self._integrity.of_question(settlement, question)
        answers = [
            Answer(settlement_id=each.id, event=Event.NO_ANSWER, attempt=each.attempt.number)
            for each in batch
            if each.attempt is not None
        ]
        self._hear(answers)

    async def _screen(self, batch: list[Settlement], turn: int) -> None:
        if not await self._gate.passes(turn):
            return
        await self._listen_for(
            "screening",
            Ask.SCREEN,
            {settlement.id: 0 for settlement in batch},
            self._settings.screening_timeout_seconds,
            lambda report: self._screening.screen(batch, report),
        )

    def _unaltered(self, question: Ask, rail: Rail, batch: list[Settlement]) -> list[Settlement]:
        """Return those about which the question may be put; it is answered with silence for the others.

        What may not be recalled is asked about instead: the bank may have settled it.
        """
        for settlement in batch:
            if settlement.recorded is not None or settlement.is_frozen:
                break
        else:
            return batch  # the usual case: this process wrote all of them
        unaltered, altered, asked_about = [], [], []
        for settlement in batch:
            found = self._integrity.of_question(settlement, question)
            if may_be_put(question, settlement, found):
                unaltered.append(settlement)
            elif question is Ask.RECALL and may_be_put(Ask.ENQUIRE, settlement, found):
                asked_about.append(settlement)
            else:
                altered.append(settlement)
        if asked_about:
            self._presence.spawn(self._put(Ask.ENQUIRE, rail, asked_about))
        if altered:
            self._hear(silence(each) for each in altered)
        return unaltered

    async def _put(self, question: Ask, rail: Rail, batch: list[Settlement]) -> None:
        batch = self._unaltered(question, rail, batch)
        if not batch:
            return
        questions = [question_of(settlement, question) for settlement in batch]
        calls = {Ask.SEND: rail.send, Ask.ENQUIRE: rail.enquire, Ask.RECALL: rail.recall}
        await self._listen_for(
            rail.name,
            question,
            {each.settlement_id: each.attempt for each in questions},
            rail.capabilities.answer_timeout_seconds,
            lambda report: calls[question](questions, report),
        )

    async def _listen_for(
        self,
        name: str,
        question: Ask,
        open_questions: dict[UUID, int],
        timeout_seconds: float,
        put: Callable[[Report], Awaitable[None]],
    ) -> None:
        """Put a batch and pass answers on as they come; what is still open at the end is silence."""
        started_at = self._presence.monotonic()
        asked = len(open_questions)

        def report(answers: Sequence[Answer]) -> None:
            asked_for = [
                answer
                for answer in answers
                if open_questions.pop(answer.settlement_id, None) is not None
                or answer.event not in ONLY_ANSWERS
            ]
            self._hear(asked_for)

        try:
            async with at_most(timeout_seconds):
                await put(report)
        except TimeoutError:
            pass
        except Exception as error:  # noqa: BLE001 - whatever goes wrong out there is silence
            log.warning("question_failed", rail=name, ask=question.value, error=repr(error))
        unanswered = dict(open_questions)
        open_questions.clear()  # what comes from now on is no answer to these any more
        silent = len(unanswered)
        seconds = self._presence.monotonic() - started_at
        self._meter.rail_answered(name, question.value, seconds, asked - silent, silent)
        if silent:
            self._hear(
                [
                    Answer(settlement_id=settlement_id, event=Event.NO_ANSWER, attempt=attempt)
                    for settlement_id, attempt in unanswered.items()
                ]
            )


def _nobody(_answers: Iterable[Answer]) -> None:
    message = "the asker was not attached to a runner"
    raise AssertionError(message)


def _reference(settlement: Settlement) -> str:
    assert settlement.attempt is not None, "beyond the line P there is an attempt"
    return settlement.attempt.references.end_to_end_id


def _number(settlement: Settlement) -> int:
    assert settlement.attempt is not None, "beyond the line P there is an attempt"
    return settlement.attempt.number


def _rail_of(settlement: Settlement) -> str:
    assert settlement.attempt is not None, "beyond the line P there is an attempt"
    return settlement.attempt.route.rail


def question_of(settlement: Settlement, question: Ask) -> Question:
    """Write a question about the payment that is under way."""
    attempt = settlement.attempt
    assert attempt is not None, "beyond the line P there is an attempt"
    return Question(
        settlement_id=settlement.id,
        attempt=attempt.number,
        references=attempt.references,
        payload=attempt.payload,
        valid_until=attempt.valid_until,
        is_possible_duplicate=question is Ask.SEND and attempt.sends > 1,
    )
