"""One row of the page and one fault: who brings the row about, and where exactly the fault strikes.

Promises: the way to a row is found in the page, so that a new row is tried as soon as it stands there; the
fault strikes at the very commit or question of the row, and says whether it did.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum, auto
from typing import TYPE_CHECKING, Any, Final

from settlement_engine.domain.lifecycle import LIFE, QUESTION, Event, Row, State
from settlement_engine.domain.money import Money
from settlement_engine.domain.returns import StatedAmount
from settlement_engine.ports import Result
from tests.support.faultproxy import IDLE, Lost
from tests.support.frailbank import Cue, FrailBank, Manner, Standing
from tests.support.frailengine import FrailEngine, Watch
from tests.support.lives import path_to, wish

if TYPE_CHECKING:
    from collections.abc import Sequence

    from settlement_engine.domain.settlement import Instruction
    from settlement_engine.ports import Admission, Outcome, Step

SIDES: Final = ("AAAA", "BBBB")
AMOUNT_MINOR: Final = 100
WAITING_CURRENCY: Final = "CHF"
"""Its window is shut when a trial needs that."""
OVERDUE_CURRENCY: Final = "GBP"
"""Its rail is overdue at once."""
SPENT_CURRENCY: Final = "USD"
"""What is received in it is spent before it can be returned."""


class Fault(StrEnum):
    """What goes wrong at a row."""

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
    """Who brings an event about."""

    CALLER = auto()  # by submitting
    SCREENING = auto()
    RAIL = auto()  # by answering, or by keeping silent
    UNASKED = auto()  # the rail, without having been asked
    WISH = auto()  # a person, the caller among them
    TIME = auto()


SOURCES: Final = {
    Event.ADMITTED: Source.CALLER,
    Event.CLEARED: Source.SCREENING,
    Event.POSTPONED: Source.SCREENING,  # it clears, and the window is shut
    Event.PARKED: Source.SCREENING,
    Event.REFUSED: Source.SCREENING,
    Event.CANCELLED: Source.WISH,
    Event.APPROVED: Source.WISH,
    Event.DECLINED: Source.WISH,
    Event.RELEASED: Source.TIME,
    Event.LAPSED: Source.WISH,
    Event.ACKNOWLEDGED: Source.RAIL,
    Event.SETTLED: Source.RAIL,
    Event.REJECTED: Source.RAIL,
    Event.UNDELIVERED: Source.RAIL,
    Event.ABANDONED: Source.RAIL,  # it proves each sending undelivered
    Event.NOT_FOUND: Source.RAIL,
    Event.NO_ANSWER: Source.RAIL,
    Event.ATTESTED_SETTLED: Source.WISH,
    Event.ATTESTED_NOT_SETTLED: Source.WISH,
    Event.OVERDUE: Source.RAIL,  # it says something quiet after its own limit
    Event.RECALLED: Source.RAIL,
    Event.RECALL_REFUSED: Source.RAIL,
    Event.RETURNED: Source.UNASKED,
    Event.PARTLY_RETURNED: Source.UNASKED,
    Event.UNCOVERED: Source.UNASKED,  # it returns what the receiver has spent meanwhile
    Event.PARTLY_UNCOVERED: Source.UNASKED,
    Event.AMOUNT_DIFFERED: Source.RAIL,  # it says that another amount was settled
    Event.CONTRADICTED: Source.UNASKED,
    Event.DISPROVED: Source.UNASKED,
}
SAID: Final = {
    Event.POSTPONED: Event.CLEARED,
    Event.ABANDONED: Event.UNDELIVERED,
    Event.OVERDUE: Event.ACKNOWLEDGED,
    Event.NO_ANSWER: None,
}
"""What is answered where the engine makes another event of it."""

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
}
"""What the rail says when nobody asks."""

STATED: Final = {
    event: StatedAmount(minor=AMOUNT_MINOR - 1, charges_minor=charges, reference="R-1")
    for event, charges in ((Event.PARTLY_RETURNED, 0), (Event.PARTLY_UNCOVERED, 0))
}
"""What it says of amounts; all else is of the whole."""

ATTESTED: Final = {
    State.COMPLETED: (State.IN_DOUBT, Event.ATTESTED_SETTLED),
    State.ROLLED_BACK: (State.IN_DOUBT, Event.ATTESTED_NOT_SETTLED),
}
"""Ends that only people have told of: nothing else can be disproved."""

EVIDENCE: Final = {
    Event.ATTESTED_SETTLED: Standing.SETTLED,
    Event.ATTESTED_NOT_SETTLED: Standing.RECALLED,
}
"""What the bank's book says when two people attest."""

ROWS: Final = [(state, event) for state, rows in LIFE.items() for event in rows]


def is_answered(event: Event) -> bool:
    """Say whether somebody says something that the event is made of."""
    return SOURCES[event] in (Source.SCREENING, Source.RAIL) and event is not Event.NO_ANSWER


def has_place(state: State, event: Event, fault: Fault) -> bool:
    """Say whether the fault can strike at the row: where nothing is asked no question is lost."""
    if fault not in MANNERS or LIFE[state][event].ask is not None or is_answered(event):
        return True
    return fault is Fault.ANSWER_TWICE and event is not Event.NO_ANSWER


def way_to(state: State, event: Event) -> list[tuple[State, Event]]:
    """Find the shortest way to a row in the page, and the row itself."""
    if state is State.PENDING:
        return [(state, event)]
    if event is Event.DISPROVED:
        doubt = ATTESTED[state]
        return [*path_to(doubt[0]), doubt, (state, event)]
    return [*path_to(state), (state, event)]


def cues_for(way: Sequence[tuple[State, Event]]) -> list[tuple[Cue, State, Event]]:
    """Write down what is said on the way, and where the world waits for somebody's act."""
    found = []
    for state, event in way:
        match SOURCES[event]:
            case Source.SCREENING | Source.RAIL:
                times = 3 if event is Event.ABANDONED else 1
                cue = Cue(QUESTION[state], SAID.get(event, event))
                found += [(cue, state, event)] * times
            case Source.WISH | Source.UNASKED:
                found.append((Cue(None, event), state, event))
            case Source.CALLER | Source.TIME:
                pass
    return found


@dataclass(slots=True)
class Trial(Watch):
    """A row, a fault and one settlement. It looks on at the store, and strikes."""

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
    wished_at: float = 0.0

    @property
    def row(self) -> Row:
        """The row that is tried."""
        return LIFE[self.state][self.event]

    @property
    def place(self) -> tuple[State, Event]:
        """Where the fault strikes."""
        return self.state, self.event

    def _is_ours(self, step: Step) -> bool:
        return step.settlement.instruction.obligation_id == self.instruction.obligation_id

    def before_admission(self, engine: FrailEngine, admissions: Sequence[Admission]) -> None:
        """Strike at the row of intake."""
        for admission in admissions:
            if admission.instruction is self.instruction and self.event is Event.ADMITTED:
                self._reach(engine, admission.settlement_id.hex.encode())

    def before_steps(self, engine: FrailEngine, steps: Sequence[Step]) -> None:
        """Strike when the row is about to be written."""
        for step in steps:
            if self._is_ours(step) and (step.settlement.state, step.event) == self.place:
                self._reach(engine, step.settlement.id.hex.encode())

    def after_steps(self, steps: Sequence[Step], outcomes: Sequence[Outcome]) -> None:
        """Note which rows were really written."""
        for step, outcome in zip(steps, outcomes, strict=True):
            if self._is_ours(step) and outcome.result is Result.APPLIED:
                # The settlement has not been moved yet: the runner does so after this.
                self.applied.add((step.settlement.state, step.event))

    def _reach(self, engine: FrailEngine, pattern: bytes) -> None:
        if self.is_at_row:
            return
        self.is_at_row = True
        if self.fault in LOSES:
            engine.proxy.cut(
                LOSES[self.fault], pattern, until=IDLE, on_hit=lambda: self._strike(engine)
            )
        elif self.fault in MANNERS and self.row.ask is not None:
            obligation = self.instruction.obligation_id
            self.bank.spoil_next(obligation, self.row.ask, MANNERS[self.fault])

    def _strike(self, engine: FrailEngine) -> None:
        self.is_struck = True
        if self.fault in (Fault.DIE_BEFORE_COMMIT, Fault.DIE_AFTER_COMMIT):
            engine.die()

    @property
    def has_struck(self) -> bool:
        """Say whether the fault came."""
        obligation = self.instruction.obligation_id
        return self.fault is Fault.NOTHING or self.is_struck or self.bank.hits[obligation] > 0


def prepare(bank: FrailBank, state: State, event: Event, fault: Fault) -> Trial:
    """Write down the way to the row, with the fault in its place."""
    way = way_to(state, event)
    events = {event for _, event in way}
    currency = "EUR"
    if Event.POSTPONED in events:
        currency = WAITING_CURRENCY
    if Event.OVERDUE in events:
        currency = OVERDUE_CURRENCY
    if event in (Event.UNCOVERED, Event.PARTLY_UNCOVERED):
        currency = SPENT_CURRENCY
    sides = {"from_bank": SIDES[0], "to_bank": SIDES[1]}
    instruction = wish(amount=Money(AMOUNT_MINOR, currency), **sides)
    trial = Trial(state, event, fault, instruction, bank)
    stops = cues_for(way)
    if fault in MANNERS and is_answered(event):
        spoiled = stops[-1][0]._replace(manner=MANNERS[fault]), state, event
        # The way to the row is kept: what was lost is asked again, and said then.
        stops[-1:] = [spoiled] if fault is Fault.ANSWER_TWICE else [spoiled, stops[-1]]
    trial.stops = stops
    bank.cues[instruction.obligation_id].extend(cue for cue, _, _ in stops)
    return trial
