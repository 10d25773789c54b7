"""Balances of past instants and booking dates: what an instant means, and what a balance then was.

Promises: a balance as of an instant is the sum of all transfers before it; a booking date ends when the next one
begins in the institution's time zone, so that no transfer belongs to two dates or to none. Must never: read a clock,
or say that a balance is final while a transaction may still book before its instant.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from settlement_engine.domain.ledger import ASSETS

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from settlement_engine.domain.ledger import AccountKind

QUARTER: Final = timedelta(minutes=15)
"""How often balances are recorded. The midnight of every time zone of today is at the end of a quarter."""

BOOKING_SECONDS_MAX: Final = 15.0
"""How long it takes at most from the time that a booking carries until its transaction can be seen in progress."""


class BookingDay(NamedTuple):
    """A booking date as instants: from ``begins`` on, and before ``ends``."""

    begins: datetime
    ends: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PastBalance:
    """All debits and credits of an account before an instant, in minor units."""

    account_id: int
    debits_posted: int = 0
    credits_posted: int = 0

    def posted(self, kind: AccountKind) -> int:
        """Return the balance, positive on the account's own side."""
        balance = self.debits_posted - self.credits_posted
        return balance if kind in ASSETS else -balance


def booking_day(day: date, zone: ZoneInfo) -> BookingDay:
    """Return the instants at which a booking date begins and ends; a date has 23 to 25 hours."""
    return BookingDay(*(_midnight(each, zone) for each in (day, day + timedelta(days=1))))


def booking_date(at: datetime, zone: ZoneInfo) -> date:
    """Return the booking date of an instant."""
    return at.astimezone(zone).date()


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(0), zone).astimezone(UTC)
