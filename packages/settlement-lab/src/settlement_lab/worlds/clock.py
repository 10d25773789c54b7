"""The time and the identifiers of a world."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final
from uuid import UUID

if TYPE_CHECKING:
    from settlement_lab.worlds.loop import VirtualLoop

START: Final = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


class WorldClock:
    """The database's time."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def now(self) -> datetime:
        """Return the present time."""
        return START + timedelta(seconds=self._loop.time())


class CountedIds:
    """Identifiers in increasing order."""

    def __init__(self) -> None:
        self._last = 0

    def new(self) -> UUID:
        """Return the next one."""
        self._last += 1
        return UUID(int=self._last)
