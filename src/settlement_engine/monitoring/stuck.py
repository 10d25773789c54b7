"""The watch for stuck settlements: a metric, a log line with ids, and a detail of the health route.

Promises: it queries the store periodically and keeps the result; it logs a line when the set of stuck
settlements changes, not at every look. A stuck settlement must never make the engine unready: taking the engine
out of service would delay all other settlements as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from settlement_engine.domain.stuck import StuckLimits, StuckReason, StuckReport
    from settlement_engine.ports import StuckFinder

log: Final[structlog.typing.FilteringBoundLogger] = structlog.get_logger(__name__)

NAMED_MAX: Final = 20
"""At most so many ids are logged and shown; `list --stuck` shows more."""

NOTHING: Final = "nothing is stuck"


class StuckWatch:
    """Looks for stuck settlements. ``text`` describes the latest result."""

    def __init__(
        self,
        finder: StuckFinder,
        limits: StuckLimits,
        show: Callable[[Mapping[StuckReason, int]], None],
    ) -> None:
        self._finder = finder
        self._limits = limits
        self._show = show
        self._logged: frozenset[tuple[str, str]] = frozenset()
        self.text = "not looked yet"

    async def refresh(self) -> None:
        """Query once. Raises what the store raises; the latest result is then kept."""
        report = await self._finder.stuck(self._limits, NAMED_MAX)
        self._show(report.counts)
        self.text = _summary(report)
        found = frozenset((str(each.settlement_id), each.reason.value) for each in report.found)
        if found == self._logged:
            return
        self._logged = found
        if not found:
            log.info("settlements_no_longer_stuck")
            return
        log.error(
            "settlements_stuck",
            counts={reason.value: count for reason, count in report.counts.items()},
            settlements=[
                {
                    "id": str(each.settlement_id),
                    "state": each.state.value,
                    "reason": each.reason.value,
                    "since": each.since.isoformat(),
                }
                for each in report.found
            ],
        )


def _summary(report: StuckReport) -> str:
    if not report.total:
        return NOTHING
    counts = ", ".join(f"{count} {reason.value}" for reason, count in sorted(report.counts.items()))
    ids = ", ".join(str(each.settlement_id) for each in report.found[:NAMED_MAX])
    return f"{report.total} settlements are stuck ({counts}): {ids}"
