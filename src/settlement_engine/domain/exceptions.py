"""What a person has to look at: exceptions, how soon, what is shown with them, and who may close them.

An exception is something that the engine cannot, or must not, decide by itself. The checks of who may close what
are here, so that every store refuses alike. Nothing here moves money, asks or writes.
"""

from __future__ import annotations

from enum import StrEnum, auto
from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.domain.identity import is_same_person
from settlement_engine.domain.lifecycle import QUESTION, Event, State
from settlement_engine.errors import NotFound, NotPermitted, WrongState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from settlement_engine.domain.proposals import Proposal
    from settlement_engine.domain.settlement import Moved, Settlement

WHY_MAX: Final = 1_000
"""At most so many characters of the database's error are kept when it refuses a step."""

ENGINE: Final = "engine"
"""The name under which the engine closes cases by itself. No person may have this name."""


class CaseKind(StrEnum):
    """What an exception is about."""

    IN_DOUBT = auto()  # the outcome has been unknown for too long
    OVERDUE = auto()  # the rail has the payment, or is asked for it back, for too long
    CONTRADICTION = auto()  # a later status says that the money did not move
    LATE_DEBIT = auto()  # a later status says that it moved, although released or never held
    SECOND_DEBIT = auto()  # the bank confirms a second payment beside the one that completed it
    DISPROVED = auto()  # a final status contradicts what two people attested; cash in suspense
    UNCOVERED_RETURN = (
        auto()
    )  # it came back, and TO's account no longer covers it; TO's debt is in suspense
    UNKNOWN_PAYMENT = auto()  # the bank has a payment that we do not know
    CANNOT_BE_BOOKED = auto()  # the database keeps refusing the step that an answer requires
    ALTERED_PAYMENT = auto()  # what was recorded of it was altered behind the engine
    HELD = auto()  # screening has parked it, and two people have to decide
    AMOUNT_DIFFERS = auto()  # the bank reports another amount than was sent, or than is left
    DEBITED_TWICE = auto()  # the bank's statement has a second debit; it is in suspense
    STATEMENT_DIFFERS = auto()  # the bank's statement lacks what completed it, or reverses it
    RECALL_OVERDUE = auto()  # the bank has not answered a recall after completion in time
    COVER_FAILED = auto()  # one message of a cover payment failed, and the other one did not


class Severity(StrEnum):
    """How soon a person has to act."""

    CRITICAL = auto()  # now: money may be in the wrong place
    HIGH = auto()  # today: two bank statuses conflict
    NORMAL = auto()  # in working hours: the funds are held, and the engine keeps asking


SEVERITY: Final[Mapping[CaseKind, Severity]] = {
    CaseKind.IN_DOUBT: Severity.NORMAL,
    CaseKind.OVERDUE: Severity.NORMAL,
    CaseKind.CONTRADICTION: Severity.HIGH,
    CaseKind.LATE_DEBIT: Severity.CRITICAL,
    CaseKind.SECOND_DEBIT: Severity.CRITICAL,
    CaseKind.DISPROVED: Severity.CRITICAL,
    CaseKind.UNCOVERED_RETURN: Severity.CRITICAL,
    CaseKind.HELD: Severity.NORMAL,
    CaseKind.AMOUNT_DIFFERS: Severity.CRITICAL,
    CaseKind.RECALL_OVERDUE: Severity.NORMAL,
    CaseKind.COVER_FAILED: Severity.HIGH,
    CaseKind.DEBITED_TWICE: Severity.CRITICAL,
    CaseKind.STATEMENT_DIFFERS: Severity.CRITICAL,
    CaseKind.UNKNOWN_PAYMENT: Severity.CRITICAL,
    CaseKind.ALTERED_PAYMENT: Severity.CRITICAL,
    CaseKind.CANNOT_BE_BOOKED: Severity.CRITICAL,
}

DOUBTS: Final = frozenset({CaseKind.IN_DOUBT, CaseKind.OVERDUE, CaseKind.COVER_FAILED})
"""Exceptions that are closed when the settlement reaches a final state; people close the others.
CANNOT_BE_BOOKED is closed by a person, or by a final state that is reached after it was opened, and RECALL_OVERDUE
by a person, or by the bank's answer."""

SUSPENDED: Final = frozenset(
    {CaseKind.DISPROVED, CaseKind.UNCOVERED_RETURN, CaseKind.DEBITED_TWICE}
)
"""Exceptions with money in suspense: one person acknowledges them, and another person closes them."""

LATE: Final = frozenset(
    {Event.CONTRADICTED, Event.DISPROVED, Event.AMOUNT_DIFFERED, Event.DEBITED_TWICE}
)
"""Moves that record a conflicting status without booking it for a customer: the move before still applies."""

UNASKED: Final = frozenset(
    {Event.CANCELLED, Event.OVERDUE, Event.ATTESTED_SETTLED, Event.ATTESTED_NOT_SETTLED}
)
"""Events that do not answer the state's question: requests of the caller, time limits, attestations."""


class ExceptionCase(msgspec.Struct, frozen=True, kw_only=True):
    """An exception as it was read. ``seen_at`` is the database's time of the reading.

    ``settlement`` is the settlement as it is now; a payment that we do not know has none.
    """

    id: int
    kind: CaseKind
    settlement_id: UUID | None
    detail: Mapping[str, str]
    opened_at: datetime
    seen_at: datetime
    acknowledged_at: datetime | None = None
    acknowledged_by: str = ""
    closed_at: datetime | None = None
    closed_by: str = ""
    close_reason: str = ""
    settlement: Settlement | None = None

    @property
    def severity(self) -> Severity:
        """How soon a person has to look."""
        return SEVERITY[self.kind]

    @property
    def age_seconds(self) -> float:
        """For how long it has been, or was, open."""
        return ((self.closed_at or self.seen_at) - self.opened_at).total_seconds()


class LastAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The last question about a settlement that has ended, with an answer or with a time-out."""

    state: State
    event: Event
    at: datetime


class CaseFile(msgspec.Struct, frozen=True, kw_only=True):
    """An exception with everything that a person needs to decide it.

    ``believed`` is the move that the books are based on.
    """

    case: ExceptionCase
    believed: Moved | None
    last_answer: LastAnswer | None
    is_asked_now: bool
    proposals: tuple[Proposal, ...]


def unreadable_detail(why: str) -> dict[str, str]:
    """Say why a record cannot be read; nobody knows its state then."""
    told = "".join(letter if letter.isprintable() else " " for letter in why[:WHY_MAX])
    return {"why": f"the record cannot be read: {told}"}


def unbookable_detail(state: State, event: Event, why: str) -> dict[str, str]:
    """Describe the step that the database refused, with the database's error message for people to read."""
    told = "".join(letter if letter.isprintable() else " " for letter in why[:WHY_MAX])
    return {"state": state.value, "happened": event.value, "why": told}


def check_closing(case: ExceptionCase, who: str) -> None:
    """Refuse to close what must stay open. Raises NotPermitted, WrongState."""
    if case.closed_at is not None:
        what = f"the exception was closed by {case.closed_by}"
        raise WrongState(what, why="it is already closed")
    if case.kind is CaseKind.HELD:
        what = "the exception of a parked settlement is closed by the decision on the settlement"
        todo = "Decide: `settlement-engine resolve ID --release` or `--decline`, or cancel it."
        raise WrongState(what, why="the settlement is still parked", todo=todo)
    if case.kind in DOUBTS:
        what = "the exception closes when the settlement ends, and not by a person"
        todo = "Resolve the settlement: `settlement-engine resolve ID`."
        raise WrongState(what, why="the funds are still held", todo=todo)
    if case.kind not in SUSPENDED:
        return
    if not case.acknowledged_by:
        what = "an exception with money in suspense must be acknowledged before it is closed"
        todo = "Acknowledge it, and let another person close it."
        raise WrongState(what, why="two different people are required", todo=todo)
    if is_same_person(case.acknowledged_by, who):
        what = f"{who} acknowledged this and cannot close it"
        raise NotPermitted(
            what, why="two different people are required", todo="Ask another person to close it."
        )


# --- what an exception shows ------------------------------------------------------------------------


def believed(moves: Sequence[Moved]) -> Moved | None:
    """Choose the move that the books are based on: the last one that is not a conflicting late status."""
    told = [moved for moved in moves if moved.event not in LATE]
    return told[-1] if told else None


def latest_answer(moves: Sequence[Moved], quiet: LastAnswer | None) -> LastAnswer | None:
    """Choose the last answer: ``quiet`` is the last one that did not move the settlement."""
    for moved in reversed(moves):
        if moved.from_state in QUESTION and moved.event not in UNASKED:
            told = LastAnswer(state=moved.from_state, event=moved.event, at=moved.at)
            return told if quiet is None or quiet.at <= told.at else quiet
    return quiet


def unknown(case_id: int) -> NotFound:
    """Return the error for an id that no exception has."""
    return NotFound(f"there is no exception {case_id}", listed_by="exceptions list")
