"""A break's history: its events, which of them each state allows, and the state that follows from them.

Promises: ``NEXT`` is the only place that says which event is allowed in which state; the same events give the same
state. A closed break can be opened again, by an item that came late or by an unmatch. Must never: change an event.
"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 -- whoever decodes an event needs the type
from enum import StrEnum, auto
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.errors import CorruptRecord, WrongState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class BreakStatus(StrEnum):
    """Where the work on a break stands."""

    OPEN = auto()
    PROPOSED = auto()  # one person has proposed how to close it; a second one decides
    CLOSED = auto()


class BreakEventKind(StrEnum):
    """What happens to a break."""

    OPENED = auto()
    ASSIGNED = auto()
    COMMENTED = auto()
    ESCALATED = auto()
    PROPOSED = auto()
    DECLINED = auto()
    APPROVED = auto()  # by a second person; it closes the break in the same commit
    MATCHED = auto()  # its items are matched exactly, by a run or by a person
    CLOSED = auto()  # a run found another difference in its place: its items are in another break
    REOPENED = auto()  # an item came late, or its match was taken back


_ALWAYS: Final = (BreakEventKind.COMMENTED,)
_WHILE_OPEN: Final = (BreakEventKind.ASSIGNED, BreakEventKind.ESCALATED)

NEXT: Final[Mapping[tuple[BreakStatus | None, BreakEventKind], BreakStatus]] = MappingProxyType(
    {
        (None, BreakEventKind.OPENED): BreakStatus.OPEN,
        **{(status, kind): status for status in BreakStatus for kind in _ALWAYS},
        **{
            (status, kind): status
            for status in (BreakStatus.OPEN, BreakStatus.PROPOSED)
            for kind in _WHILE_OPEN
        },
        (BreakStatus.OPEN, BreakEventKind.PROPOSED): BreakStatus.PROPOSED,
        # A newer proposal takes the place of one that nobody has decided.
        (BreakStatus.PROPOSED, BreakEventKind.PROPOSED): BreakStatus.PROPOSED,
        (BreakStatus.PROPOSED, BreakEventKind.DECLINED): BreakStatus.OPEN,
        (BreakStatus.PROPOSED, BreakEventKind.APPROVED): BreakStatus.CLOSED,
        (BreakStatus.OPEN, BreakEventKind.MATCHED): BreakStatus.CLOSED,
        (BreakStatus.PROPOSED, BreakEventKind.MATCHED): BreakStatus.CLOSED,
        (BreakStatus.OPEN, BreakEventKind.CLOSED): BreakStatus.CLOSED,
        (BreakStatus.PROPOSED, BreakEventKind.CLOSED): BreakStatus.CLOSED,
        (BreakStatus.CLOSED, BreakEventKind.REOPENED): BreakStatus.OPEN,
    }
)
"""The state after each event that a state allows. A pair that is not here is refused."""


class BreakEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event. ``number`` counts the events of a break from 1; ``who`` is a person, or the engine."""

    number: int
    kind: BreakEventKind
    at: datetime
    who: str
    text: str = ""
    """The comment or the reason."""
    owner: str = ""
    """Whom it was assigned or escalated to: a person, or a group."""
    level: int = 0
    """The level of an escalation."""
    due_at: datetime | None = None
    proposal_id: int | None = None
    match_id: int | None = None


class BreakWork(msgspec.Struct, frozen=True, kw_only=True):
    """The state of the work on a break, folded from its events."""

    status: BreakStatus
    opened_at: datetime
    """When it was opened for the first time."""
    version: int
    """The number of its last event."""
    owner: str = ""
    level: int = 0
    """The highest level of escalation since it was opened, or opened again."""
    due_at: datetime | None = None
    comments: int = 0
    reopened: int = 0
    proposal_id: int | None = None
    """The proposal that waits for a decision, or that has closed it."""
    match_id: int | None = None
    """The match that has closed it."""
    closed_at: datetime | None = None

    @property
    def is_closed(self) -> bool:
        """Say whether nothing is to be done any more."""
        return self.status is BreakStatus.CLOSED


def check_event(status: BreakStatus | None, kind: BreakEventKind) -> BreakStatus:
    """Return the state after an event. Raises WrongState for one that the state does not allow."""
    found = NEXT.get((status, kind))
    if found is not None:
        return found
    what = f"a break that is {status or 'not opened'} cannot be {kind}"
    if status is BreakStatus.CLOSED:
        todo = "Take its match back first, with a reason: settlement-engine breaks unmatch."
        raise WrongState(what, why="it is closed", todo=todo)
    if kind in (BreakEventKind.APPROVED, BreakEventKind.DECLINED):
        raise WrongState(what, why="no proposal waits for a decision")
    raise WrongState(what, why="it is open already")


def after(work: BreakWork | None, event: BreakEvent) -> BreakWork:
    """Return the state after one more event. Raises WrongState."""
    status = check_event(work.status if work is not None else None, event.kind)
    if work is None:
        return BreakWork(
            status=status,
            opened_at=event.at,
            version=event.number,
            owner=event.owner,
            due_at=event.due_at,
        )
    changes = _CHANGES[event.kind](work, event)
    return msgspec.structs.replace(work, status=status, version=event.number, **changes)


def fold(events: Iterable[BreakEvent]) -> BreakWork:
    """Return the state that follows from all events of a break, in their order.

    Raises CorruptRecord when they are not numbered from 1 without a gap, or when one was not allowed.
    """
    work: BreakWork | None = None
    for number, event in enumerate(events, start=1):
        if event.number != number:
            what = f"event {event.number} of a break stands where event {number} is expected"
            raise CorruptRecord(what, why="an event is missing, or was written twice")
        try:
            work = after(work, event)
        except WrongState as error:
            raise CorruptRecord(f"event {number} of a break: {error.what}") from error
    if work is None:
        what = "a break has no event"
        raise CorruptRecord(what, why="the first one opens it")
    return work


def _assigned(work: BreakWork, event: BreakEvent) -> dict[str, object]:
    return {"owner": event.owner, "due_at": event.due_at or work.due_at}


def _escalated(work: BreakWork, event: BreakEvent) -> dict[str, object]:
    return {
        "owner": event.owner or work.owner,
        "due_at": event.due_at or work.due_at,
        "level": max(work.level, event.level),
    }


def _closed(_: BreakWork, event: BreakEvent) -> dict[str, object]:
    return {
        "proposal_id": event.proposal_id,
        "match_id": event.match_id,
        "closed_at": event.at,
        "due_at": None,
    }


def _reopened(work: BreakWork, event: BreakEvent) -> dict[str, object]:
    return {
        "proposal_id": None,
        "match_id": None,
        "closed_at": None,
        "due_at": event.due_at,
        "level": 0,
        "reopened": work.reopened + 1,
    }


_CHANGES: Final = MappingProxyType(
    {
        BreakEventKind.ASSIGNED: _assigned,
        BreakEventKind.COMMENTED: lambda work, _: {"comments": work.comments + 1},
        BreakEventKind.ESCALATED: _escalated,
        BreakEventKind.PROPOSED: lambda _, event: {"proposal_id": event.proposal_id},
        BreakEventKind.DECLINED: lambda *_: {"proposal_id": None},
        BreakEventKind.APPROVED: _closed,
        BreakEventKind.MATCHED: _closed,
        BreakEventKind.CLOSED: _closed,
        BreakEventKind.REOPENED: _reopened,
    }
)
