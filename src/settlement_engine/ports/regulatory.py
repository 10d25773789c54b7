"""What regulatory reporting asks of the store, and what the API asks of the reporting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime

    from settlement_engine.domain.past_balances import BookingDay
    from settlement_engine.domain.regulatory_report import (
        RegulatoryOrder,
        RegulatoryReport,
        ReportBuilder,
        ReportingInstitution,
        ReportTemplate,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RegulatoryFilter:
    """Which regulatory reports to list, the latest first. ``before_id`` continues a list."""

    limit: int
    template: str = ""
    booking_date: date | None = None
    before_id: int | None = None
    report_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportPart:
    """A part of a report's bytes, and the length and the hash of the whole."""

    sha256: bytes
    file_bytes: int
    content: bytes


class RegulatoryStore(Protocol):
    """Keeps regulatory reports: append-only. Raises Unavailable, Contention."""

    async def make_report(
        self, order: RegulatoryOrder, institution: ReportingInstitution, build: ReportBuilder
    ) -> RegulatoryReport:
        """Make a report and store it as the next version of its template and date, in one transaction.

        A report as of the same instant is made again with its own template, compared with the stored one, and
        returned. Makers of one template and date wait for each other, across engines. Raises WrongState,
        CorruptRecord, and what ``build`` raises; then nothing is stored.
        """
        ...

    async def regulatory_reports(self, wanted: RegulatoryFilter) -> list[RegulatoryReport]:
        """Return reports, the latest first."""
        ...

    async def report_part(self, report_id: int, offset: int, bytes_max: int) -> ReportPart | None:
        """Return a part of a report's bytes."""
        ...


class RegulatoryReporter(Protocol):
    """Makes regulatory reports by templates."""

    @property
    def templates(self) -> Sequence[ReportTemplate]:
        """The templates that can be used, by name."""
        ...

    async def report(
        self,
        template: str,
        booking_date: date,
        day: BookingDay,
        *,
        as_of: datetime | None,
        reason: str,
        who: str,
    ) -> RegulatoryReport:
        """Make the report of a booking date, a correction of it, or a stored one again.

        Raises NotFound for an unknown template, WrongState, CorruptRecord, Unavailable, Contention.
        """
        ...
