"""How far the installation has come, observed from outside while the load runs.

Promises: a final state is one in the store, and an announcement is a message in JetStream. Observing
costs the servers one query every few hundredths of a second and no more.
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
"""How often the open settlements are counted: counting is work for the server that is measured."""

CONNECT_SECONDS: Final = 5
STREAM: Final = "settlement-events"
MOVES: Final = 3
"""A settlement usually makes so many moves: accepted, locked, completed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """When the last settlement had ended, and when all was announced (0 without NATS); monotonic seconds.

    ``open_most`` is the largest number seen open at one observation since nothing was open.
    """

    ended_at: float
    announced_at: float
    position: int
    open_most: int


class Progress:
    """Follows JetStream while it runs; ``until_quiet`` waits until nothing is open."""

    def __init__(
        self, meter: ServerMeter, jetstream: JetStreamContext | None, *, is_close: bool
    ) -> None:
        self._meter = meter
        self._jetstream = jetstream
        self._look_seconds = LOOK_SECONDS if is_close else LOOK_SELDOM_SECONDS
        self._changed = asyncio.Condition()
        self._counted_at = float("-inf")
        self._open_most = 0
        self.messages = 0

    def ended(self, since: int, accepted: int) -> int:
        """Estimate how many accepted settlements have ended, by what was announced; never too many.

        It assumes the usual number of moves. A settlement announces that it was accepted long before its
        final state: counting that as a third of a settlement would let too many into flight.
        """
        return max(0, (self.messages - since - accepted) // (MOVES - 1))

    async def wait(self) -> None:
        """Wait for the next observation."""
        async with self._changed:
            await self._changed.wait()

    async def run(self) -> None:
        """Observe until cancelled."""
        while True:
            with suppress(nats.errors.Error, SettlementEngineError):
                self.messages = await self._look()
                await self._count()
            async with self._changed:
                self._changed.notify_all()
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

    async def until_quiet(self, timeout_seconds: float) -> Reached:
        """Wait until nothing is open and everything is announced. Raises Unavailable."""
        deadline = time.monotonic() + timeout_seconds
        self._look_seconds, before = LOOK_SECONDS, self._look_seconds
        counters = await self._meter.read()
        while counters.open_settlements:
            if time.monotonic() > deadline:
                what = f"{counters.open_settlements} settlements are still open"
                raise Unavailable(what, why=f"waited {timeout_seconds:g} s")
            await asyncio.sleep(LOOK_SECONDS)
            counters = await self._meter.read()
        ended_at = time.monotonic()
        position = counters.position
        while self._jetstream is not None and self.messages < position:
            if time.monotonic() > deadline:
                what = f"{position - self.messages} moves are not announced"
                raise Unavailable(what, why=f"waited {timeout_seconds:g} s")
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

    ``is_close`` observes more often, for callers that wait for final states; for others it would only
    cost.
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
