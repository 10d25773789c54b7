"""The result of a decision: the event that applies, and the data that the transition needs. A value only."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from settlement_engine.domain.exceptions import CaseKind
    from settlement_engine.domain.lifecycle import Event
    from settlement_engine.domain.preconditions import Refusal
    from settlement_engine.domain.returns import Return


class ChosenEvent(NamedTuple):
    """The event that applies, with the kind of the exception, the return, or the refusal that belongs to it.

    ``asks_now``: the question of the state is asked at once, and not when it is due.
    """

    event: Event
    kind: CaseKind | None = None
    back: Return | None = None
    refusal: Refusal | None = None
    asks_now: bool = False
