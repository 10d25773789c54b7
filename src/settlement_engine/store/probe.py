"""Whether writes work, for ``/readyz``: a server can answer every question and have no room for an answer.

Promises: while the writers succeed it asks seldom; after one has failed it finds out with each look, so that
a full disk is told within one look and so is its end. It writes one row into a table of its own.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from settlement_engine.errors import Unavailable
from settlement_engine.store.database import Line

if TYPE_CHECKING:
    from settlement_engine.store.database import DatabaseSettings
    from settlement_engine.store.watch import ServerWatch

PROBE_SECONDS: Final = 60.0
"""How often it is tried while nothing has failed: what is idle would not notice otherwise."""


class WriteProbe:
    """One for each process."""

    def __init__(self, settings: DatabaseSettings, watch: ServerWatch) -> None:
        self._watch = watch
        self._line = Line(settings, is_writing=True)
        self._probed_at: float | None = None

    async def close(self) -> None:
        """Close the line."""
        await self._line.close()

    async def look(self) -> str:
        """Say that writes work; raises Unavailable if they do not."""
        self._watch.require_safe()
        now = time.monotonic()
        is_due = self._probed_at is None or now - self._probed_at >= PROBE_SECONDS
        if not (is_due or self._watch.failed_writers):
            return "writes work"
        try:
            await self._line.fetchrow("probe_write")
        except Unavailable as error:
            raise Unavailable(f"{error.what}: {error.why}") from error
        self._probed_at = now
        self._watch.failed_writers.clear()
        return "writes work"
