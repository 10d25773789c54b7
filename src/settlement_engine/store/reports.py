"""Reports from PostgreSQL (``ports.ReportStore``).

The moves of a date are found once, by ranges of pages, as a part of the stream; that part is then read in order, a
bounded number of moves at a time. The state of a settlement as of an instant is that of its last move before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from settlement_engine.domain.bank_codes import folded_bank
from settlement_engine.domain.lifecycle import State
from settlement_engine.domain.past_balances import BOOKING_SECONDS_MAX
from settlement_engine.domain.settlement_report import (
    MOVES_AT_ONCE,
    ReportedSettlement,
    ReportPage,
    ReportPlace,
)

if TYPE_CHECKING:
    from datetime import datetime

    import asyncpg

    from settlement_engine.domain.settlement_report import ReportSpan, SettlementReportFilter
    from settlement_engine.store.database import Readers


class PostgresReports:
    """See ``ports.ReportStore``."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    async def complete_until(self) -> datetime:
        """Return the instant before which every booking is visible."""
        row = await self._readers.fetchrow("complete_until", BOOKING_SECONDS_MAX)
        assert row is not None
        at: datetime = row["at"]
        return at

    async def report_place(self, span: ReportSpan) -> ReportPlace:
        """Return where the moves of a time are in the stream."""
        row = await self._readers.fetchrow("report_place", span.day.begins, span.until)
        assert row is not None
        return ReportPlace(after=row["after"], last=row["last"])

    async def reported(
        self, span: ReportSpan, wanted: SettlementReportFilter, place: ReportPlace
    ) -> ReportPage:
        """Return a part of a report."""
        row = await self._readers.fetchrow(
            "report_page_end", place.after, place.last, MOVES_AT_ONCE - 1
        )
        end = place.last if row is None else row["position"]
        rows = await self._readers.fetch_as_planned(
            "reported_settlements",
            place.after,
            end,
            span.day.begins,
            span.until,
            span.as_of,
            wanted.state.value if wanted.state else None,
            folded_bank(wanted.bank) or None,
            wanted.currency or None,
        )
        following = ReportPlace(after=end, last=place.last) if end < place.last else None
        return ReportPage(rows=tuple(_to_reported(each) for each in rows), following=following)


def _to_reported(row: asyncpg.Record) -> ReportedSettlement:
    return ReportedSettlement(
        id=row["id"],
        obligation_id=row["obligation_id"],
        from_bank=row["from_bank"],
        to_bank=row["to_bank"],
        currency=row["currency"],
        amount_minor=row["amount_minor"],
        state=State(row["state"]),
        value_date=row["value_date"],
        created_at=row["created_at"],
        ended_at=row["ended_at"],
        rail=row["rail"] or "",
        delivery=row["delivery"] or "",
        uetr=row["uetr"] or "",
        end_to_end_id=row["end_to_end_id"] or "",
        purpose=row["purpose"] or "",
        settled_minor=int(row["settled_minor"]),
        returned_minor=int(row["returned_minor"]),
        charges_minor=int(row["charges_minor"]),
    )
