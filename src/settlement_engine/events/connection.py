"""The way to NATS: a connection that is there or is over, and never anything in between.

nats-py would reconnect by itself: it then keeps what was being published in a buffer of its own, for
minutes, while nobody knows what the server holds. Here a connection that is lost is over. Whoever had it
opens a new one, asks the server what it holds, and goes on from there. No address or password is ever
logged from here: an address may hold a password.
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
"""A server that is frozen does not even let us say good-bye."""

PING_SECONDS: Final = 5
PINGS_UNANSWERED_MAX: Final = 2
ROUNDS_MAX: Final = 1
"""How often each server is tried again within one attempt; nats-py takes 0 for *without end*."""

RECONNECT: Final = Backoff(first_seconds=0.1, max_seconds=5.0)
"""Without end: NATS may be away for hours."""

TROUBLE: Final = (SettlementEngineError, nats.errors.Error, OSError, TimeoutError)
"""What work with NATS and the store raises when one of them is out of reach."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NatsAccess:
    """Where NATS is and how to get in. The addresses may hold user and password."""

    servers: tuple[str, ...]
    name: str = "settlement-engine"
    tls: ssl.SSLContext | None = None
    credentials_file: Path | None = None


def heed_cancellation() -> None:
    """Raise CancelledError if this task was cancelled and somebody has swallowed it.

    ``asyncio.wait_for``, which nats-py waits with, does so before Python 3.12 when the answer comes in
    the very moment of the cancellation. A loop without end that does not ask would then never end.
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
        """Send protocol frames that were built already: a tenth of the cost of ``publish``."""
        if not self.is_connected:
            raise self.lost_error()
        await self._send_command(frames)
        await self._flush_pending()

    def lost_error(self) -> Unavailable:
        """Make the error that says so."""
        return Unavailable("the connection to NATS is lost", why=self.last_trouble)

    async def note_trouble(self, error: Exception) -> None:
        """Keep what nats-py complains of. It complains often; its owner logs once."""
        self.last_trouble = f"{type(error).__name__}: {error}"

    def call_when_lost(self, call: Callable[[], None]) -> None:
        """Name a call for the end of the connection, so that nobody waits for an answer in vain."""
        self._when_lost.append(call)

    async def note_end(self) -> None:
        """Tell whoever waits that the connection is over."""
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
        with contextlib.suppress(*TROUBLE):
            async with asyncio.timeout(CLOSE_SECONDS):
                await connection.close()


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
        # The cause is not shown: it may quote the address with its password.
        raise Misconfigured(
            "the address of NATS cannot be read", todo="write it as nats://host:port"
        ) from None
