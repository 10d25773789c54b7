"""The age of a break in business days, its bucket, and when something is due.

Promises: the calendar is an argument: weekend, holidays and the end of the day, in a zone. The cost does not grow
with the age. Must never: read a clock.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import IntEnum
from typing import Final
from zoneinfo import ZoneInfo

WEEK_DAYS: Final = 7
SATURDAY, SUNDAY = 6, 7

HOLIDAYS_MAX: Final = 2_000
"""The most holidays of a calendar: more than a hundred years of them."""

DUE_DAYS_MAX: Final = 366
"""The most business days after which something is due."""


class AgeBucket(IntEnum):
    """The buckets of ages, by their first business day."""

    DAYS_0_TO_1 = 0
    DAYS_2_TO_5 = 2
    DAYS_6_TO_10 = 6
    DAYS_11_TO_30 = 11
    MORE_THAN_30_DAYS = 31

    @property
    def label(self) -> str:
        """The bucket as people write it: 0-1, 2-5, and so on."""
        following = [each for each in AgeBucket if each > self]
        return f"{self.value}-{following[0] - 1}" if following else f">{self.value - 1}"


@dataclass(frozen=True, slots=True)
class BusinessCalendar:
    """Which days are business days, and when one ends. ``weekend`` are ISO numbers of weekdays."""

    zone: str = "UTC"
    holidays: tuple[date, ...] = ()
    weekend: frozenset[int] = frozenset({SATURDAY, SUNDAY})
    day_ends: time = time(17)

    def __post_init__(self) -> None:
        """Refuse a calendar without a business day, and holidays that are not in their order."""
        assert self.weekend < frozenset(range(1, WEEK_DAYS + 1)), "some day of a week is a workday"
        assert len(self.holidays) <= HOLIDAYS_MAX, "a calendar has a bounded number of holidays"
        assert list(self.holidays) == sorted(set(self.holidays)), "holidays are sorted, each once"

    def is_business_day(self, day: date) -> bool:
        """Say whether a day is a business day."""
        return day.isoweekday() not in self.weekend and day not in self.holidays

    def local_date(self, at: datetime) -> date:
        """Return the date in the calendar's zone."""
        return at.astimezone(ZoneInfo(self.zone)).date()


def business_days_between(calendar: BusinessCalendar, since: date, until: date) -> int:
    """Count the business days after ``since``, up to and including ``until``; 0 if that is not later."""
    days = (until - since).days
    if days <= 0:
        return 0
    weeks, rest = divmod(days, WEEK_DAYS)
    first_rest = until - timedelta(days=rest)
    workdays = weeks * (WEEK_DAYS - len(calendar.weekend)) + sum(
        (first_rest + timedelta(days=each)).isoweekday() not in calendar.weekend
        for each in range(1, rest + 1)
    )
    holidays = calendar.holidays[
        bisect_right(calendar.holidays, since) : bisect_right(calendar.holidays, until)
    ]
    return workdays - sum(each.isoweekday() not in calendar.weekend for each in holidays)


def bucket_of(age_business_days: int) -> AgeBucket:
    """Return the bucket of an age."""
    assert age_business_days >= 0, "an age is not negative"
    return max(each for each in AgeBucket if each <= age_business_days)


def due_at(calendar: BusinessCalendar, now: datetime, business_days: int) -> datetime:
    """Return the end of the business day that is so many after today; 0 is today, or the next one.

    What begins after the end of a day begins on the next one.
    """
    assert 0 <= business_days <= DUE_DAYS_MAX, "something is due within a bounded time"
    zone = ZoneInfo(calendar.zone)
    local = now.astimezone(zone)
    day = local.date()
    if local.time() >= calendar.day_ends:
        day += timedelta(days=1)
    left = business_days
    while left or not calendar.is_business_day(day):  # bounded by DUE_DAYS_MAX and the holidays
        left -= calendar.is_business_day(day)
        day += timedelta(days=1)
    return datetime.combine(day, calendar.day_ends, zone).astimezone(UTC)
