"""Reports in memory (``ports.ReportStore``)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from settlement_engine.domain.bank_codes import folded_bank
from settlement_engine.domain.ledger import Leg
from settlement_engine.domain.lifecycle import ENDS
from settlement_engine.domain.past_balances import BOOKING_SECONDS_MAX
from settlement_engine.domain.settlement_report import (
    MOVES_AT_ONCE,
    ReportedSettlement,
    ReportPage,
    ReportPlace,
)

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from settlement_engine.domain.settlement import Moved
    from settlement_engine.domain.settlement_report import ReportSpan, SettlementReportFilter
    from settlement_lab.memory.records import Records


class MemoryReports:
    """See ``ports.ReportStore``."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def complete_until(self) -> datetime:
        """Return the instant before which every booking is visible."""
        return self._records.clock.now() - timedelta(seconds=BOOKING_SECONDS_MAX)

    async def report_place(self, span: ReportSpan) -> ReportPlace:
        """Return where the moves of a time are in the stream."""
        places = [each.position for each in self._records.moves if _is_in(each, span)]
        return ReportPlace(after=min(places, default=1) - 1, last=max(places, default=0))

    async def reported(
        self, span: ReportSpan, wanted: SettlementReportFilter, place: ReportPlace
    ) -> ReportPage:
        """Return a part of a report."""
        moves = [each for each in self._records.moves if place.after < each.position <= place.last]
        page = moves[:MOVES_AT_ONCE]
        rows = [self._row(each.settlement_id, span) for each in page if self._is_first(each, span)]
        end = page[-1].position if page else place.last
        return ReportPage(
            rows=tuple(each for each in rows if _is_wanted(each, wanted)),
            following=ReportPlace(after=end, last=place.last) if end < place.last else None,
        )

    def _is_first(self, moved: Moved, span: ReportSpan) -> bool:
        own = self._records.moves_of[moved.settlement_id]
        before = (each for each in own if each.seq < moved.seq)
        return _is_in(moved, span) and all(each.at < span.day.begins for each in before)

    def _row(self, settlement_id: UUID, span: ReportSpan) -> ReportedSettlement:
        history = self._records.histories[settlement_id]
        instruction = history.instruction
        known = [each for each in self._records.moves_of[settlement_id] if each.at < span.as_of]
        ends = [each.at for each in known if each.to_state in ENDS and each.from_state not in ENDS]
        attempts = [
            each
            for key, each in self._records.attempts
            if key == settlement_id and each.recorded_at < span.as_of
        ]
        attempt = attempts[-1] if attempts else None
        payment = instruction.payment
        own = payment.end_to_end_id if payment is not None else ""
        return ReportedSettlement(
            id=settlement_id,
            obligation_id=instruction.obligation_id,
            from_bank=instruction.from_bank,
            to_bank=instruction.to_bank,
            currency=instruction.amount.currency,
            amount_minor=instruction.amount.minor,
            state=known[-1].to_state,
            value_date=history.value_date,
            created_at=history.created_at,
            ended_at=ends[0] if ends else None,
            rail=attempt.route.rail if attempt else "",
            delivery=attempt.route.delivery.value if attempt else "",
            uetr=str(attempt.references.uetr) if attempt else "",
            end_to_end_id=own or (attempt.references.end_to_end_id if attempt else ""),
            purpose=payment.purpose if payment is not None else "",
            settled_minor=self._posted(settlement_id, Leg.CASH, span),
            returned_minor=self._posted(settlement_id, Leg.CASH_RETURNED, span),
            charges_minor=self._posted(settlement_id, Leg.RETURN_CHARGES, span),
        )

    def _posted(self, settlement_id: UUID, leg: Leg, span: ReportSpan) -> int:
        return sum(
            each.amount_minor
            for each in self._records.transfers.values()
            if (each.group_id, each.leg) == (settlement_id, leg)
            and each.at is not None
            and span.day.begins <= each.at < span.until
        )


def _is_in(moved: Moved, span: ReportSpan) -> bool:
    return span.day.begins <= moved.at < span.until


def _is_wanted(row: ReportedSettlement, wanted: SettlementReportFilter) -> bool:
    banks = {folded_bank(row.from_bank), folded_bank(row.to_bank)}
    return (
        wanted.state in (None, row.state)
        and (not wanted.bank or folded_bank(wanted.bank) in banks)
        and wanted.currency in ("", row.currency)
    )
