"""Settlement windows: when a currency may be settled, in the local time of its market.

Times are local to an IANA zone and become instants per date, so that summer time moves them. A window
may end on the next day. A currency without a window is never open: it fails closed. So does a rail that has
windows of its own, for a currency that none of them names. The clock comes in as an argument.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

LOOK_AHEAD_DAYS: Final = 14
"""How many days ahead the next opening is searched; weekly windows need 8."""

EVERY_DAY: Final = frozenset(range(1, 8))

BANKING_DAYS_MAX: Final = 400
"""The most banking days of a time limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """One daily settlement window. ``weekdays`` are ISO numbers (1 is Monday) of the days on which it opens.

    An empty ``currency`` stands for every currency: a window of a rail.
    """

    currency: str
    zone: str
    opens: time
    closes: time
    weekdays: frozenset[int]


@dataclass(frozen=True, slots=True)
class WindowOpening:
    """One window on one date: open from ``opens_at`` up to and not including ``closes_at``."""

    opens_at: datetime
    closes_at: datetime

    def holds(self, now: datetime) -> bool:
        """Say whether the window is open at the instant; at ``closes_at`` it is closed."""
        return self.opens_at <= now < self.closes_at


def always_open(currency: str) -> Window:
    """Make a window that never closes, for development and for rails that run round the clock."""
    return Window(currency=currency, zone="UTC", opens=time(0), closes=time(0), weekdays=EVERY_DAY)


def _window_openings(window: Window, now: datetime) -> Iterator[WindowOpening]:
    zone = ZoneInfo(window.zone)
    today = now.astimezone(zone).date()
    for offset in range(-1, LOOK_AHEAD_DAYS):
        day = today + timedelta(days=offset)
        if day.isoweekday() not in window.weekdays:
            continue
        last_day = day if window.closes > window.opens else day + timedelta(days=1)
        opens_at = datetime.combine(day, window.opens, zone).astimezone(UTC)
        closes_at = datetime.combine(last_day, window.closes, zone).astimezone(UTC)
        if opens_at < closes_at:
            yield WindowOpening(opens_at, closes_at)


def window_opening_at(
    windows: Iterable[Window], currency: str, now: datetime
) -> WindowOpening | None:
    """Return the window that is open now; of several, the one that closes last."""
    found = [
        window_opening
        for window in windows
        if window.currency in ("", currency)
        for window_opening in _window_openings(window, now)
        if window_opening.holds(now)
    ]
    return max(found, key=lambda window_opening: window_opening.closes_at, default=None)


def next_opening(windows: Iterable[Window], currency: str, now: datetime) -> datetime | None:
    """Return when the currency's next window opens after now, or None if it has no window."""
    return min(
        (
            window_opening.opens_at
            for window in windows
            if window.currency in ("", currency)
            for window_opening in _window_openings(window, now)
            if window_opening.opens_at > now
        ),
        default=None,
    )


BANKING_WEEK: Final = Window(
    currency="", zone="UTC", opens=time(0), closes=time(0), weekdays=frozenset(range(1, 6))
)
"""The banking days where no window says which they are: Monday to Friday."""


def end_of_banking_day(
    windows: Iterable[Window],
    of_rail: Iterable[Window],
    currency: str,
    start: datetime,
    count: int,
) -> datetime:
    """Return the end of the ``count``-th banking day after the day of ``start``, in the windows' local time.

    A banking day is one on which a window of the currency opens, and one of the rail if it has any.
    """
    assert 0 < count <= BANKING_DAYS_MAX, "a time limit has some banking days"
    theirs, ours = (
        [each for each in calendar if each.currency in ("", currency)]
        for calendar in (of_rail, windows)
    )
    weekdays = _weekdays(theirs or ours) & _weekdays(ours or theirs) or BANKING_WEEK.weekdays
    zone = ZoneInfo([*theirs, *ours, BANKING_WEEK][0].zone)
    day = start.astimezone(zone).date()
    left = count
    while left:
        day += timedelta(days=1)
        left -= day.isoweekday() in weekdays
    return datetime.combine(day + timedelta(days=1), time(0), zone).astimezone(UTC)


def _weekdays(windows: Sequence[Window]) -> frozenset[int]:
    """Return the weekdays on which one of these windows opens."""
    return frozenset().union(*(each.weekdays for each in windows))


def both_open(one: WindowOpening, other: WindowOpening) -> WindowOpening:
    """Return the time in which two windows that are open now are both open."""
    return WindowOpening(max(one.opens_at, other.opens_at), min(one.closes_at, other.closes_at))


def next_opening_of_both(
    windows: Sequence[Window], others: Sequence[Window], currency: str, now: datetime
) -> datetime | None:
    """Return when a currency's windows and those of a rail are next both open, or None if never."""
    ours, theirs = _all_sessions(windows, currency, now), _all_sessions(others, currency, now)
    common = (both_open(one, other) for one in ours for other in theirs)
    return min(
        (each.opens_at for each in common if now < each.opens_at < each.closes_at), default=None
    )


def _all_sessions(windows: Iterable[Window], currency: str, now: datetime) -> list[WindowOpening]:
    return [
        window_opening
        for window in windows
        if window.currency in ("", currency)
        for window_opening in _window_openings(window, now)
    ]
