"""What is known of the pairs of one call, and the answers that are made of it. Pure."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.domain.covers import SAID, CoverProblem, LegSays, cover_intent
from settlement_engine.domain.decisions.pairs import recall_outcome
from settlement_engine.domain.lifecycle import Event
from settlement_engine.domain.readable import plain
from settlement_engine.domain.returns import NOT_STATED
from settlement_engine.ports import Answer, CoverResult, FailedCover

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from uuid import UUID

    from settlement_engine.domain.covers import Cover
    from settlement_engine.ports import Question

_OF_TO: Final = frozenset({Event.REJECTED, Event.RECALLED, Event.NOT_FOUND, Event.COVER_DUE})
"""Events that depend on what TO says; the others depend on FROM."""


class Pairs:
    """What is known of the pairs of one call, by settlement."""

    def __init__(
        self, questions: Sequence[Question], covers: Mapping[UUID, Cover] | None = None
    ) -> None:
        self._questions = {each.settlement_id: each for each in questions}
        self.covers: dict[UUID, Cover] = dict(covers or {})
        self.payments: dict[UUID, Answer] = {}
        self.answers_of_covers: dict[UUID, Answer] = {}
        self.covers_said: dict[UUID, LegSays] = {}

    def of(self, answer: Answer) -> Question:
        """Return the question that an answer is about."""
        return self._questions[answer.settlement_id]

    def said_of_payment(self, question: Question) -> Event | None:
        """Return what TO answered."""
        answer = self.payments.get(question.settlement_id)
        return answer.event if answer is not None else None

    def says_of_payment(self, question: Question) -> LegSays:
        """Return what is known of the payment."""
        event = self.said_of_payment(question)
        return LegSays.SILENT if event is None else SAID.get(event, LegSays.SILENT)

    def hears_of_cover(self, question: Question, answer: Answer | None) -> LegSays:
        """Keep FROM's answer about a cover, and return what it says."""
        if answer is None:
            return LegSays.SILENT
        self.answers_of_covers[question.settlement_id] = answer
        return SAID.get(answer.event, LegSays.SILENT)

    def was_found(self, question: Question) -> bool:
        """Say whether FROM has a cover that is not recorded."""
        says = self.covers_said.get(question.settlement_id, LegSays.UNSENT)
        return says is not LegSays.UNSENT

    def said_of_cover(self, question: Question) -> LegSays:
        """Return what is known of the cover, by FROM's answer now or because it has not left.

        FROM may have taken its refusal back: one that is recorded stands only while FROM says nothing else.
        """
        cover = self.covers.get(question.settlement_id)
        if cover is None or not cover.has_left:
            return LegSays.UNSENT
        answer = self.answers_of_covers.get(question.settlement_id)
        says = LegSays.SILENT if answer is None else SAID.get(answer.event, LegSays.SILENT)
        return LegSays.REFUSED if says is LegSays.UNKNOWN and cover.refusal is not None else says

    def left(self, question: Question) -> Cover | None:
        """Return the cover that may have left, whatever FROM has said of it."""
        cover = self.covers.get(question.settlement_id)
        return cover if cover is not None and cover.has_left else None

    @property
    def answers(self) -> list[Answer]:
        """All answers of both banks."""
        return [*self.payments.values(), *self.answers_of_covers.values()]

    def outcome_of_recall(self, question: Question) -> Event | None:
        """Decide what both banks have said to a recall; FROM may have a cover that is not recorded."""
        key = question.settlement_id
        if self.covers_said.get(key) is LegSays.SILENT:
            return None
        of_cover, cover = self.answers_of_covers.get(key), self.covers.get(key)
        event = of_cover.event if of_cover is not None else None
        if event is Event.NOT_FOUND and cover is not None and cover.refusal is not None:
            event = Event.REJECTED  # it does not know any more what it has refused
        return recall_outcome(
            self.said_of_payment(question),
            event,
            has_left=self.left(question) is not None,
        )

    def refusals(self, questions: Iterable[Question]) -> list[CoverResult]:
        """List FROM's refusals of covers: only after its no may people order another one."""
        found = []
        for each in questions:
            cover, answer = (
                self.covers.get(each.settlement_id),
                self.answers_of_covers.get(each.settlement_id),
            )
            says = self.covers_said.get(each.settlement_id)
            is_no = says in (LegSays.REFUSED, LegSays.GIVEN_BACK)
            if is_no and cover is not None and cover.refusal is None and answer is not None:
                found.append(_result(each, cover, code=answer.code, text=answer.text))
        return found

    def undelivered(self, questions: Iterable[Question]) -> list[CoverResult]:
        """List the transmissions of covers that are proved not to have left."""
        return [
            _result(each, cover, undelivered=cover.sends)
            for each in questions
            if self.answers_of_covers[each.settlement_id].event is Event.UNDELIVERED
            and (cover := self.covers.get(each.settlement_id)) is not None
        ]

    def answer(self, question: Question, event: Event) -> Answer:
        """Make the answer of a pair, with the words of the bank that it depends on; valid only where it was asked."""
        key = question.settlement_id
        of_payment, of_cover = self.payments.get(key), self.answers_of_covers.get(key)
        said = (of_payment or of_cover) if event in _OF_TO else (of_cover or of_payment)
        assert said is not None, "an event has an answer that it comes from"
        cover, is_due = self.covers.get(key), event is Event.COVER_DUE
        assert cover is not None or not is_due, "only a cover that is stored is due"
        return Answer(
            settlement_id=key,
            attempt=question.attempt,
            seq=question.seq,
            event=event,
            code=said.code,
            text=said.text,
            rail_reference=said.rail_reference,
            confirmation=said.confirmation if event is Event.SETTLED else "",
            stated=said.stated if event is Event.SETTLED else NOT_STATED,
            promises_return=said.promises_return,
            papers=cover_intent(cover, sha256_of(cover)) if cover and is_due else None,
        )


def key_of(question: Question) -> tuple[UUID, int]:
    """Return the attempt that a question is about."""
    return question.settlement_id, question.attempt


def sha256_of(cover: Cover) -> str:
    """Return the hash of a cover's bytes."""
    return hashlib.sha256(cover.content).hexdigest()


def at_seq(answer: Answer, question: Question) -> Answer:
    """Make an answer valid only where it was asked."""
    return msgspec.structs.replace(answer, seq=question.seq)


def _result(
    question: Question, cover: Cover, *, undelivered: int = 0, code: str = "", text: str = ""
) -> CoverResult:
    return CoverResult(
        settlement_id=question.settlement_id,
        attempt=question.attempt,
        number=cover.number,
        undelivered=undelivered,
        code=code,
        text=text,
    )


def failed(question: Question, problem: CoverProblem, pairs: Pairs) -> FailedCover:
    """Say for people which message failed, and what its bank has said."""
    cover = pairs.covers.get(question.settlement_id)
    said = {
        CoverProblem.PAYMENT_FAILED: pairs.payments.get(question.settlement_id),
        CoverProblem.COVER_FAILED: pairs.answers_of_covers.get(question.settlement_id),
    }.get(problem)
    detail = {
        "failed": problem.value,
        "payment": pairs.says_of_payment(question).value,
        "cover": pairs.covers_said[question.settlement_id].value,
        "cover_number": str(cover.number) if cover else "",
        "code": (said.code if said else "")
        or (cover.refusal.code if cover and cover.refusal else ""),
        "text": (said.text if said else "")
        or (cover.refusal.text if cover and cover.refusal else ""),
    }
    return FailedCover(
        settlement_id=question.settlement_id,
        attempt=question.attempt,
        problem=problem,
        cover=cover.number if cover else 0,
        detail={name: plain(text) for name, text in detail.items() if text},
    )


def is_due(question: Question, covers: Mapping[UUID, Cover]) -> bool:
    """Say whether the cover's send intent was just recorded, by this process and with these bytes."""
    cover = covers.get(question.settlement_id)
    if not question.cover_due or cover is None or cover.refusal is not None:
        return False
    return sha256_of(cover) == question.cover_due
