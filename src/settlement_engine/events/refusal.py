"""For how long NATS has answered without storing what was sent to it.

This is different from being unreachable: after a full disk JetStream keeps the write error until its server is
restarted, while the connection looks healthy. Must never: count a lost connection as a refusal.
"""

from __future__ import annotations

import asyncio
from typing import Final

from nats.errors import NoRespondersError
from nats.js.errors import APIError

from settlement_engine.events.publisher import NotStored

REFUSALS: Final = (NotStored, APIError, NoRespondersError)
"""Errors with which NATS answers: a failed append, a refusal, a JetStream that is switched off."""


class NatsRefusal:
    """Keeps the error with which NATS did not store, and since when."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._why = ""

    def note(self, trouble: Exception) -> None:
        """Note an error; one of the connection, or of the database, is no refusal."""
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
        """Note that something was stored, or that there was nothing to store."""
        self._since = None

    @property
    def seconds(self) -> float:
        """For how many seconds; 0 while it stores."""
        if self._since is None:
            return 0.0
        return max(0.0, asyncio.get_running_loop().time() - self._since)

    @property
    def text(self) -> str:
        """Describe it as text; empty while it stores."""
        if self._since is None:
            return ""
        return (
            f"JetStream answers, and has stored no announcement for {self.seconds:.0f} s"
            f" ({self._why}); after a full disk, free space and restart NATS"
        )
