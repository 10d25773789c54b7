"""Late word about a settlement that has ended: a repeat, or a contradiction.

A contradiction changes no money. It opens an exception with both messages and freezes the settlement
(rails.md 4.3, rows 19, 24, 25).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from settlement_engine.domain.lifecycle import Event, State

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOVED: Final = frozenset({Event.SETTLED, Event.ATTESTED_SETTLED})
_DID_NOT_MOVE: Final = frozenset(
    {Event.REJECTED, Event.RECALLED, Event.NOT_FOUND, Event.ATTESTED_NOT_SETTLED}
)

CONTRADICTS: Final[Mapping[State, frozenset[Event]]] = {
    State.COMPLETED: _DID_NOT_MOVE,
    State.RETURNED: _DID_NOT_MOVE,
    State.FAILED: _MOVED | {Event.ACKNOWLEDGED},
    State.ROLLED_BACK: _MOVED | {Event.ACKNOWLEDGED},
}


def contradicts(state: State, event: Event) -> bool:
    """Say whether the event cannot be true if the end is."""
    return event in CONTRADICTS.get(state, frozenset())
