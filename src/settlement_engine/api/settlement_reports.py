"""The call of ReportService that reports settlements, independent of the protocol that carries it.

Promises: a report is as of an instant before which nothing can be booked any more, so that the same call gives the same
bytes; each page is bounded, and a report of any length needs the memory of one page. It must never add amounts of two
currencies.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from settlement_engine.api import grammar
from settlement_engine.api.call import CallLimit, Service, Unary
from settlement_engine.api.pages import make_token, read_token
from settlement_engine.api.render import timestamp
from settlement_engine.domain.lifecycle import State
from settlement_engine.domain.money import format_amount
from settlement_engine.domain.past_balances import booking_day
from settlement_engine.domain.settlement_report import (
    ReportPlace,
    ReportSpan,
    ReportTotal,
    SettlementReportFilter,
    report_totals,
)
from settlement_engine.errors import InvalidInstruction, WrongState
from settlement_engine.messages.report_files import ReportFormat, settlement_rows
from settlement_engine.proto import settlement_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from settlement_engine.api.call import Call
    from settlement_engine.domain.settlement_report import ReportPage
    from settlement_engine.ports import ReportStore

PAGES_MAX: Final = 8
"""The most pages that are read at once."""

FORMATS: Final[Mapping[int, ReportFormat]] = MappingProxyType(
    {
        pb.REPORT_FORMAT_UNSPECIFIED: ReportFormat.CSV,
        pb.REPORT_FORMAT_CSV: ReportFormat.CSV,
        pb.REPORT_FORMAT_JSON_LINES: ReportFormat.JSON_LINES,
    }
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_STATES: Final = {state.value: state for state in State}


class SettlementReportCalls:
    """Serves the call."""

    def __init__(self, store: ReportStore, zone: str) -> None:
        self._store = store
        self._zone = ZoneInfo(zone)
        self._pages = CallLimit("pages of reports", PAGES_MAX)

    def unary(self) -> Service:
        """Map the name of the call, as in the proto, to its handler."""
        return {"ReportSettlements": Unary(pb.ReportSettlementsRequest, self.report)}

    async def report(
        self, request: pb.ReportSettlementsRequest, call: Call
    ) -> pb.ReportSettlementsResponse:
        """Return a page of the report on the settlements of a booking date."""
        del call
        found: grammar.Found = []
        day = grammar.check_date("date", request.date, found)
        named = grammar.check_timestamp("as_of", request.as_of, found)
        wanted = _read_filter(request, found)
        form = FORMATS.get(request.format)
        if form is None:
            found.append(("format", "is a number that is no format"))
        filters = (
            request.date,
            named,
            request.state,
            request.bank,
            request.currency,
            request.format,
        )
        position = read_token(request.page_token, filters, found)
        if found or day is None or form is None:
            raise InvalidInstruction(found)
        with self._pages:
            page, as_of = await self._read(day, named, wanted, position)
        return pb.ReportSettlementsResponse(
            content=settlement_rows(page.rows, form, with_header=not position),
            rows=len(page.rows),
            totals=[to_total(each) for each in report_totals(page.rows)],
            as_of=timestamp(as_of),
            next_page_token=_token(filters, page.following, as_of),
        )

    async def _read(
        self, day: date, named: datetime | None, wanted: SettlementReportFilter, position: str
    ) -> tuple[ReportPage, datetime]:
        """Read a page, and say as of when it is."""
        complete = await self._store.complete_until()
        place, continued = _read_position(position)
        as_of = continued or named or complete
        require_complete(as_of, complete)
        span = ReportSpan(day=booking_day(day, self._zone), as_of=as_of)
        begun = place or await self._store.report_place(span)
        return await self._store.reported(span, wanted, begun), as_of


def _token(filters: tuple[object, ...], place: ReportPlace | None, as_of: datetime) -> str:
    if place is None:
        return ""
    micros = (as_of - _EPOCH) // _MICROSECOND
    return make_token(filters, f"{place.after}/{place.last}/{micros}")


def require_complete(as_of: datetime, complete: datetime) -> None:
    """Refuse an instant before which something may still be booked. Raises WrongState."""
    if as_of > complete:
        what = "the report would be as of an instant before which something may still be booked"
        why = f"bookings are complete until {complete.isoformat()}"
        raise WrongState(what, why=why, todo="Ask for an earlier instant, or again in a while.")


def to_total(total: ReportTotal) -> pb.ReportTotal:
    """Convert the sums of a currency to their message."""
    return pb.ReportTotal(
        currency=total.currency,
        settlements=total.settlements,
        settled=format_amount(total.settled_minor, total.currency),
        returned=format_amount(total.returned_minor, total.currency),
        charges=format_amount(total.charges_minor, total.currency),
    )


def _read_filter(
    request: pb.ReportSettlementsRequest, found: grammar.Found
) -> SettlementReportFilter:
    grammar.check_filter(request.bank, request.currency, found)
    state = _STATES.get(request.state)
    if request.state and state is None:
        found.append(("state", f"must be one of {', '.join(_STATES)}"))
    return SettlementReportFilter(state=state, bank=request.bank, currency=request.currency)


def _read_position(position: str) -> tuple[ReportPlace | None, datetime | None]:
    """Return where a report goes on, and the instant with which it was begun. The token is ours."""
    if not position:
        return None, None
    after, last, micros = map(int, position.split("/"))
    return ReportPlace(after=after, last=last), _EPOCH + micros * _MICROSECOND
