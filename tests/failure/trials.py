"""One transition and one fault: who causes the transition, and where exactly the fault occurs.

Promises: the path to a transition is found in the table, so that a new one is tested as soon as it is added; the
fault occurs exactly at the transition's commit or request, and records whether it did.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum, auto
from typing import TYPE_CHECKING, Any, Final

from settlement_engine.domain.lifecycle import QUESTION, TRANSITIONS, Event, State, Transition
from settlement_engine.domain.money import Money
from settlement_engine.domain.returns import StatedAmount
from settlement_engine.domain.statement_evidence import EntryEvidence, EntrySays
from settlement_engine.ports import Result
from tests.support.faultproxy import IDLE, Lost
from tests.support.frailbank import Cue, FrailBank, Manner, Standing
from tests.support.frailengine import FrailEngine, Watch
from tests.support.histories import path_to, payment_request

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from settlement_engine.domain.settlement import Instruction
    from settlement_engine.ports import TransitionCommand, TransitionResult

SIDES: Final = ("AAAA", "BBBB")
AMOUNT_MINOR: Final = 100
WAITING_CURRENCY: Final = "CHF"
"""Its window is closed when a trial needs that."""
OVERDUE_CURRENCY: Final = "GBP"
"""Payments in it are overdue at once."""
SPENT_CURRENCY: Final = "USD"
"""What is received in it is spent before it can be returned."""


class Fault(StrEnum):
    """What goes wrong at a transition."""

    NOTHING = auto()
    DIE_BEFORE_COMMIT = auto()
    DIE_AFTER_COMMIT = auto()
    COMMIT_NOT_MADE = auto()  # the outcome is unknown: the request was lost
    COMMIT_NOT_HEARD = auto()  # the outcome is unknown: the reply was lost
    QUESTION_LOST = auto()
    ANSWER_LOST = auto()
    ANSWER_TWICE = auto()
    ANSWER_LATE = auto()


LOSES: Final = {
    Fault.DIE_BEFORE_COMMIT: Lost.REQUEST,
    Fault.DIE_AFTER_COMMIT: Lost.REPLY,
    Fault.COMMIT_NOT_MADE: Lost.REQUEST,
    Fault.COMMIT_NOT_HEARD: Lost.REPLY,
}
MANNERS: Final = {
    Fault.QUESTION_LOST: Manner.QUESTION_LOST,
    Fault.ANSWER_LOST: Manner.ANSWER_LOST,
    Fault.ANSWER_TWICE: Manner.TWICE,
    Fault.ANSWER_LATE: Manner.LATE,
}


class Source(StrEnum):
    """Who causes an event."""

    CALLER = auto()  # by submitting
    SCREENING = auto()
    RAIL = auto()  # by answering, or by a timeout
    UNASKED = auto()  # the rail, without having been asked
    REQUEST = auto()  # a person, the caller among them
    TIME = auto()


SOURCES: Final = {
    Event.ADMITTED: Source.CALLER,
    Event.CLEARED: Source.SCREENING,
    Event.POSTPONED: Source.SCREENING,  # it clears, and the window is closed
    Event.PARKED: Source.SCREENING,
    Event.REFUSED: Source.SCREENING,
    Event.CANCELLED: Source.REQUEST,
    Event.APPROVED: Source.REQUEST,
    Event.DECLINED: Source.REQUEST,
    Event.RELEASED: Source.TIME,
    Event.LAPSED: Source.REQUEST,
    Event.ACKNOWLEDGED: Source.RAIL,
    Event.SETTLED: Source.RAIL,
    Event.REJECTED: Source.RAIL,
    Event.UNDELIVERED: Source.RAIL,
    Event.ABANDONED: Source.RAIL,  # it proves each sending undelivered
    Event.NOT_FOUND: Source.RAIL,
    Event.NO_ANSWER: Source.RAIL,
    Event.ATTESTED_SETTLED: Source.REQUEST,
    Event.ATTESTED_NOT_SETTLED: Source.REQUEST,
    Event.OVERDUE: Source.RAIL,  # it gives an answer without effect after its own limit
    Event.RECALLED: Source.RAIL,
    Event.RECALL_REFUSED: Source.RAIL,
    Event.RETURNED: Source.UNASKED,
    Event.PARTLY_RETURNED: Source.UNASKED,
    Event.UNCOVERED: Source.UNASKED,  # it returns what the receiver has spent meanwhile
    Event.PARTLY_UNCOVERED: Source.UNASKED,
    Event.AMOUNT_DIFFERED: Source.RAIL,  # it says that another amount was settled
    Event.CONTRADICTED: Source.UNASKED,
    Event.DISPROVED: Source.UNASKED,
    Event.DEBITED_TWICE: Source.UNASKED,  # its statement has two debits
    Event.COVER_DUE: Source.RAIL,  # it has stored the cover
}
SAID: Final = {
    Event.POSTPONED: Event.CLEARED,
    Event.ABANDONED: Event.UNDELIVERED,
    Event.OVERDUE: Event.ACKNOWLEDGED,
    Event.NO_ANSWER: None,
}
"""The answer that is given where the engine derives another event from it."""

UNASKED: Final = {
    (State.COMPLETED, Event.RETURNED): Event.RETURNED,
    (State.COMPLETED, Event.PARTLY_RETURNED): Event.RETURNED,
    (State.COMPLETED, Event.UNCOVERED): Event.RETURNED,
    (State.COMPLETED, Event.PARTLY_UNCOVERED): Event.RETURNED,
    (State.COMPLETED, Event.CONTRADICTED): Event.REJECTED,
    (State.COMPLETED, Event.DISPROVED): Event.REJECTED,
    (State.FAILED, Event.CONTRADICTED): Event.SETTLED,
    (State.ROLLED_BACK, Event.CONTRADICTED): Event.SETTLED,
    (State.ROLLED_BACK, Event.DISPROVED): Event.SETTLED,
    (State.RETURNED, Event.CONTRADICTED): Event.REJECTED,
    (State.COMPLETED, Event.DEBITED_TWICE): Event.SETTLED,
    (State.RETURNED, Event.DEBITED_TWICE): Event.SETTLED,
}
"""What the rail reports without an enquiry."""

STATED: Final = {
    event: StatedAmount(minor=AMOUNT_MINOR - 1, charges_minor=charges, reference="R-1")
    for event, charges in ((Event.PARTLY_RETURNED, 0), (Event.PARTLY_UNCOVERED, 0))
}
"""The amounts that it reports; all other reports are of the whole amount."""

ENTRIES: Final = {
    Event.DEBITED_TWICE: EntryEvidence(says=EntrySays.SECOND_DEBIT, statement=1, entry=2, nth=2)
}
"""The entries of its statement that it reports; all other reports are messages."""

ATTESTED: Final = {
    State.COMPLETED: (State.IN_DOUBT, Event.ATTESTED_SETTLED),
    State.ROLLED_BACK: (State.IN_DOUBT, Event.ATTESTED_NOT_SETTLED),
}
"""Final states that only people have attested: nothing else can be disproved."""

EVIDENCE: Final = {
    Event.ATTESTED_SETTLED: Standing.SETTLED,
    Event.ATTESTED_NOT_SETTLED: Standing.RECALLED,
}
"""What the bank's ledger says when two people attest."""

ROWS: Final = [(state, event) for state, rows in TRANSITIONS.items() for event in rows]


def is_answered(event: Event) -> bool:
    """Return whether the event is derived from an answer."""
    return SOURCES[event] in (Source.SCREENING, Source.RAIL) and event is not Event.NO_ANSWER


def can_occur(state: State, event: Event, fault: Fault) -> bool:
    """Return whether the fault can occur at the transition: without a request none can be lost."""
    if fault not in MANNERS or TRANSITIONS[state][event].ask is not None or is_answered(event):
        return True
    return fault is Fault.ANSWER_TWICE and event is not Event.NO_ANSWER


def path_through(state: State, event: Event) -> list[tuple[State, Event]]:
    """Return the shortest path to a transition in the table, including the transition itself."""
    if state is State.PENDING:
        return [(state, event)]
    if event is Event.DISPROVED:
        doubt = ATTESTED[state]
        return [*path_to(doubt[0]), doubt, (state, event)]
    return [*path_to(state), (state, event)]


def cues_on(way: Sequence[tuple[State, Event]]) -> list[tuple[Cue, State, Event]]:
    """Return the cues on the path: what is answered, and where the trial waits for somebody to act."""
    found = []
    for state, event in way:
        match SOURCES[event]:
            case Source.SCREENING | Source.RAIL:
                times = 3 if event is Event.ABANDONED else 1
                cue = Cue(QUESTION[state], SAID.get(event, event))
                found += [(cue, state, event)] * times
            case Source.REQUEST | Source.UNASKED:
                found.append((Cue(None, event), state, event))
            case Source.CALLER | Source.TIME:
                pass
    return found


@dataclass(slots=True)
class Trial(Watch):
    """A transition, a fault and one settlement. It observes the store, and causes the fault."""

    state: State
    event: Event
    fault: Fault
    instruction: Instruction
    bank: FrailBank
    stops: list[tuple[Cue, State, Event]] = field(default_factory=list)
    settlement_id: Any = None
    is_at_row: bool = False
    is_struck: bool = False
    applied: set[tuple[State, Event]] = field(default_factory=set)
    requested_at: float = 0.0

    @property
    def transition(self) -> Transition:
        """The transition under test."""
        return TRANSITIONS[self.state][self.event]

    @property
    def place(self) -> tuple[State, Event]:
        """Where the fault occurs."""
        return self.state, self.event

    def _is_ours(self, step: TransitionCommand) -> bool:
        return step.settlement.instruction.obligation_id == self.instruction.obligation_id

    def before_admission(
        self, engine: FrailEngine, new: Sequence[tuple[UUID, Instruction]]
    ) -> None:
        """Cause the fault at the admission."""
        for settlement_id, instruction in new:
            if instruction is self.instruction and self.event is Event.ADMITTED:
                self._reach(engine, settlement_id.hex.encode())

    def before_steps(self, engine: FrailEngine, steps: Sequence[TransitionCommand]) -> None:
        """Cause the fault when the transition is about to be written."""
        for step in steps:
            if self._is_ours(step) and (step.settlement.state, step.event) == self.place:
                # What gives money back is written in a transaction of several calls.
                named = b"COMMIT" if step.gives_back else step.settlement.id.hex.encode()
                self._reach(engine, named)

    def after_steps(
        self, steps: Sequence[TransitionCommand], outcomes: Sequence[TransitionResult]
    ) -> None:
        """Record which transitions were written."""
        for step, outcome in zip(steps, outcomes, strict=True):
            if self._is_ours(step) and outcome.result is Result.APPLIED:
                # The settlement in memory still has its old state: the runner updates it after this.
                self.applied.add((step.settlement.state, step.event))

    def _reach(self, engine: FrailEngine, pattern: bytes) -> None:
        if self.is_at_row:
            return
        self.is_at_row = True
        if self.fault in LOSES:
            engine.proxy.cut(
                LOSES[self.fault], pattern, until=IDLE, on_hit=lambda: self._strike(engine)
            )
        elif self.fault in MANNERS and self.transition.ask is not None:
            obligation = self.instruction.obligation_id
            self.bank.spoil_next(obligation, self.transition.ask, MANNERS[self.fault])

    def _strike(self, engine: FrailEngine) -> None:
        self.is_struck = True
        if self.fault in (Fault.DIE_BEFORE_COMMIT, Fault.DIE_AFTER_COMMIT):
            engine.die()

    @property
    def has_struck(self) -> bool:
        """Return whether the fault occurred."""
        obligation = self.instruction.obligation_id
        return self.fault is Fault.NOTHING or self.is_struck or self.bank.hits[obligation] > 0


def prepare(bank: FrailBank, state: State, event: Event, fault: Fault) -> Trial:
    """Prepare a trial: the path to the transition, with the fault at its end."""
    way = path_through(state, event)
    events = {event for _, event in way}
    currency = "EUR"
    if Event.POSTPONED in events:
        currency = WAITING_CURRENCY
    if Event.OVERDUE in events:
        currency = OVERDUE_CURRENCY
    if event in (Event.UNCOVERED, Event.PARTLY_UNCOVERED):
        currency = SPENT_CURRENCY
    sides = {"from_bank": SIDES[0], "to_bank": SIDES[1]}
    instruction = payment_request(amount=Money(AMOUNT_MINOR, currency), **sides)
    trial = Trial(state, event, fault, instruction, bank)
    stops = cues_on(way)
    if fault in MANNERS and is_answered(event):
        spoiled = stops[-1][0]._replace(manner=MANNERS[fault]), state, event
        # The original cue is kept: after the loss the request is repeated, and answered then.
        stops[-1:] = [spoiled] if fault is Fault.ANSWER_TWICE else [spoiled, stops[-1]]
    trial.stops = stops
    bank.cues[instruction.obligation_id].extend(cue for cue, _, _ in stops)
    return trial
