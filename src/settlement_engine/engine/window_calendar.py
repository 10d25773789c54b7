"""The window calendar: which settlement window is open for a currency on a rail, cached until it closes.

The currency's windows are read from the database. Promises: if a rail has windows of its own, both must be open.
Must never: decide finally; the database's clock does, with the hold.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import structlog

from settlement_engine.domain.windows import (
    WindowOpening,
    both_open,
    end_of_banking_day,
    next_opening,
    next_opening_of_both,
    window_opening_at,
)
from settlement_engine.errors import Broken, Contention, Unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from settlement_engine.domain.windows import Window
    from settlement_engine.engine.settings import EngineSettings
    from settlement_engine.ports import AccountStore

log = structlog.get_logger(__name__)

OPEN_MAX: Final = 1_000
"""The most open windows in the cache; with more, all are looked up again."""

ROUND_THE_CLOCK: Final = WindowOpening(
    datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)
)
"""The window for development and demonstration, unless real windows are configured."""


class WindowCalendar:
    """Answers from the current windows; the database's clock decides again, with the hold."""

    def __init__(
        self, *, has_real_windows: bool, by_rail: Mapping[str, Sequence[Window]] | None = None
    ) -> None:
        self._has_real_windows = has_real_windows
        self._by_rail = by_rail or {}
        self._windows: Sequence[Window] = ()
        self._open: dict[tuple[str, str], WindowOpening] = {}
        self.version = 0
        """Counts the changes of the windows."""

    @classmethod
    def of(cls, settings: EngineSettings) -> WindowCalendar:
        """Make the calendar for the settings."""
        windows = settings.windows_by_rail
        return cls(has_real_windows=settings.has_real_windows, by_rail=windows)

    def replace(self, windows: Sequence[Window]) -> None:
        """Replace the currencies' windows by the current ones."""
        if windows != self._windows:
            self._windows = windows
            self._open.clear()
            self.version += 1

    def window_opening(self, currency: str, now: datetime, rail: str = "") -> WindowOpening | None:
        """Return the window that is open for a currency on a rail, or None."""
        if not self._has_real_windows:
            return ROUND_THE_CLOCK
        known = self._open.get((rail, currency))
        if known is not None and known.holds(now):
            return known
        found = self._find(currency, now, rail)
        if found is not None:
            if len(self._open) >= OPEN_MAX:
                self._open.clear()
            self._open[rail, currency] = found
        return found

    def _find(self, currency: str, now: datetime, rail: str) -> WindowOpening | None:
        found = window_opening_at(self._windows, currency, now)
        own = self._by_rail.get(rail)
        if found is None or own is None:
            return found
        of_rail = window_opening_at(own, currency, now)
        return both_open(found, of_rail) if of_rail is not None else None

    def next_opening(self, currency: str, now: datetime, rail: str = "") -> datetime | None:
        """Return when the window of a currency on a rail opens next, or None if it never does."""
        own = self._by_rail.get(rail)
        if own is None:
            return next_opening(self._windows, currency, now)
        return next_opening_of_both(self._windows, own, currency, now)

    def end_of_banking_day(self, currency: str, start: datetime, count: int, rail: str) -> datetime:
        """Return the end of the ``count``-th banking day after ``start``, on the rail's calendar."""
        known = self._windows if self._has_real_windows else ()
        return end_of_banking_day(known, self._by_rail.get(rail, ()), currency, start, count)


async def keep_window_calendar(
    settings: EngineSettings, accounts: AccountStore, window_calendar: WindowCalendar
) -> None:
    """Read the current windows at regular intervals; after a failed read the last ones stay valid."""
    while True:
        try:
            window_calendar.replace(await accounts.windows())
        except (Unavailable, Contention, Broken) as error:
            log.warning("windows_not_read", why=error.why or error.what)
        await asyncio.sleep(settings.windows_refresh_seconds)
