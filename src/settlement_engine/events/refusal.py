"""Since when NATS has answered, and stored nothing of what was sent to it.

That is something else than being out of reach: after a full disk JetStream keeps the error of the write until
its server is restarted, and whoever looks at the connection only sees nothing wrong.
"""

from __future__ import annotations

import asyncio
from typing import Final

from nats.errors import NoRespondersError
from nats.js.errors import APIError

from settlement_engine.events.publisher import NotStored

REFUSALS: Final = (NotStored, APIError, NoRespondersError)
"""What says that NATS answers: an append without success, a refusal, a JetStream that is switched off."""


class NatsRefusal:
    """Remembers what NATS said when it did not store, and since when."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._why = ""

    def note(self, trouble: Exception) -> None:
        """Hear of a trouble; one of the connection, or of the database, is no refusal."""
        if not isinstance(trouble, REFUSALS):
            self._since = None
            return
        why = (
            trouble.why
            if isinstance(trouble, NotStored)
            else f"{type(trouble).__name__}: {trouble}"
        )
        self._why = why
        if self._since is None:
            self._since = asyncio.get_running_loop().time()

    def end(self) -> None:
        """Hear that something was stored, or that there was nothing to store."""
        self._since = None

    @property
    def seconds(self) -> float:
        """For how long; 0 while it stores."""
        if self._since is None:
            return 0.0
        return max(0.0, asyncio.get_running_loop().time() - self._since)

    @property
    def text(self) -> str:
        """Say it in words; empty while it stores."""
        if self._since is None:
            return ""
        return (
            f"JetStream answers, and has stored no announcement for {self.seconds:.0f} s"
            f" ({self._why}); after a full disk, free space and restart NATS"
        )
