"""Which session of a currency is open, remembered until it shuts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from settlement_engine.domain.windows import Session, next_opening, open_session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from settlement_engine.domain.windows import Window

CURRENCIES_MAX: Final = 1_000

ROUND_THE_CLOCK: Final = Session(datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC))
"""The session of development and demonstration, unless real windows are asked for."""


class Timetable:
    """Answers from the windows in force; the database's clock has the last word, with the lock."""

    def __init__(self, *, has_real_windows: bool) -> None:
        self._has_real_windows = has_real_windows
        self._windows: Sequence[Window] = ()
        self._open: dict[str, Session] = {}

    def replace(self, windows: Sequence[Window]) -> None:
        """Take the windows as they are now."""
        if windows != self._windows:
            self._windows = windows
            self._open.clear()

    def session(self, currency: str, now: datetime) -> Session | None:
        """Return the session that is open, or None."""
        if not self._has_real_windows:
            return ROUND_THE_CLOCK
        known = self._open.get(currency)
        if known is not None and known.holds(now):
            return known
        found = open_session(self._windows, currency, now)
        if found is not None:
            if len(self._open) >= CURRENCIES_MAX:
                self._open.clear()
            self._open[currency] = found
        return found

    def next_opening(self, currency: str, now: datetime) -> datetime | None:
        """Return when the currency opens next, or None if it never does."""
        return next_opening(self._windows, currency, now)
