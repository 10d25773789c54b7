"""The watch over what is stuck: a metric, a line in the log with ids, and a detail of the health page.

Promises: it asks the store now and then and remembers the answer; a line is logged when what is stuck
changes, and not each time that it is seen. Being stuck never makes the engine unready: taking it out of
service would leave the others' money waiting as well.
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
"""So many ids are logged, and told, at most; `list --stuck` shows more."""

NOTHING: Final = "nothing is stuck"


class StuckWatch:
    """Looks for what is stuck. ``text`` is the latest finding in words."""

    def __init__(
        self,
        finder: StuckFinder,
        limits: StuckLimits,
        show: Callable[[Mapping[StuckReason, int]], None],
    ) -> None:
        self._finder = finder
        self._limits = limits
        self._show = show
        self._told: frozenset[tuple[str, str]] = frozenset()
        self.text = "not looked yet"

    async def refresh(self) -> None:
        """Look once; what the store raises is the caller's, and the latest finding stays."""
        report = await self._finder.stuck(self._limits, NAMED_MAX)
        self._show(report.counts)
        self.text = _words(report)
        found = frozenset((str(each.settlement_id), each.reason.value) for each in report.found)
        if found == self._told:
            return
        self._told = found
        if not found:
            log.info("settlements_stuck_no_more")
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


def _words(report: StuckReport) -> str:
    if not report.total:
        return NOTHING
    counts = ", ".join(f"{count} {reason.value}" for reason, count in sorted(report.counts.items()))
    ids = ", ".join(str(each.settlement_id) for each in report.found[:NAMED_MAX])
    return f"{report.total} settlements are stuck ({counts}): {ids}"
