"""What a move is called when it is announced, and the name of the announcement itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from settlement_engine.domain.lifecycle import Event, State

if TYPE_CHECKING:
    from settlement_engine.domain.settlement import Moved


def announcement_type(moved: Moved) -> str:
    """Name what happened, such as ``settlement.completed``.

    The first move says that the instruction was accepted; a contradiction changes no state but is
    announced as what it is.
    """
    if moved.event is Event.CONTRADICTED:
        return "settlement.contradicted"
    if moved.from_state is State.PENDING and moved.to_state is State.VALIDATING:
        return "settlement.accepted"
    return f"settlement.{moved.to_state.value}"


def event_id(moved: Moved) -> str:
    """Name the announcement: the same move has the same name for ever."""
    return f"{moved.settlement_id}.{moved.seq}"
