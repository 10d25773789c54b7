"""What fails while the load runs: engines that are killed, and NATS that is slow or unavailable."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Final

from settlement_engine.store.database import DatabaseSettings
from settlement_lab.baseline.server import ServerMeter
from settlement_lab.bench import processes
from settlement_lab.bench.callers import connected
from settlement_lab.bench.measure import MICRO, measure
from settlement_lab.bench.progress import following
from settlement_lab.bench.stress import (
    BULK,
    IN_FLIGHT_MANY,
    PEAK_SHARE_MIN,
    SEED,
    StressResult,
    line_of,
    warm,
)
from settlement_lab.bench.workload import LoadSpread, Workload

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from settlement_lab.baseline.server import ServerCounters
    from settlement_lab.bench.ground import Ground

RECOVERED_SECONDS_MAX: Final = 3.0
EXTERNAL_TIMEOUT_SECONDS: Final = 60.0
WATCH_SECONDS: Final = 0.02
CATCH_UP_SECONDS_MAX: Final = 300.0
STALLED_SECONDS: Final = 0.45
AWAKE_SECONDS: Final = 0.05
"""A slow NATS runs for the first time and stops for the second: a tenth of its capacity, and late."""


async def recovery(ground: Ground, _seconds: float) -> StressResult:
    """Kill every engine with SIGKILL while 10,000 settlements wait for the rail; time the takeover.

    The rail answers late, so that all of them are open. The engine that takes one over records that it
    had no response (a move), and sends a status enquiry.
    """
    meter = ServerMeter(DatabaseSettings(url=ground.database_url))
    try:
        async with connected(ground.target) as callers:
            await callers.open_accounts(is_touched=False)
            await callers.submit_many(Workload(LoadSpread.MANY, SEED).many(IN_FLIGHT_MANY))
        before = await _until_still(meter)
        count = before.open_settlements
        began, used = time.monotonic(), processes.spent(ground.pids())
        ground.kill_engines()
        first, asked = await _until_asked(ground, meter, before, began)
        after = processes.spent(ground.pids())
    finally:
        await meter.close()
    return _recovered(
        count,
        first,
        asked,
        engine_us=after.engine / count * MICRO,
        postgres_us=(after.postgres - used.postgres) / count * MICRO,
    )


def _recovered(
    count: int, first: float, asked: float, *, engine_us: float, postgres_us: float
) -> StressResult:
    took = asked - first
    return StressResult(
        name="recovery",
        lines=[
            f"{count:,} open when the engine was killed; its successor took over the first after"
            f" {first:.2f} s and had asked about all {took:.2f} s later; {engine_us:,.0f} µs of the"
            f" engine and {postgres_us:,.0f} µs of PostgreSQL for each, the engine's start included"
            if asked
            else "not all were asked about"
        ],
        figures={
            "open": count,
            "first_seconds": first,
            "asked_seconds": asked,
            "took_seconds": took,
            "engine_us": engine_us,
            "postgres_us": postgres_us,
        },
        is_good=count >= IN_FLIGHT_MANY and asked > 0 and took <= RECOVERED_SECONDS_MAX,
    )


async def _until_asked(
    ground: Ground, meter: ServerMeter, before: ServerCounters, began: float
) -> tuple[float, float]:
    """Wait until every open settlement has moved; return the seconds to the first and to the last."""
    first = 0.0
    while (now := time.monotonic() - began) < EXTERNAL_TIMEOUT_SECONDS:
        ground.watch()
        with suppress(OSError):
            moved = (await meter.read()).position - before.position
            first = first or (now if moved else 0.0)
            if moved >= before.open_settlements:
                return first, now
        await asyncio.sleep(WATCH_SECONDS)
    return first, 0.0


async def _until_still(meter: ServerMeter) -> ServerCounters:
    """Wait until everything is open at the rail."""
    deadline = time.monotonic() + EXTERNAL_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        counters = await meter.read()
        # Each settlement that is at the rail has made two moves: accepted, locked.
        if counters.position >= 2 * counters.open_settlements >= 2 * IN_FLIGHT_MANY:
            return counters
        await asyncio.sleep(WATCH_SECONDS)
    return await meter.read()


@asynccontextmanager
async def nats_gone(ground: Ground) -> AsyncIterator[None]:
    """Stop NATS for the length of the block."""
    ground.kill_nats()
    try:
        yield
    finally:
        ground.watch()


@asynccontextmanager
async def nats_stalling(ground: Ground) -> AsyncIterator[None]:
    """Let NATS run only a small part of the time, for the length of the block."""
    pid = ground.pids().nats
    assert pid is not None, "the installation has its own NATS"

    async def stall() -> None:
        while True:
            os.kill(pid, signal.SIGSTOP)
            await asyncio.sleep(STALLED_SECONDS)
            os.kill(pid, signal.SIGCONT)
            await asyncio.sleep(AWAKE_SECONDS)

    stalling = asyncio.create_task(stall())
    try:
        yield
    finally:
        stalling.cancel()
        with suppress(asyncio.CancelledError):
            await stalling
        os.kill(pid, signal.SIGCONT)


async def troubled_nats(
    ground: Ground,
    seconds: float,
    name: str,
    trouble: Callable[[Ground], AbstractAsyncContextManager[None]],
) -> StressResult:
    """Settle while NATS is disturbed: the rate stays, and what was missed is announced afterwards."""
    blind = _Blind(ground)
    async with warm(ground) as callers:
        before = await measure(blind, callers, BULK, Workload(LoadSpread.MANY, SEED + 1), seconds)
        await _until_announced(ground)
        async with trouble(ground):
            during = await measure(
                blind, callers, BULK, Workload(LoadSpread.MANY, SEED + 2), seconds
            )
    began = time.monotonic()
    caught_up_seconds = await _until_announced(ground) - began
    share = during.completed_per_second / before.completed_per_second
    return StressResult(
        name=name,
        lines=[
            line_of(replace(before, name="before")),
            line_of(replace(during, name="meanwhile")),
            (
                f"{share:.2f} of the rate meanwhile; the last of {during.settlements:,} settlements was"
                f" announced {caught_up_seconds:.1f} s after it was over"
            ),
        ],
        figures={
            "before": asdict(before),
            "during": asdict(during),
            "share": share,
            "caught_up_seconds": caught_up_seconds,
        },
        is_good=share >= PEAK_SHARE_MIN and not during.faults,
    )


async def _until_announced(ground: Ground) -> float:
    """Wait until JetStream has everything; return the time. Raises Unavailable."""
    meter = ServerMeter(DatabaseSettings(url=ground.database_url))
    try:
        async with following(meter, ground.nats_url) as progress:
            return (await progress.until_quiet(CATCH_UP_SECONDS_MAX)).announced_at
    finally:
        await meter.close()


class _Blind:
    """An installation whose NATS is not accessed."""

    nats_url = ""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self.target = ground.target
        self.database_url = ground.database_url
        self.data_dir = ground.data_dir
        self.pids = ground.pids
        self.watch = ground.watch
        self.kill_engines = ground.kill_engines
        self.kill_nats = ground.kill_nats
