"""Whether writes work, for ``/readyz``: a server with a full disk still answers queries.

Promises: while the engine's own writes succeed it writes rarely; after one has failed it writes at each check, so
that a full disk, and its end, are reported within one check. It writes one row into a table of its own.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from settlement_engine.errors import Unavailable
from settlement_engine.store.database import DatabaseConnection

if TYPE_CHECKING:
    from settlement_engine.store.database import DatabaseSettings
    from settlement_engine.store.watch import ServerWatch

PROBE_SECONDS: Final = 60.0
"""The interval of test writes while nothing has failed: an idle engine would not notice otherwise."""


class WriteProbe:
    """The write probe of one process."""

    def __init__(self, settings: DatabaseSettings, watch: ServerWatch) -> None:
        self._watch = watch
        self._connection = DatabaseConnection(settings, is_writing=True)
        self._probed_at: float | None = None

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()

    async def look(self) -> str:
        """Return that writes work; raise Unavailable if they do not."""
        self._watch.require_safe()
        now = time.monotonic()
        is_due = self._probed_at is None or now - self._probed_at >= PROBE_SECONDS
        if not (is_due or self._watch.failed_writers):
            return "writes work"
        try:
            await self._connection.fetchrow("probe_write")
        except Unavailable as error:
            raise Unavailable(f"{error.what}: {error.why}") from error
        self._probed_at = now
        self._watch.failed_writers.clear()
        return "writes work"
