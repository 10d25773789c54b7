"""What reports ask of the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from datetime import datetime

    from settlement_engine.domain.settlement_report import (
        ReportPage,
        ReportPlace,
        ReportSpan,
        SettlementReportFilter,
    )


class ReportStore(Protocol):
    """Reads what happened to settlements in a time. Raises Unavailable, Contention."""

    async def complete_until(self) -> datetime:
        """Return the instant before which every booking is visible: a report is as of no later one."""
        ...

    async def report_place(self, span: ReportSpan) -> ReportPlace:
        """Return where the moves of a time are in the stream."""
        ...

    async def reported(
        self, span: ReportSpan, wanted: SettlementReportFilter, place: ReportPlace
    ) -> ReportPage:
        """Return a part of a report, in the order in which something first happened to the settlements on the date.

        The cost of a part is bounded, and the parts of a report do not read anything twice.
        """
        ...
