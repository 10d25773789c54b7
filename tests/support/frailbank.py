"""A bank and a screening provider that answer as a test has set, with a ledger.

Promises: the ledger is the truth. What it has settled, rejected or given back never changes. A reference
is debited once however often it arrives, and each debit, each send and its exact bytes are kept for the
checks. A cue sets the next answer about one settlement and its manner: the request or the answer can be
lost, the answer can be duplicated or late. Without a cue the bank answers truthfully and brings the
payment to its end.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict, deque
from enum import StrEnum, auto
from typing import TYPE_CHECKING, Final, NamedTuple

from settlement_engine.domain.lifecycle import Ask, Event
from settlement_engine.domain.returns import NOT_STATED, StatedAmount
from settlement_engine.ports import Answer, RailCapabilities, RailClass
from tests.support.made_covers import cover_of, intent_of
from tests.support.payments import payment_bytes, payment_terms
from tests.support.unasked import Unasked, message_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from uuid import UUID

    from settlement_engine.domain.identifiers import References
    from settlement_engine.domain.intent import PaymentTerms
    from settlement_engine.domain.settlement import Settlement
    from settlement_engine.ports import CoverStore, Question
    from tests.support.unasked import Receive

    Report = Callable[[Sequence[Answer]], None]

LATE_SECONDS: Final = 0.015
VALIDITY_SECONDS: Final = 3600.0


OTHER_AMOUNT: Final = StatedAmount(minor=1)
"""The amount that the bank reports as settled when a cue asks for a different amount."""


class Manner(StrEnum):
    """How a request is treated."""

    PLAIN = auto()
    QUESTION_LOST = auto()  # it never arrives
    ANSWER_LOST = auto()  # it is processed, and its answer is lost
    TWICE = auto()
    LATE = auto()  # after the time-out


class Cue(NamedTuple):
    """The answer to the next request of a kind. Without a kind, no request is answered until it is used."""

    ask: Ask | None
    event: Event | None
    manner: Manner = Manner.PLAIN


class Standing(StrEnum):
    """The status of a payment in the ledger."""

    UNKNOWN = auto()
    RECEIVED = auto()
    SETTLED = auto()
    REJECTED = auto()
    RECALLED = auto()


FINAL: Final = frozenset({Standing.SETTLED, Standing.REJECTED, Standing.RECALLED})
_BECOMES: Final = {
    Event.ACKNOWLEDGED: Standing.RECEIVED,
    Event.SETTLED: Standing.SETTLED,
    Event.REJECTED: Standing.REJECTED,
    Event.RECALLED: Standing.RECALLED,
    Event.AMOUNT_DIFFERED: Standing.SETTLED,
    Event.COVER_DUE: Standing.RECEIVED,
}
_SAYS: Final = {
    Standing.SETTLED: Event.SETTLED,
    Standing.REJECTED: Event.REJECTED,
    Standing.RECALLED: Event.REJECTED,
}


class FrailBank:
    """The bank and the screening provider of all engines of a test."""

    def __init__(self) -> None:
        self.cues: defaultdict[str, deque[Cue]] = defaultdict(deque)
        self.spoiled: dict[str, tuple[Ask, Manner]] = {}
        self.book: defaultdict[str, Standing] = defaultdict(lambda: Standing.UNKNOWN)
        self.debits: Counter[str] = Counter()
        self.covers: Counter[str] = Counter()
        self.sendings: defaultdict[str, list[tuple[bytes, bool]]] = defaultdict(list)
        self.hits: Counter[str] = Counter()
        self.listeners: list[tuple[Ear, Unasked]] = []
        self.names: dict[tuple[UUID, int], References] = {}

    # --- what the test says ---------------------------------------------------------------------

    def spoil_next(self, obligation: str, ask: Ask, manner: Manner) -> None:
        """Treat the next request of a kind about one obligation in another manner."""
        self.spoiled[obligation] = ask, manner

    def say(self, answer: Answer) -> None:
        """Report something without a request."""
        names = self.names.get((answer.settlement_id, answer.attempt))
        for ear, unasked in self.listeners:
            if not ear.is_deaf:
                unasked.deliver([message_of(unasked.rail, answer, names)])

    def enter(self, obligation: str, reference: str, standing: Standing) -> None:
        """Set the status of a payment in the ledger; money moves here and nowhere else."""
        if self.book[reference] not in FINAL:
            self.debits[obligation] += standing is Standing.SETTLED
            self.book[reference] = standing

    # --- what the engine asks -------------------------------------------------------------------

    def ask(self, ask: Ask, obligation: str, reference: str) -> tuple[Event | None, Manner]:
        """Process a request; the event is the answer, None is no answer."""
        cues = self.cues[obligation]
        manner = Manner.PLAIN
        if self.spoiled.get(obligation, (None,))[0] is ask:
            manner = self.spoiled.pop(obligation)[1]
            self.hits[obligation] += 1
        if cues and cues[0].ask is None:
            return None, manner
        cue = cues.popleft() if cues and cues[0].ask is ask else None
        if cue is not None and cue.manner is not Manner.PLAIN:
            manner = cue.manner
            self.hits[obligation] += 1
        if manner is Manner.QUESTION_LOST:
            return None, manner
        if ask is Ask.SCREEN:
            return (Event.CLEARED if cue is None else cue.event), manner
        if cue is None or self._is_lie(reference, cue.event):
            return self._truth(ask, obligation, reference), manner
        if cue.event in _BECOMES:
            self.enter(obligation, reference, _BECOMES[cue.event])
        return cue.event, manner

    def _is_lie(self, reference: str, event: Event | None) -> bool:
        """Return whether the ledger contradicts the cue's answer; one contradiction is allowed."""
        standing = self.book[reference]
        return standing in FINAL and event is not None and _BECOMES.get(event) is not standing

    def _truth(self, ask: Ask, obligation: str, reference: str) -> Event:
        standing = self.book[reference]
        if ask is Ask.RECALL and standing not in FINAL:
            self.enter(obligation, reference, Standing.RECALLED)
            return Event.RECALLED
        if ask is Ask.ENQUIRE and standing is Standing.UNKNOWN:
            return Event.NOT_FOUND
        self.enter(obligation, reference, Standing.SETTLED)
        return _SAYS[self.book[reference]]


class Ear:
    """Receives answers for one engine, and drops them when the engine is dead."""

    def __init__(self) -> None:
        self.is_deaf = False
        self.late_words = 0  # how many are still on their way

    def tell(self, answer: Answer, manner: Manner, report: Report) -> None:
        """Report an answer in a manner."""
        match manner:
            case Manner.PLAIN:
                self._hear(report, answer)
            case Manner.TWICE:
                self._hear(report, answer)
                self._hear(report, answer)
            case Manner.LATE:
                self.late_words += 1
                loop = asyncio.get_running_loop()
                loop.call_later(LATE_SECONDS, self._hear_late, report, answer)
            case Manner.QUESTION_LOST | Manner.ANSWER_LOST:
                pass

    def _hear_late(self, report: Report, answer: Answer) -> None:
        self.late_words -= 1
        self._hear(report, answer)

    def _hear(self, report: Report, answer: Answer) -> None:
        if not self.is_deaf:
            report([answer])


class FrailScreening:
    """Screening with the bank's cues. Without a cue it clears."""

    def __init__(self, bank: FrailBank, ear: Ear) -> None:
        self._bank = bank
        self._ear = ear

    async def screen(self, settlements: Sequence[Settlement], report: Report) -> None:
        """Answer as the test set."""
        for settlement in settlements:
            obligation = settlement.instruction.obligation_id
            event, manner = self._bank.ask(Ask.SCREEN, obligation, "")
            if event is not None:
                answer = Answer(settlement_id=settlement.id, event=event)
                self._ear.tell(answer, manner, report)


class FrailRail:
    """The rail of one engine to the bank."""

    def __init__(
        self,
        name: str,
        bank: FrailBank,
        ear: Ear,
        *,
        currencies: frozenset[str] | None = None,
        overdue_after_seconds: float | None = None,
    ) -> None:
        self.name = name
        self.bank = bank
        self._ear = ear
        self._covers: CoverStore | None = None
        self.capabilities = RailCapabilities(
            rail_class=RailClass.A,
            answer_timeout_seconds=5.0,
            is_not_found_definite=True,
            validity_seconds=VALIDITY_SECONDS,
            deduplicates_seconds=VALIDITY_SECONDS,
            overdue_after_seconds=overdue_after_seconds,
            currencies=currencies,
        )

    def keep_covers(self, covers: CoverStore) -> None:
        """Set where covers are kept."""
        self._covers = covers

    def prepare(self, settlement: Settlement, references: References) -> bytes:
        """Return bytes with obligation and payment."""
        return payment_bytes(settlement, references)

    def read(self, payload: bytes) -> PaymentTerms | None:
        """Return what the bytes request."""
        return payment_terms(payload)

    async def send(self, questions: Sequence[Question], report: Report) -> None:
        """Send the bytes."""
        for question in questions:
            obligation = _obligation(question)
            sending = question.payload, question.is_possible_duplicate
            self.bank.sendings[obligation].append(sending)
        await self._ask(Ask.SEND, questions, report)

    async def enquire(self, questions: Sequence[Question], report: Report) -> None:
        """Send the covers that are due, which is a question to the bank too; answer as the test set."""
        for question in questions:
            self.bank.covers[_obligation(question)] += bool(question.cover_due)
        await self._ask(Ask.ENQUIRE, questions, report)

    async def recall(self, questions: Sequence[Question], report: Report) -> None:
        """Answer as the test set."""
        await self._ask(Ask.RECALL, questions, report)

    async def _ask(self, ask: Ask, questions: Sequence[Question], report: Report) -> None:
        for question in questions:
            name = (question.settlement_id, question.attempt)
            self.bank.names[name] = question.references
            reference = question.references.end_to_end_id
            event, manner = self.bank.ask(ask, _obligation(question), reference)
            if event is not None:
                is_other = event is Event.AMOUNT_DIFFERED
                papers = await self._covered(question) if event is Event.COVER_DUE else None
                answer = Answer(
                    settlement_id=question.settlement_id,
                    event=Event.SETTLED if is_other else event,
                    attempt=question.attempt,
                    code="X1",
                    stated=OTHER_AMOUNT if is_other else NOT_STATED,
                    papers=papers,
                )
                self._ear.tell(answer, manner, report)

    async def _covered(self, question: Question) -> Mapping[str, str]:
        """Store the first cover of a payment, and return what its send intent names."""
        assert self._covers is not None, "a rail that answers so has a store of covers"
        new = cover_of(question.settlement_id, question.attempt, question.references)
        await self._covers.record([new])
        return intent_of(new.cover)

    def listen(self, receive: Receive) -> None:
        """Set who stores unsolicited messages."""
        unasked = Unasked(self.name)
        unasked.receive = receive
        self.bank.listeners.append((self._ear, unasked))

    async def start(self) -> None:
        """Nothing."""

    async def stop(self) -> None:
        """Nothing."""


def _obligation(question: Question) -> str:
    return question.payload.decode().split()[0]
