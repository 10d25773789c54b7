"""Same-day ACH as dated data: which payments may settle on the day of their file, and in which of its windows. Pure.

Promises: what may not is sent for the next day instead, and its bytes say why; a window is never used after it has
closed. The days are weekdays only: no calendar of holidays is known here. Must never: read a clock.
"""

from __future__ import annotations

from datetime import (
    date,
    datetime,
    time,
    timedelta,
)
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from settlement_engine.domain.settlement import Priority

if TYPE_CHECKING:
    from settlement_engine.domain.settlement import Instruction

ASKED_BY: Final = Priority.URGENT
WINDOWS_MAX: Final = 24
BEFORE_WINDOW_SECONDS: Final = 60.0
"""A file is closed so long before its window is: it still has to be placed."""

TOO_LATE_SECONDS: Final = 45.0
"""What comes later than so long before a window closes waits for another one, instead of being in a file alone."""

WEEK_DAYS: Final = 7

Weekday = Annotated[int, msgspec.Meta(ge=1, le=WEEK_DAYS)]


class SameDayWindow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Files that are received until ``closes`` are settled at ``settles``, the same day."""

    closes: time
    settles: time


class SameDayRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an operator settles on the day of the file, since when, and where that stands.

    ``zone`` is that of the windows and weekdays (1 is Monday). Without windows any time of such a day will do.
    """

    since: date
    source: str
    amount_cents_max: Annotated[int, msgspec.Meta(ge=1)]
    zone: str
    weekdays: tuple[Weekday, ...] = (1, 2, 3, 4, 5)
    windows: Annotated[tuple[SameDayWindow, ...], msgspec.Meta(max_length=WINDOWS_MAX)] = ()

    def fault(self) -> str:
        """Say which key cannot be kept; empty if all can."""
        try:
            ZoneInfo(self.zone)
        except (ValueError, OSError, KeyError):  # no such zone, or no name of one
            return "same_day.zone"
        if not self.weekdays:
            return "same_day.weekdays"
        closings = [each.closes for each in self.windows]
        is_ascending = all(one < other for one, other in pairwise(closings))
        is_later = all(each.closes < each.settles for each in self.windows)
        return "" if is_ascending and is_later else "same_day.windows"


class Timing(NamedTuple):
    """How a payment is asked to be settled: on the day of its file, or why it is not although it was to be."""

    is_same_day: bool = False
    refused: str = ""


class BatchDate(NamedTuple):
    """The effective date of a batch, and its company descriptive date: ``SDHHMM`` names a settlement of the day."""

    day: date
    descriptive: str = ""


def timing_of(instruction: Instruction, rules: SameDayRules | None) -> Timing:
    """Choose whether a payment is to be settled on the day of its file."""
    if instruction.priority is not ASKED_BY:
        return Timing()
    if rules is None:
        return Timing(refused="the profile has no same-day settlement")
    if instruction.amount.minor > rules.amount_cents_max:
        limit = f"{rules.amount_cents_max / 100:,.2f}"
        return Timing(refused=f"same-day settlement is limited to {limit} since {rules.since}")
    return Timing(is_same_day=True)


def date_of(
    wanted: date, created: datetime, rules: SameDayRules | None, *, is_same_day: bool
) -> BatchDate:
    """Return the dates of a payment's batch in a file that is created then; ``wanted`` is its value date.

    Where an operator settles on the same day, today's date asks for just that: so others get the next day's.
    """
    today = created.date()
    if rules is None:
        return BatchDate(max(wanted, today))
    if is_same_day and wanted <= today:
        local = created.astimezone(ZoneInfo(rules.zone))
        window = _window(rules, local)
        if window is not None:
            return BatchDate(local.date(), f"SD{window.settles:%H%M}")
        if not rules.windows and local.isoweekday() in rules.weekdays:
            return BatchDate(local.date())
    return BatchDate(max(wanted, _next_day(today, rules)))


def seconds_to_closing(now: datetime, rules: SameDayRules) -> float | None:
    """Return in how many seconds a same-day file is closed for the next window of the day; None if there is none."""
    local = now.astimezone(ZoneInfo(rules.zone))
    window = _window(rules, local)
    if window is None:
        return None
    left = (datetime.combine(local.date(), window.closes, local.tzinfo) - local).total_seconds()
    return max(left - BEFORE_WINDOW_SECONDS, 0.0) if left > TOO_LATE_SECONDS else None


def _window(rules: SameDayRules, local: datetime) -> SameDayWindow | None:
    """Return the window that a file comes into; None when the day has no other one."""
    if local.isoweekday() not in rules.weekdays:
        return None
    at = local.time()
    return next((each for each in rules.windows if at <= each.closes), None)


def _next_day(today: date, rules: SameDayRules) -> date:
    """Return the next weekday on which the operator settles."""
    days = (today + timedelta(days=number) for number in range(1, WEEK_DAYS + 1))
    return next(day for day in days if day.isoweekday() in rules.weekdays)
