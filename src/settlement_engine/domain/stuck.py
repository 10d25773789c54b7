"""What is stuck: an open settlement that nothing moves, or that is past what its state may last.

Being stuck is a finding for people and for alarms. It is never evidence: no money is moved, released or
refused because of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum, auto
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.domain.lifecycle import HOLDING, State

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID


class StuckReason(StrEnum):
    """Why it counts as stuck, worst first."""

    NO_NEXT_ACTION = auto()  # nobody owns it, no time is set, and no person is waited for
    UNATTENDED = auto()  # its time has come, or its engine has gone, and no engine has taken it up
    PAST_LIMIT = auto()  # its state has lasted longer than it may


SENTENCES: Final[Mapping[StuckReason, str]] = MappingProxyType(
    {
        StuckReason.NO_NEXT_ACTION: "nothing will move it by itself",
        StuckReason.UNATTENDED: "its time has come, and no engine has taken it up",
        StuckReason.PAST_LIMIT: "it has been where it is for longer than it may",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StuckLimits:
    """How long what may last.

    ``unattended_seconds`` is how late a settlement may be taken up. ``by_rail`` are the rails' own limits,
    from the lock on; ``at_rail_seconds`` is for rails that have none.
    """

    unattended_seconds: float = 30.0
    screening_seconds: float = 300.0
    held_seconds: float = 86_400.0
    at_rail_seconds: float = 3_600.0
    by_rail: Mapping[str, float] = field(default_factory=dict)

    @property
    def shortest_seconds(self) -> float:
        """Return the age below which nothing with a next action can be stuck."""
        limits = (self.unattended_seconds, self.screening_seconds, self.held_seconds)
        return min(*limits, self.at_rail_seconds, *self.by_rail.values())

    def of(self, state: State, rail: str) -> float | None:
        """Return how long a state may last; None when its own time, and no age, is what counts."""
        if state in HOLDING:
            return self.by_rail.get(rail, self.at_rail_seconds)
        return {State.VALIDATING: self.screening_seconds, State.HELD: self.held_seconds}.get(state)


class Stuck(msgspec.Struct, frozen=True, kw_only=True):
    """A settlement that is stuck; ``since`` is when its state, or what it holds, began."""

    settlement_id: UUID
    obligation_id: str
    state: State
    reason: StuckReason
    since: datetime
    rail: str = ""


class StuckReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was found ``at`` an instant: how many of each reason, and the first of them, oldest first."""

    at: datetime
    counts: Mapping[StuckReason, int]
    found: Sequence[Stuck]

    @property
    def total(self) -> int:
        """Count them all."""
        return sum(self.counts.values())


def oldest_first(found: Sequence[Stuck]) -> list[Stuck]:
    """Put what has been stuck for longest in front."""
    return sorted(found, key=lambda each: (each.since, each.settlement_id))
