"""The stress tests: what the further scenarios do with an installation, and what they require of it.

Each returns lines for people, figures for programs, and whether the requirement was met. The requirements
hold on any machine; rates are reported, not required.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from statistics import fmean
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from settlement_lab.bench.callers import CHANNELS, connected
from settlement_lab.bench.limit import measure_limit
from settlement_lab.bench.load import Load, Way
from settlement_lab.bench.measure import measure
from settlement_lab.bench.saga import measure_sagas
from settlement_lab.bench.scenarios import BULK_IN_FLIGHT, LIMIT_SECONDS, WARM_UP_SECONDS
from settlement_lab.bench.slow_readers import never_reading
from settlement_lab.bench.workload import LoadSpread, Workload

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence

    from settlement_lab.bench.callers import BenchCallers
    from settlement_lab.bench.ground import Ground
    from settlement_lab.bench.measure import Figures

MEGA: Final = 1024**2
MEMORY_BYTES_MAX: Final = 400 * MEGA
IN_FLIGHT_MANY: Final = 10_000
PEAK_SHARE_MIN: Final = 0.8
PROBES: Final = 8
WAITING_SURELY: Final = 6_000
"""With so many settlements in flight the engine refuses new ones, whatever its limit is."""

LATER_MAX: Final = 1.5
"""The allowed ratio between the time to the final state under overload and at peak load."""

SEED: Final = 7
SAGAS_IN_FLIGHT: Final = (1, 64)

BULK: Final = Load(name="batch", way=Way.BATCH, spread=LoadSpread.MANY, in_flight=BULK_IN_FLIGHT)


@dataclass(frozen=True, slots=True, kw_only=True)
class StressResult:
    """The result of a stress test."""

    name: str
    lines: Sequence[str] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)
    is_good: bool = True

    def document(self) -> dict[str, Any]:
        """Return the result as a JSON document."""
        return asdict(self)


StressTest: TypeAlias = "Callable[[Ground, float], Coroutine[Any, Any, StressResult]]"


@asynccontextmanager
async def warm(ground: Ground, channels: int = CHANNELS) -> AsyncIterator[BenchCallers]:
    """Connect to an installation that has its accounts and has already settled a little."""
    async with connected(ground.target, channels) as callers:
        await callers.open_accounts()
        await measure(ground, callers, BULK, Workload(LoadSpread.MANY, SEED), WARM_UP_SECONDS)
        yield callers


def line_of(found: Figures) -> str:
    """Describe the result of a load in one line."""
    latency = found.latency_ms
    end = found.end_ms
    ended = f" to the end p50 {end['p50']:,.0f} ms, p99 {end['p99']:,.0f} ms," if end else ""
    return (
        f"{found.name}: completed {found.completed_per_second:,.0f}/s,"
        f" announced {found.announced_per_second:,.0f}/s,"
        f" p50 {latency['p50']:,.0f} ms, p99 {latency['p99']:,.0f} ms,{ended}"
        f" {found.refused:,} refused, engine {found.engine_us:,.0f} µs,"
        f" PostgreSQL {found.postgres_us:,.0f} µs, peak {found.engine_peak_bytes / MEGA:,.0f} MB"
    )


async def overload(ground: Ground, seconds: float, times: float) -> StressResult:
    """Produce several times the load that the installation can carry, beside clients that never read.

    A few callers execute one settlement after the other, at peak load and under overload: accepted calls
    must be answered as quickly as at peak load. The peak is measured before and after, because other
    programs on the machine influence it.
    """
    probed = replace(BULK, name="peak before", probes=PROBES)
    async with warm(ground) as callers:
        before = await measure(
            ground, callers, probed, Workload(LoadSpread.MANY, SEED + 1), seconds
        )
        rate = before.completed_per_second * times
        load = replace(probed, name=f"at {times:g} times", rate=rate)
        filling = WAITING_SURELY / (rate - before.completed_per_second)
        async with never_reading(ground.target, Workload(LoadSpread.MANY, SEED + 2)):
            workload = Workload(LoadSpread.MANY, SEED + 3)
            over = await measure(ground, callers, load, workload, seconds + filling)
        again = replace(probed, name="peak after")
        after = await measure(ground, callers, again, Workload(LoadSpread.MANY, SEED + 4), seconds)
    return _overloaded(f"overload-{times:g}x", before, over, after)


def _overloaded(name: str, before: Figures, over: Figures, after: Figures) -> StressResult:
    """Compare the result of an overload with the peaks before and after it."""
    peaks = (before, after)
    share = over.completed_per_second / fmean(peak.completed_per_second for peak in peaks)
    ends = [peak.end_ms["p50"] for peak in peaks if peak.end_ms]
    later = over.end_ms["p50"] / fmean(ends) if over.end_ms and ends else 0.0
    is_small = over.engine_peak_bytes < MEMORY_BYTES_MAX
    said = (
        f"accepted calls took {later:.2f} times as long to their end; {over.refused:,} were"
        " refused, all with a retry delay"
        if not over.faults
        else f"faults: {dict(over.faults)}"
    )
    return StressResult(
        name=name,
        lines=[*map(line_of, (before, over, after)), f"{share:.2f} of the peak; {said}"],
        figures={
            "before": asdict(before),
            "over": asdict(over),
            "after": asdict(after),
            "share": share,
            "later": later,
        },
        is_good=(
            share >= PEAK_SHARE_MIN
            and 0 < later <= LATER_MAX
            and is_small
            and over.refused > 0
            and not over.faults
        ),
    )


async def slow_rail(ground: Ground, seconds: float) -> StressResult:
    """Settle over a slow rail, with ten thousand settlements in flight."""
    load = replace(BULK, name="10,000 in flight", in_flight=IN_FLIGHT_MANY)
    async with warm(ground) as callers:
        found = await measure(ground, callers, load, Workload(LoadSpread.MANY, SEED + 1), seconds)
    limit = await measure_limit(ground, LoadSpread.MANY, load.limit_batch, LIMIT_SECONDS)
    found = replace(found, limit_per_second=limit.per_second, limit_us=limit.cpu_us)
    return StressResult(
        name="slow-rail",
        lines=[line_of(found), f"{found.open_most:,} open at once, {found.ratio:.2f} of the limit"],
        figures=asdict(found),
        is_good=found.engine_peak_bytes < MEMORY_BYTES_MAX and not found.faults,
    )


async def engines(ground: Ground, seconds: float) -> StressResult:
    """Divide the work between several engines."""
    count = len(ground.pids().engines)
    async with warm(ground, CHANNELS * count) as callers:
        load = replace(BULK, name=f"{count} engines", in_flight=BULK_IN_FLIGHT * count)
        found = await measure(ground, callers, load, Workload(LoadSpread.MANY, SEED + 1), seconds)
    return StressResult(
        name=f"engines-{count}",
        lines=[line_of(found)],
        figures=asdict(found),
        is_good=not found.faults,
    )


async def beside_dbos(ground: Ground, seconds: float) -> StressResult:
    """Settle in batches, and as workflows of DBOS on the same server."""
    async with warm(ground) as callers:
        found = await measure(ground, callers, BULK, Workload(LoadSpread.MANY, SEED + 1), seconds)
    sagas = await measure_sagas(ground.database_url, SAGAS_IN_FLIGHT, seconds)
    best = max(saga.per_second for saga in sagas)
    times = found.completed_per_second / best
    return StressResult(
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
