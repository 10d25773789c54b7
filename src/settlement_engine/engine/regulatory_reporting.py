"""Makes regulatory reports by templates: those that come with the engine, and the institution's own.

Promises: a report is stored with its bytes and with all that it was made of, so that it can be made again. Must never:
send a report anywhere; whoever made it does that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from settlement_engine.domain.regulatory_report import RegulatoryOrder
from settlement_engine.errors import NotFound
from settlement_engine.messages.regulatory_files import build_regulatory_report

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date, datetime

    from settlement_engine.domain.past_balances import BookingDay
    from settlement_engine.domain.regulatory_report import (
        RegulatoryReport,
        ReportingInstitution,
        ReportTemplate,
    )
    from settlement_engine.ports import RegulatoryStore


class RegulatoryReporting:
    """See ``ports.RegulatoryReporter``."""

    def __init__(
        self,
        store: RegulatoryStore,
        templates: Iterable[ReportTemplate],
        institution: ReportingInstitution,
    ) -> None:
        self._store = store
        self._templates = {each.name: each for each in templates}
        self._institution = institution

    @property
    def templates(self) -> Sequence[ReportTemplate]:
        """The templates that can be used, by name."""
        return [each for _, each in sorted(self._templates.items())]

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
        """Make the report of a booking date; see the port."""
        known = self._templates.get(template)
        if known is None:
            what = f"there is no template {template}"
            raise NotFound(what, listed_by="reports regulatory templates")
        order = RegulatoryOrder(
            template=known,
            booking_date=booking_date,
            day=day,
            as_of=as_of,
            reason=reason,
            who=who,
        )
        return await self._store.make_report(order, self._institution, build_regulatory_report)
