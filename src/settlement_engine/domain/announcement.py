"""What a move is called when it is announced, and the name of the announcement itself."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from settlement_engine.domain.lifecycle import Event, State

if TYPE_CHECKING:
    from uuid import UUID

    from settlement_engine.domain.settlement import Moved


NAMED_BY_EVENT: Final = frozenset(
    {
        *(Event.CONTRADICTED, Event.DISPROVED, Event.AMOUNT_DIFFERED),
        *(Event.PARTLY_RETURNED, Event.PARTLY_UNCOVERED),
    }
)
"""Moves that are announced as what happened, not by the state that they lead to."""


def announcement_type(moved: Moved) -> str:
    """Name what happened, such as ``settlement.completed``.

    The first move says that the instruction was accepted. What opens an exception or brings a part back
    is announced as what it is: the state alone would not say so.
    """
    if moved.event in NAMED_BY_EVENT:
        return f"settlement.{moved.event.value}"
    if moved.from_state is State.PENDING and moved.to_state is State.VALIDATING:
        return "settlement.accepted"
    return f"settlement.{moved.to_state.value}"


ERA_PLACES: Final = 10**13
"""How many places of the stream an era has: ten years at 30,000 moves a second.

An era begins whenever the database may have forgotten something. Its first place is that of the marker
which says so; the first move follows it.
"""


ERA_MAX: Final = 900_000
"""The last era that a position has room for in 64 bits; the database holds eras to it."""

POSITION_MAX: Final = (ERA_MAX + 1) * ERA_PLACES - 1

ERAS_AHEAD_MAX: Final = 1_000
"""So many eras may have begun between a backup and what was announced last: years of daily failovers.

A message that says more is not one of ours, whoever published it.
"""


def era_of(position: int) -> int:
    """Say in which era a place of the stream lies; the first one is 0."""
    return position // ERA_PLACES


def event_id(moved: Moved) -> str:
    """Name the announcement: the same move has the same name for ever.

    A move that was forgotten and the one that is made in its stead have the same number in the life of
    their settlement. The era tells them apart.
    """
    return event_name(moved.settlement_id, moved.seq, moved.position)


def event_name(settlement_id: UUID, seq: int, position: int) -> str:
    """Name the announcement of a move by its facts."""
    return event_text(str(settlement_id), seq, position)


def event_text(settlement_id: str, seq: int, position: int) -> str:
    """Name the announcement of a move of a settlement whose identifier is written already."""
    if position < ERA_PLACES:
        return f"{settlement_id}.{seq}"
    return f"{settlement_id}.{seq}.{era_of(position)}"


REOPENED: Final = "settlement.reopened"
"""The type of the marker at an era's first place."""


def marker_id(era: int) -> str:
    """Name the marker of an era."""
    return f"reopened.{era}"


_MOVE_NAME: Final = re.compile(
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\.[1-9][0-9]{0,9}((?:\.[1-9][0-9]{0,5})?)",
    re.ASCII,
)


def is_name_at(name: str, position: int) -> bool:
    """Say whether an announcement of ours at this position could have this name."""
    if position < 1 or position > POSITION_MAX:
        return False
    era = era_of(position)
    if position % ERA_PLACES == 0:
        return name == marker_id(era)
    found = _MOVE_NAME.fullmatch(name)
    return found is not None and found[1] == (f".{era}" if era else "")


def is_plausible_after(position: int, era: int) -> bool:
    """Say whether a database that knows of this era may have forgotten an announcement at this position."""
    return era <= era_of(position) < min(era + ERAS_AHEAD_MAX + 1, ERA_MAX)


def follows(position: int, before: int) -> bool:
    """Say whether a place is the next one: the following, or the first of a later era.

    Eras begin under the lock that places are given under, so nothing can come in between any more.
    """
    return position == before + 1 or (
        position % ERA_PLACES == 1 and era_of(position) > era_of(before)
    )


def waiting(published: int, head: int) -> int:
    """Count the places after ``published``; of an era that is over, what was left is not counted."""
    if era_of(published) == era_of(head):
        return max(0, head - published)
    return head % ERA_PLACES
