"""The metrics of the work on breaks: steps of people, escalations, and the open breaks by age.

Promises: labels come from fixed sets and from currencies; all series of the fixed sets exist from the start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from settlement_engine.domain.breaks.escalation import LEVEL_MAX

if TYPE_CHECKING:
    from collections.abc import Mapping

    from settlement_engine.monitoring.families import Families

STEPS: Final = (
    *("assigned", "commented", "matched", "unmatched", "proposed", "approved", "declined"),
)
"""What people do to breaks, as it is counted."""


class BreakMetrics:
    """Counts the work on breaks (``engine.breaks.BreakMeter``)."""

    def __init__(self, families: Families) -> None:
        self._steps = families.counter(
            "break_steps_total", "Steps of people in the work on breaks.", "step"
        )
        for step in STEPS:
            self._steps(step)
        self._escalations = families.counter(
            "break_escalations_total", "Breaks that were escalated, by the level reached.", "level"
        )
        for level in range(1, LEVEL_MAX + 1):
            self._escalations(str(level))
        self._open = families.table(
            "open_breaks", "Open breaks, by their age in business days.", "bucket", "currency"
        )

    def break_step(self, step: str) -> None:
        """Count one step of the work on a break."""
        self._steps(step).inc()

    def breaks_escalated(self, level: int, count: int) -> None:
        """Count breaks that were escalated to a level."""
        self._escalations(str(level)).inc(count)

    def open_breaks(self, counts: Mapping[tuple[str, str], int]) -> None:
        """Show how many breaks are open, by age bucket and currency."""
        self._open.show({labels: float(count) for labels, count in counts.items()})
