"""What a decision is: the event that applies, and what has to be known with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from settlement_engine.domain.exceptions import MatterKind
    from settlement_engine.domain.lifecycle import Event
    from settlement_engine.domain.preconditions import Refusal
    from settlement_engine.domain.returns import Return


class ChosenEvent(NamedTuple):
    """The event that applies; what the exception for a person is about, what came back, why we refuse."""

    event: Event
    kind: MatterKind | None = None
    back: Return | None = None
    refusal: Refusal | None = None
