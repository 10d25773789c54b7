"""The connection to NATS: it is either up, or it has ended.

nats-py would reconnect by itself and keep messages in a buffer of its own for minutes, while it is unknown what the
server has. Promises: a lost connection has ended; its user opens a new one, asks the server what it has, and continues
from there. Must never: log an address or a password; an address may contain a password.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import nats.errors
from nats.aio.client import Client

from settlement_engine.domain.backoff import Backoff
from settlement_engine.errors import Misconfigured, SettlementEngineError, Unavailable

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

CONNECT_SECONDS: Final = 2
CLOSE_SECONDS: Final = 2.0
"""How long closing may take: a suspended server does not answer."""

PING_SECONDS: Final = 5
PINGS_UNANSWERED_MAX: Final = 2
ROUNDS_MAX: Final = 1
"""How often each server is tried again within one attempt; nats-py takes 0 for *without end*."""

RECONNECT: Final = Backoff(first_seconds=0.1, max_seconds=5.0)
"""Waits between connection attempts, without a limit of attempts: NATS may be unreachable for hours."""

TROUBLE: Final = (SettlementEngineError, nats.errors.Error, OSError, TimeoutError)
"""The errors of NATS and the store when one of them is unreachable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NatsAccess:
    """The addresses of NATS and the credentials. An address may contain user and password."""

    servers: tuple[str, ...]
    name: str = "settlement-engine"
    tls: ssl.SSLContext | None = None
    credentials_file: Path | None = None


def heed_cancellation() -> None:
    """Raise CancelledError if this task was cancelled and the cancellation was lost.

    Before Python 3.12, ``asyncio.wait_for``, which nats-py uses, loses it if the answer arrives at the same
    moment. An endless loop that does not check this would never end.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling() > 0:
        raise asyncio.CancelledError


class NatsLink(Client):
    """One connection. ``lost`` is set when it has ended, for whatever reason."""

    def __init__(self) -> None:
        super().__init__()
        self.lost = asyncio.Event()
        self.last_trouble = ""
        self._when_lost: list[Callable[[], None]] = []

    async def write(self, frames: bytes) -> None:
        """Send ready-made protocol frames: a tenth of the cost of ``publish``."""
        if not self.is_connected:
            raise self.lost_error()
        await self._send_command(frames)
        await self._flush_pending()

    def cut(self) -> None:
        """Close the socket without waiting: ``close`` leaves it open if it is cancelled, or takes too long."""
        if self._transport is not None:
            self._transport.close()  # type: ignore[no-untyped-call] # nats-py's

    def lost_error(self) -> Unavailable:
        """Return the error for a lost connection."""
        return Unavailable("the connection to NATS is lost", why=self.last_trouble)

    async def note_trouble(self, error: Exception) -> None:
        """Keep the last error of nats-py. It reports often; the user of the connection logs once."""
        self.last_trouble = f"{type(error).__name__}: {error}"

    def call_when_lost(self, call: Callable[[], None]) -> None:
        """Set a function to call at the end of the connection, so that nobody waits for an answer."""
        self._when_lost.append(call)

    async def note_end(self) -> None:
        """Note the end of the connection, and wake all waiting tasks."""
        self.lost.set()
        for call in self._when_lost:
            call()


@contextlib.asynccontextmanager
async def connect(access: NatsAccess) -> AsyncIterator[NatsLink]:
    """Open a connection for as long as the block lasts. Raises Unavailable, Misconfigured."""
    connection = NatsLink()
    try:
        await _open(connection, access)
        yield connection
    finally:
        try:
            with contextlib.suppress(*TROUBLE):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await connection.close()
        finally:
            connection.cut()


async def _open(connection: NatsLink, access: NatsAccess) -> None:
    bound = (CONNECT_SECONDS + 1) * (ROUNDS_MAX + 1) * len(access.servers)
    try:
        async with asyncio.timeout(bound):
            await connection.connect(
                servers=list(access.servers),
                name=access.name,
                allow_reconnect=False,
                max_reconnect_attempts=ROUNDS_MAX,
                reconnect_time_wait=0,
                connect_timeout=CONNECT_SECONDS,
                ping_interval=PING_SECONDS,
                max_outstanding_pings=PINGS_UNANSWERED_MAX,
                tls=access.tls,
                user_credentials=access.credentials_file,
                error_cb=connection.note_trouble,
                closed_cb=connection.note_end,
            )
    except (nats.errors.Error, OSError, TimeoutError) as error:
        why = connection.last_trouble or type(error).__name__
        raise Unavailable("NATS cannot be reached", why=why) from error
    except ValueError:
        # The cause is not shown: it may contain the address with its password.
        raise Misconfigured(
            "the address of NATS cannot be read", todo="write it as nats://host:port"
        ) from None
