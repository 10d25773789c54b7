"""How far the installation has come, looked at from outside while the load runs.

Promises: an end is an end in the store and an announcement is a message in JetStream; the look costs the
servers a question every few hundredths of a second and no more.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import nats
import nats.errors

from settlement_engine.errors import SettlementEngineError, Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from nats.js import JetStreamContext

    from settlement_lab.baseline.server import ServerMeter

LOOK_SECONDS: Final = 0.02
LOOK_SELDOM_SECONDS: Final = 0.5
COUNT_SECONDS: Final = 0.5
"""How often the open ones are counted: their counting is work for the server that is measured."""

CONNECT_SECONDS: Final = 5
STREAM: Final = "settlement-events"
MOVES: Final = 3
"""An ordinary life has so many moves: accepted, locked, completed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """When the last settlement had ended, and when all was announced (0 without NATS).

    ``open_most`` is the most that was seen open at one look since the look before was quiet.
    """

    ended_at: float
    announced_at: float
    position: int
    open_most: int


class Progress:
    """Follows JetStream while it runs; ``until_quiet`` waits for the rest."""

    def __init__(
        self, meter: ServerMeter, jetstream: JetStreamContext | None, *, is_close: bool
    ) -> None:
        self._meter = meter
        self._jetstream = jetstream
        self._look_seconds = LOOK_SECONDS if is_close else LOOK_SELDOM_SECONDS
        self._news = asyncio.Condition()
        self._counted_at = float("-inf")
        self._open_most = 0
        self.messages = 0

    def ended(self, since: int, accepted: int) -> int:
        """About how many of those accepted have ended, by what was announced since; rather too few.

        Ordinary lives assumed. Each has announced that it was accepted long before it announces its end:
        counted as a third of a life it would let more into flight than was meant.
        """
        return max(0, (self.messages - since - accepted) // (MOVES - 1))

    async def wait(self) -> None:
        """Wait for the next look."""
        async with self._news:
            await self._news.wait()

    async def run(self) -> None:
        """Look for ever."""
        while True:
            with suppress(nats.errors.Error, SettlementEngineError):
                self.messages = await self._look()
                await self._count()
            async with self._news:
                self._news.notify_all()
            await asyncio.sleep(self._look_seconds)

    async def _look(self) -> int:
        if self._jetstream is None:
            return (await self._meter.read()).position
        return (await self._jetstream.stream_info(STREAM)).state.last_seq

    async def _count(self) -> None:
        now = time.monotonic()
        if now - self._counted_at < COUNT_SECONDS:
            return
        self._counted_at = now
        self._open_most = max(self._open_most, (await self._meter.read()).open_settlements)

    async def until_quiet(self, patience_seconds: float) -> Reached:
        """Wait until nothing is open and everything is announced. Raises Unavailable."""
        deadline = time.monotonic() + patience_seconds
        self._look_seconds, before = LOOK_SECONDS, self._look_seconds
        counters = await self._meter.read()
        while counters.open_settlements:
            if time.monotonic() > deadline:
                what = f"{counters.open_settlements} settlements are still open"
                raise Unavailable(what, why=f"waited {patience_seconds:g} s")
            await asyncio.sleep(LOOK_SECONDS)
            counters = await self._meter.read()
        ended_at = time.monotonic()
        position = counters.position
        while self._jetstream is not None and self.messages < position:
            if time.monotonic() > deadline:
                what = f"{position - self.messages} moves are not announced"
                raise Unavailable(what, why=f"waited {patience_seconds:g} s")
            await self.wait()
        self._look_seconds = before
        open_most, self._open_most = self._open_most, 0
        return Reached(
            ended_at=ended_at,
            announced_at=time.monotonic() if self._jetstream else 0.0,
            position=position,
            open_most=open_most,
        )


@asynccontextmanager
async def following(
    meter: ServerMeter, nats_url: str, *, is_close: bool = True
) -> AsyncIterator[Progress]:
    """Follow the installation for the length of the block.

    ``is_close`` is for callers who wait for ends; the others are not to pay for the looking.
    """
    if not nats_url:
        async with _running(Progress(meter, None, is_close=is_close)) as progress:
            yield progress
        return
    connection = await nats.connect(nats_url, connect_timeout=CONNECT_SECONDS)
    try:
        async with _running(Progress(meter, connection.jetstream(), is_close=is_close)) as progress:
            yield progress
    finally:
        await connection.close()


@asynccontextmanager
async def _running(progress: Progress) -> AsyncIterator[Progress]:
    looking = asyncio.create_task(progress.run())
    try:
        yield progress
    finally:
        looking.cancel()
        with suppress(asyncio.CancelledError):
            await looking
