"""The long scenarios: the same load while the history grows, and for a long time."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Final

from settlement_engine.store.database import DatabaseSettings
from settlement_lab.baseline.server import ServerMeter
from settlement_lab.bench import processes
from settlement_lab.bench.measure import measure
from settlement_lab.bench.progress import MOVES
from settlement_lab.bench.scenarios import HALF, WARM_UP_SECONDS
from settlement_lab.bench.stress import BULK, MEGA, SEED, StressResult, line_of, warm
from settlement_lab.bench.workload import LoadSpread, Workload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from settlement_lab.bench.callers import BenchCallers
    from settlement_lab.bench.ground import Ground
    from settlement_lab.bench.load import Load
    from settlement_lab.bench.measure import Figures

GROWTH_MAX: Final = 1.2
SOAK_PARTS: Final = 10
SOAK_GROWTH_MAX: Final = 1.25


async def growth(ground: Ground, seconds: float, histories: Sequence[int]) -> StressResult:
    """Settle the same load with histories of increasing length."""
    smallest = histories[0]
    rows: list[Figures] = []
    meter = ServerMeter(DatabaseSettings(url=ground.database_url))
    try:
        async with warm(ground) as callers:
            settled = (await meter.read()).position // MOVES
            while settled < smallest:
                filling = replace(BULK, name="filling")
                workload = Workload(LoadSpread.MANY, SEED + settled)
                settled += (await measure(ground, callers, filling, workload, 1.0)).settlements
            for history in histories:
                copies = history // settled - 1
                if copies > 0:
                    await meter.multiply_history(copies)
                    settled *= copies + 1
                load = replace(BULK, name=f"{settled:,} settlements")
                found = await _twice(ground, callers, load, SEED + history, seconds)
                settled += sum(each.settlements for each in found)
                rows.append(found[-1])
            size = await meter.size()
    finally:
        await meter.close()
    cost = [row.engine_us + row.postgres_us for row in rows]
    ratio = cost[-1] / cost[0]
    return StressResult(
        name="growth",
        lines=[
            *(f"{line_of(row)}, WAL {row.wal_bytes / 1024:.1f} kB" for row in rows),
            (
                f"{ratio:.2f} times the cost at the end; {size.database_bytes / MEGA:,.0f} MB on disk,"
                f" {size.bounded_bytes / MEGA:,.0f} of them in tables that must not grow"
            ),
        ],
        figures={"rows": [asdict(row) for row in rows], "ratio": ratio, "size": asdict(size)},
        is_good=ratio <= GROWTH_MAX,
    )


async def _twice(
    ground: Ground, callers: BenchCallers, load: Load, seed: int, seconds: float
) -> list[Figures]:
    """Measure a load twice and return the second result.

    After a checkpoint, the first write to a database block writes the block as a whole. Normally this
    happens once in several minutes, but a history that was made at once has just had its checkpoint.
    """
    found: list[Figures] = []
    for number in range(2):
        workload = Workload(LoadSpread.MANY, seed + number)
        found.append(await measure(ground, callers, load, workload, seconds))
    return found


async def soak(ground: Ground, seconds: float) -> StressResult:
    """Settle at half of the capacity for a long time; only the history may grow."""
    parts: list[Figures] = []
    memory: list[int] = []
    bounded: list[int] = []
    meter = ServerMeter(DatabaseSettings(url=ground.database_url))
    try:
        async with warm(ground) as callers:
            peak = await measure(
                ground, callers, BULK, Workload(LoadSpread.MANY, SEED), WARM_UP_SECONDS
            )
            rate = peak.completed_per_second * HALF
            load = replace(BULK, name="soak", rate=rate, batch_items=100)
            for number in range(1, SOAK_PARTS + 1):
                workload = Workload(LoadSpread.MANY, SEED + number)
                found = await measure(ground, callers, load, workload, seconds / SOAK_PARTS)
                parts.append(replace(found, name=f"part {number}"))
                memory.append(processes.resident_bytes(ground.pids()))
                bounded.append((await meter.size()).bounded_bytes)
    finally:
        await meter.close()
    middle = SOAK_PARTS // 2
    grown = {
        "memory": memory[-1] / memory[middle],
        "tables": bounded[-1] / bounded[middle],
        "p50": parts[-1].latency_ms["p50"] / parts[middle].latency_ms["p50"],
    }
    said = ", ".join(f"{name} {share:.2f}" for name, share in grown.items())
    return StressResult(
        name="soak",
        lines=[*(line_of(part) for part in parts), f"the end, as a multiple of the middle: {said}"],
        figures={
            "parts": [asdict(part) for part in parts],
            "memory_bytes": memory,
            "bounded_bytes": bounded,
            "grown": grown,
        },
        is_good=all(share <= SOAK_GROWTH_MAX for share in grown.values()),
    )
