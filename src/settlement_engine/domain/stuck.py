"""Which open settlements are stuck: no engine will continue them, or their state lasts too long.

Being stuck is a finding for people and for alerts. It is never evidence: no money is moved, released or
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

    NO_NEXT_ACTION = auto()  # no engine owns it, no time is set, and no person has to decide
    UNATTENDED = auto()  # it is due, or its engine is gone, and no engine has claimed it
    NOT_FILED = auto()  # its rail puts payments into files, and it has come into none
    PAST_LIMIT = auto()  # it has been in its state for longer than allowed


SENTENCES: Final[Mapping[StuckReason, str]] = MappingProxyType(
    {
        StuckReason.NO_NEXT_ACTION: "it has no next action, so nothing will continue it",
        StuckReason.UNATTENDED: "it is due, and no engine has claimed it",
        StuckReason.NOT_FILED: "its rail puts payments into files, and it has come into none",
        StuckReason.PAST_LIMIT: "it has been in this state for longer than allowed",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StuckLimits:
    """How long a settlement may stay where it is before it counts as stuck.

    ``unattended_seconds`` is how long a due settlement may wait for an engine. ``by_rail`` holds the rails'
    own limits, counted from the hold; ``at_rail_seconds`` applies to rails without one. ``not_filed_seconds`` is how
    long after its send intent a payment may be in no file, where its rail puts payments into files.
    """

    unattended_seconds: float = 30.0
    screening_seconds: float = 300.0
    held_seconds: float = 86_400.0
    at_rail_seconds: float = 3_600.0
    not_filed_seconds: float = 4_500.0
    by_rail: Mapping[str, float] = field(default_factory=dict)

    @property
    def shortest_seconds(self) -> float:
        """Return the age below which no settlement with a next action can be stuck."""
        limits = (self.unattended_seconds, self.screening_seconds, self.held_seconds)
        at_rail = (self.at_rail_seconds, self.not_filed_seconds, *self.by_rail.values())
        return min(*limits, *at_rail)

    def of(self, state: State, rail: str) -> float | None:
        """Return how long a state may last; None if only the time of its next action counts."""
        if state in HOLDING:
            return self.by_rail.get(rail, self.at_rail_seconds)
        return {State.VALIDATING: self.screening_seconds, State.HELD: self.held_seconds}.get(state)


class Stuck(msgspec.Struct, frozen=True, kw_only=True):
    """A settlement that is stuck; ``since`` is when its state, or its hold, began."""

    settlement_id: UUID
    obligation_id: str
    state: State
    reason: StuckReason
    since: datetime
    rail: str = ""


class StuckReport(msgspec.Struct, frozen=True, kw_only=True):
    """The stuck settlements ``at`` one instant: the count per reason, and the oldest of them in detail."""

    at: datetime
    counts: Mapping[StuckReason, int]
    found: Sequence[Stuck]

    @property
    def total(self) -> int:
        """Count them all."""
        return sum(self.counts.values())


def oldest_first(found: Sequence[Stuck]) -> list[Stuck]:
    """Sort: what has been stuck for longest comes first."""
    return sorted(found, key=lambda each: (each.since, each.settlement_id))
