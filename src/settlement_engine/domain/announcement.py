"""Announcements: the type and the unique id under which a move is published, and stream positions.

A *system epoch* begins whenever the database may have lost committed moves, for example after a restore.
Positions of different system epochs never overlap, so the epoch of an announcement is part of its position.

Promises: the same move always has the same type and id. Must never: depend on a clock or on what was
published before.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from settlement_engine.domain.lifecycle import Event, State

if TYPE_CHECKING:
    from uuid import UUID

    from settlement_engine.domain.settlement import Moved


NAMED_BY_EVENT: Final = frozenset(
    {
        *(Event.CONTRADICTED, Event.DISPROVED, Event.AMOUNT_DIFFERED, Event.DEBITED_TWICE),
        *(Event.PARTLY_RETURNED, Event.PARTLY_UNCOVERED, Event.COVER_DUE),
    }
)
"""Events that give the announcement its type; all other moves are named after the state they lead to."""


def announcement_type(moved: Moved) -> str:
    """Return the type of an announcement, such as ``settlement.completed``.

    The first move announces that the instruction was accepted. A move that opens an exception, books a partial
    return or sends a cover is named after its event, because its state may not change.
    """
    if moved.event in NAMED_BY_EVENT:
        return f"settlement.{moved.event.value}"
    if moved.from_state is State.PENDING and moved.to_state is State.VALIDATING:
        return "settlement.accepted"
    return f"settlement.{moved.to_state.value}"


POSITIONS_PER_EPOCH: Final = 10**13
"""The number of stream positions in a system epoch: ten years at 30,000 moves a second.

The first position belongs to the marker that announces the epoch; the first move follows it.
"""


SYSTEM_EPOCH_MAX: Final = 900_000
"""The last system epoch whose positions fit in 64 bits; the database checks it too."""

POSITION_MAX: Final = (SYSTEM_EPOCH_MAX + 1) * POSITIONS_PER_EPOCH - 1

EPOCHS_AHEAD_MAX: Final = 1_000
"""The most system epochs that can lie between a backup and the last announcement: years of daily failovers.

A message with a higher epoch was not published by this system.
"""


def system_epoch_of(position: int) -> int:
    """Return the system epoch of a stream position; the first epoch is 0."""
    return position // POSITIONS_PER_EPOCH


def event_id(moved: Moved) -> str:
    """Return the unique id of an announcement: the same move always has the same id.

    After a restore, a lost move and its replacement share a sequence number. The system epoch in the id
    distinguishes them.
    """
    return event_name(moved.settlement_id, moved.seq, moved.position)


def event_name(settlement_id: UUID, seq: int, position: int) -> str:
    """Return the unique id of an announcement from the fields of its move."""
    return event_text(str(settlement_id), seq, position)


def event_text(settlement_id: str, seq: int, position: int) -> str:
    """Return the unique id of an announcement for a settlement id that is already text."""
    if position < POSITIONS_PER_EPOCH:
        return f"{settlement_id}.{seq}"
    return f"{settlement_id}.{seq}.{system_epoch_of(position)}"


REOPENED: Final = "settlement.reopened"
"""The type of the marker at the first position of a system epoch."""


def marker_id(system_epoch: int) -> str:
    """Return the unique id of the marker of a system epoch."""
    return f"reopened.{system_epoch}"


_MOVE_NAME: Final = re.compile(
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\.[1-9][0-9]{0,9}((?:\.[1-9][0-9]{0,5})?)",
    re.ASCII,
)


def is_name_at(name: str, position: int) -> bool:
    """Say whether this is a well-formed id for an announcement at this position."""
    if position < 1 or position > POSITION_MAX:
        return False
    system_epoch = system_epoch_of(position)
    if position % POSITIONS_PER_EPOCH == 0:
        return name == marker_id(system_epoch)
    found = _MOVE_NAME.fullmatch(name)
    return found is not None and found[1] == (f".{system_epoch}" if system_epoch else "")


def is_plausible_after(position: int, system_epoch: int) -> bool:
    """Say whether a database in this system epoch may have lost an announcement at this position."""
    return (
        system_epoch
        <= system_epoch_of(position)
        < min(system_epoch + EPOCHS_AHEAD_MAX + 1, SYSTEM_EPOCH_MAX)
    )


def follows(position: int, before: int) -> bool:
    """Say whether a position follows another: it is the next one, or the first of a later system epoch.

    Epochs and positions are allocated under one lock, so no move can be added to an older epoch later.
    """
    return position == before + 1 or (
        position % POSITIONS_PER_EPOCH == 1 and system_epoch_of(position) > system_epoch_of(before)
    )


def waiting(published: int, head: int) -> int:
    """Count the positions after ``published``; the unused rest of an earlier system epoch is not counted."""
    if system_epoch_of(published) == system_epoch_of(head):
        return max(0, head - published)
    return head % POSITIONS_PER_EPOCH
