"""The report on settlements: what happened to settlements on a booking date, as it was known at an instant.

Promises: the same date, instant and filter give the same rows, whatever happens later. Amounts are per settlement, in
its currency; sums are per currency, never across. What is settled and returned is what was posted on that date: with
the fundings it is the change of the balances. Must never: read a clock.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date, datetime
    from uuid import UUID

    from settlement_engine.domain.lifecycle import State
    from settlement_engine.domain.past_balances import BookingDay

MOVES_AT_ONCE: Final = 2_000
"""How many moves one page reads: a page has no more rows, whatever the filter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SettlementReportFilter:
    """Which settlements a report contains. Empty fields do not filter."""

    state: State | None = None
    bank: str = ""
    currency: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSpan:
    """The time that a report is about, and what it knows: what was booked before ``as_of``."""

    day: BookingDay
    as_of: datetime

    @property
    def until(self) -> datetime:
        """Return the instant before which something has to have happened to be in the report."""
        return min(self.day.ends, self.as_of)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportPlace:
    """How far a report was read: it goes on after a position in the stream, up to the last one."""

    after: int
    last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedSettlement:
    """A settlement to which something happened on the date, with its state as of the report's instant.

    ``settled_minor``, ``returned_minor`` and ``charges_minor`` were posted on the date.
    """

    id: UUID
    obligation_id: str
    from_bank: str
    to_bank: str
    currency: str
    amount_minor: int
    state: State
    value_date: date
    created_at: datetime
    ended_at: datetime | None
    rail: str
    delivery: str
    uetr: str
    end_to_end_id: str
    purpose: str
    settled_minor: int
    returned_minor: int
    charges_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportPage:
    """A part of a report, and where it goes on; None at its end."""

    rows: tuple[ReportedSettlement, ...]
    following: ReportPlace | None


@dataclass(slots=True)
class ReportTotal:
    """Sums of one currency, in minor units."""

    currency: str
    settlements: int = 0
    settled_minor: int = 0
    returned_minor: int = 0
    charges_minor: int = 0


def report_totals(rows: Iterable[ReportedSettlement]) -> list[ReportTotal]:
    """Add up rows, each currency by itself, in the order of their codes."""
    totals: defaultdict[str, list[ReportedSettlement]] = defaultdict(list)
    for row in rows:
        totals[row.currency].append(row)
    return [
        ReportTotal(
            currency=currency,
            settlements=len(own),
            settled_minor=sum(each.settled_minor for each in own),
            returned_minor=sum(each.returned_minor for each in own),
            charges_minor=sum(each.charges_minor for each in own),
        )
        for currency, own in sorted(totals.items())
    ]
