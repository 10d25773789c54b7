"""What the further scenarios do on an installation, and what they demand of it.

Each returns an ``Outcome``: lines for people, figures for programs, and whether the demand was met. The
demands are those that hold on any machine; rates are reported, not demanded.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from settlement_engine.bench.callers import CHANNELS, connected
from settlement_engine.bench.load import Load, Way
from settlement_engine.bench.measure import measure
from settlement_engine.bench.progress import STREAM, following
from settlement_engine.bench.saga import measure_sagas
from settlement_engine.bench.scenarios import BULK_IN_FLIGHT, WARM_UP_SECONDS
from settlement_engine.bench.wishes import Spread, Wishes
from settlement_engine.store.database import DatabaseSettings
from settlement_engine.store.yardstick import ServerMeter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence

    from settlement_engine.bench.callers import Callers
    from settlement_engine.bench.ground import Ground
    from settlement_engine.bench.measure import Figures
    from settlement_engine.store.yardstick import ServerCounters

MEGA: Final = 1024**2
MEMORY_BYTES_MAX: Final = 400 * MEGA
IN_FLIGHT_MANY: Final = 10_000
PEAK_SHARE_MIN: Final = 0.8
RECOVERED_SECONDS_MAX: Final = 3.0
RECOVERY_PATIENCE_SECONDS: Final = 60.0
WATCH_SECONDS: Final = 0.02
SEED: Final = 7
SAGAS_IN_FLIGHT: Final = (1, 64)

BULK: Final = Load(name="batch", way=Way.BATCH, spread=Spread.MANY, in_flight=BULK_IN_FLIGHT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of it."""

    name: str
    lines: Sequence[str] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)
    is_good: bool = True

    def document(self) -> dict[str, Any]:
        """Say it for programs."""
        return asdict(self)


Ordeal: TypeAlias = "Callable[[Ground, float], Coroutine[Any, Any, Outcome]]"


@asynccontextmanager
async def warm(ground: Ground, channels: int = CHANNELS) -> AsyncIterator[Callers]:
    """Be connected to an installation with its accounts, which has settled a little."""
    async with connected(ground.target, channels) as callers:
        await callers.open_accounts()
        await measure(ground, callers, BULK, Wishes(Spread.MANY, SEED), WARM_UP_SECONDS)
        yield callers


def line_of(found: Figures) -> str:
    """Say in a line what a load came to."""
    latency = found.latency_ms
    return (
        f"{found.name}: completed {found.completed_per_second:,.0f}/s,"
        f" announced {found.announced_per_second:,.0f}/s,"
        f" p50 {latency['p50']:,.0f} ms, p99 {latency['p99']:,.0f} ms,"
        f" {found.refused:,} refused, engine {found.engine_us:,.0f} µs,"
        f" PostgreSQL {found.postgres_us:,.0f} µs, peak {found.engine_peak_bytes / MEGA:,.0f} MB"
    )


async def overload(ground: Ground, seconds: float, times: float) -> Outcome:
    """Bring several times what it can carry, while others never read what they asked for."""
    async with warm(ground) as callers:
        peak = await measure(ground, callers, BULK, Wishes(Spread.MANY, SEED + 1), seconds)
        rate = peak.completed_per_second * times
        load = replace(BULK, name=f"at {times:g} times", rate=rate)
        async with callers.never_reading():
            over = await measure(ground, callers, load, Wishes(Spread.MANY, SEED + 2), seconds)
    share = over.completed_per_second / peak.completed_per_second
    is_small = over.engine_peak_bytes < MEMORY_BYTES_MAX
    return Outcome(
        name=f"overload-{times:g}x",
        lines=[line_of(replace(peak, name="peak")), line_of(over), f"{share:.2f} of the peak"],
        figures={"peak": asdict(peak), "over": asdict(over), "share": share},
        is_good=share >= PEAK_SHARE_MIN and is_small and not over.faults,
    )


async def slow_rail(ground: Ground, seconds: float) -> Outcome:
    """Settle over a rail that takes half a second, with ten thousand in flight."""
    load = replace(BULK, name="10,000 in flight", in_flight=IN_FLIGHT_MANY)
    async with warm(ground) as callers:
        found = await measure(ground, callers, load, Wishes(Spread.MANY, SEED + 1), seconds)
    return Outcome(
        name="slow-rail",
        lines=[line_of(found)],
        figures=asdict(found),
        is_good=found.engine_peak_bytes < MEMORY_BYTES_MAX and not found.faults,
    )


async def engines(ground: Ground, seconds: float) -> Outcome:
    """Share the work between engines."""
    count = len(ground.pids().engines)
    async with warm(ground, CHANNELS * count) as callers:
        load = replace(BULK, name=f"{count} engines", in_flight=BULK_IN_FLIGHT * count)
        found = await measure(ground, callers, load, Wishes(Spread.MANY, SEED + 1), seconds)
    return Outcome(
        name=f"engines-{count}",
        lines=[line_of(found)],
        figures=asdict(found),
        is_good=not found.faults,
    )


async def beside_dbos(ground: Ground, seconds: float) -> Outcome:
    """Settle in batches, and as sagas of DBOS on the same server."""
    async with warm(ground) as callers:
        found = await measure(ground, callers, BULK, Wishes(Spread.MANY, SEED + 1), seconds)
    sagas = await measure_sagas(ground.database_url, SAGAS_IN_FLIGHT, seconds)
    best = max(saga.per_second for saga in sagas)
    times = found.completed_per_second / best
    return Outcome(
        name="dbos",
        lines=[
            line_of(found),
            *(
                f"DBOS, {saga.in_flight} in flight: {saga.per_second:,.1f}/s, p50 {saga.p50_ms:,.0f} ms"
                for saga in sagas
            ),
            f"{times:,.0f} times as many",
        ],
        figures={
            "engine": asdict(found),
            "sagas": [asdict(saga) for saga in sagas],
            "times": times,
        },
        is_good=not found.faults,
    )


async def recovery(ground: Ground, _seconds: float) -> Outcome:
    """Kill every engine with -9 while ten thousand wait for the rail; time until all are asked about.

    The rail answers after long, so that all of them are open; whoever takes one over records that it
    heard nothing (a move), and asks.
    """
    meter = ServerMeter(DatabaseSettings(url=ground.database_url))
    try:
        async with connected(ground.target) as callers:
            await callers.open_accounts()
            await callers.submit_many(Wishes(Spread.MANY, SEED).many(IN_FLIGHT_MANY))
        before = await _until_still(meter)
        count = before.open_settlements
        began = time.monotonic()
        ground.kill_engines()
        first, asked = await _until_asked(ground, meter, before, began)
    finally:
        await meter.close()
    took = asked - first
    return Outcome(
        name="recovery",
        lines=[
            f"{count:,} open when the engine was killed; its successor took over the first"
            f" after {first:.2f} s and had asked about all after {asked:.2f} s"
            if asked
            else "not all were asked about"
        ],
        figures={
            "open": count,
            "first_seconds": first,
            "asked_seconds": asked,
            "took_seconds": took,
        },
        is_good=count >= IN_FLIGHT_MANY and asked > 0 and took <= RECOVERED_SECONDS_MAX,
    )


async def _until_asked(
    ground: Ground, meter: ServerMeter, before: ServerCounters, began: float
) -> tuple[float, float]:
    """Wait until every open settlement has moved; return after how long the first had, and the last."""
    first = 0.0
    while (now := time.monotonic() - began) < RECOVERY_PATIENCE_SECONDS:
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
    deadline = time.monotonic() + RECOVERY_PATIENCE_SECONDS
    while time.monotonic() < deadline:
        counters = await meter.read()
        # Every one that is at the rail has made two moves: accepted, locked.
        if counters.position >= 2 * counters.open_settlements >= 2 * IN_FLIGHT_MANY:
            return counters
        await asyncio.sleep(WATCH_SECONDS)
    return await meter.read()


async def nats_down(ground: Ground, seconds: float) -> Outcome:
    """Take NATS away for a while: settling goes on, and what was missed is announced afterwards."""
    async with warm(ground) as callers:
        before = await measure(ground, callers, BULK, Wishes(Spread.MANY, SEED + 1), seconds)
        ground.kill_nats()
        blind = _Blind(ground)
        without = await measure(blind, callers, BULK, Wishes(Spread.MANY, SEED + 2), seconds)
    began = time.monotonic()
    ground.watch()
    meter = ServerMeter(DatabaseSettings(url=ground.database_url))
    try:
        async with following(meter, ground.nats_url) as progress:
            reached = await progress.until_quiet(RECOVERY_PATIENCE_SECONDS * 5)
    finally:
        await meter.close()
    caught_up_seconds = reached.announced_at - began
    share = without.completed_per_second / before.completed_per_second
    return Outcome(
        name="nats-down",
        lines=[
            line_of(replace(before, name="with NATS")),
            line_of(replace(without, name="without")),
            (
                f"{share:.2f} of the rate without NATS; {without.settlements:,} settlements announced"
                f" {caught_up_seconds:.1f} s after it came back ({STREAM})"
            ),
        ],
        figures={
            "with": asdict(before),
            "without": asdict(without),
            "share": share,
            "caught_up_seconds": caught_up_seconds,
        },
        is_good=share >= PEAK_SHARE_MIN and not without.faults,
    )


class _Blind:
    """An installation whose NATS is not to be asked."""

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
