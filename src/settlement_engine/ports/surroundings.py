"""Clock, identifiers and metrics: what the core needs from outside, passed in so that tests can control it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from settlement_engine.ports.lanes import LaneReport
    from settlement_engine.ports.settlements import TransitionCommand


class Clock(Protocol):
    """The source of time for everything but decisions about money, which use the database's clock."""

    def now(self) -> datetime:
        """Return the current time, aware and in UTC."""
        ...


class Ids(Protocol):
    """The source of new identifiers."""

    def new(self) -> UUID:
        """Return an identifier that sorts by its creation time (UUID version 7)."""
        ...


class Meter(Protocol):
    """The metrics that the engine counts while it works; cheap, and called once per batch."""

    def moved(
        self, steps: Sequence[TransitionCommand], commit_seconds: float | None = None
    ) -> None:
        """Count applied transitions, with the duration of their common commit in seconds."""
        ...

    def rail_answered(
        self, rail: str, ask: str, seconds: float, answered: int, silent: int
    ) -> None:
        """Record the result of a batch of questions: its duration, and how many were answered or timed out."""
        ...

    def lanes(self, reports: Mapping[str, LaneReport]) -> None:
        """Show the state of each rail's lanes, by the rail's name; called when it has changed."""
        ...

    def batch(self, stage: str, size: int, seconds: float) -> None:
        """Record one group commit."""
        ...

    def invariant_warning(self, kind: str, count: int = 1) -> None:
        """Count an invariant warning: an illegal answer, a stale write, a lost session."""
        ...
