"""Where time and names come from, and who counts: what the core asks of its surroundings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from settlement_engine.ports.lanes import LaneReport
    from settlement_engine.ports.settlements import Step


class Clock(Protocol):
    """Where the time comes from. Decisions about money use the database's; this one is for the rest."""

    def now(self) -> datetime:
        """Return the present instant, aware and in UTC."""
        ...


class Ids(Protocol):
    """Where new identifiers come from."""

    def new(self) -> UUID:
        """Return an identifier that sorts by the time of its making (UUID version 7)."""
        ...


class Meter(Protocol):
    """What the engine counts in passing; cheap, and called once per batch."""

    def moved(self, steps: Sequence[Step], commit_seconds: float | None = None) -> None:
        """Count applied steps, with how long the commit took that they share."""
        ...

    def rail_answered(
        self, rail: str, ask: str, seconds: float, answered: int, silent: int
    ) -> None:
        """Note how a batch of questions went."""
        ...

    def lanes(self, reports: Mapping[str, LaneReport]) -> None:
        """Show how the lanes of each rail are, by its name; called when that has changed."""
        ...

    def batch(self, stage: str, size: int, seconds: float) -> None:
        """Note one group commit."""
        ...

    def anomaly(self, kind: str, count: int = 1) -> None:
        """Count what should not happen: illegal answers, stale writes, lost sessions."""
        ...
