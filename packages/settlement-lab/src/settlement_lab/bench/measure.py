"""One measurement: it begins and ends while nothing is open, so that every count is exact and complete.

The time runs from the first call to the last final state: the time in which callers have stopped and the
engine still works counts as well. Costs are differences of exact counters, divided by settlements.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from settlement_engine.store.database import DatabaseSettings
from settlement_lab.baseline.server import ServerMeter
from settlement_lab.bench import processes
from settlement_lab.bench.clearing import bring_from_clearing
from settlement_lab.bench.load import Load, Tally, Way
from settlement_lab.bench.progress import LOOK_SECONDS, MOVES, following

if TYPE_CHECKING:
    from collections.abc import Mapping

    from settlement_lab.baseline.server import ServerCounters
    from settlement_lab.bench.callers import BenchCallers
    from settlement_lab.bench.ground import Ground
    from settlement_lab.bench.histogram import Histogram
    from settlement_lab.bench.processes import Pids, Spent
    from settlement_lab.bench.progress import Reached
    from settlement_lab.bench.workload import Workload

EXTERNAL_TIMEOUT_SECONDS: Final = 120.0
MICRO: Final = 1e6
MILLI: Final = 1e3
PERCENTS: Final = (50.0, 90.0, 99.0, 99.9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The result of one load. Rates are settlements per second, costs are per settlement.

    ``announced_per_second`` is 0 without NATS. ``latency_ms`` is from the call to its response: the final
    state for unary calls and streams, durability for batches; empty for clearing. ``end_ms`` is from the
    call to the final state, measured by the probes. ``open_most`` is the largest observed number of open
    settlements.
    """

    name: str
    spread: str
    seconds: float
    settlements: int
    refused: int
    faults: Mapping[str, int]
    accepted_per_second: float
    completed_per_second: float
    announced_per_second: float
    latency_ms: Mapping[str, float]
    end_ms: Mapping[str, float]
    open_most: int
    engine_us: float
    postgres_us: float
    nats_us: float
    client_us: float
    commits: float
    wal_bytes: float
    engine_peak_bytes: int
    limit_per_second: float = 0.0
    limit_us: float = 0.0

    @property
    def ratio(self) -> float:
        """The completed and announced rate as a share of the baseline's rate."""
        slowest = min(self.completed_per_second, self.announced_per_second or float("inf"))
        return slowest / self.limit_per_second if self.limit_per_second else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """All counters at one moment at which nothing is open."""

    at: float
    counters: ServerCounters
    used: Spent


async def measure(
    ground: Ground, callers: BenchCallers, load: Load, workload: Workload, seconds: float
) -> Figures:
    """Run a load for ``seconds`` and wait for all final states. Raises Unavailable when they do not come."""
    meter = ServerMeter(DatabaseSettings(url=ground.database_url))
    tally = Tally()
    is_bulk = load.way in (Way.BATCH, Way.CLEARING)
    try:
        async with following(meter, ground.nats_url, is_close=is_bulk) as progress:
            await progress.until_quiet(EXTERNAL_TIMEOUT_SECONDS)
            pids = ground.pids()
            processes.forget_peaks(pids)
            before = await _read(meter, pids)
            until = before.at + seconds
            if load.way is Way.CLEARING:
                await bring_from_clearing(ground.nats_url, load, workload, progress, until, tally)
                await _until_taken(meter, before.counters.position, tally)
            else:
                await callers.bring(load, workload, progress, until, tally)
            reached = await progress.until_quiet(EXTERNAL_TIMEOUT_SECONDS)
            after = await _read(meter, pids)
    finally:
        await meter.close()
    return _figures(load, tally, reached, before, after, processes.peak_bytes(pids))


async def _read(meter: ServerMeter, pids: Pids) -> _Reading:
    counters = await meter.read()
    return _Reading(at=time.monotonic(), counters=counters, used=processes.spent(pids))


def _figures(
    load: Load, tally: Tally, reached: Reached, before: _Reading, after: _Reading, peak_bytes: int
) -> Figures:
    """Make figures from the differences of two readings."""
    count = max(tally.accepted, 1)
    began = before.at
    transactions = after.counters.transactions - before.counters.transactions
    announced = count / (reached.announced_at - began) if reached.announced_at else 0.0
    return Figures(
        name=load.name,
        spread=load.spread,
        seconds=reached.ended_at - began,
        settlements=tally.accepted,
        refused=tally.refused,
        faults=dict(tally.faults),
        accepted_per_second=count / max(tally.accepted_at - began, 1 / MICRO),
        completed_per_second=count / (reached.ended_at - began),
        announced_per_second=announced,
        latency_ms=_latencies(tally.latencies),
        end_ms=_latencies(tally.ends),
        open_most=reached.open_most,
        engine_us=(after.used.engine - before.used.engine) / count * MICRO,
        postgres_us=(after.used.postgres - before.used.postgres) / count * MICRO,
        nats_us=(after.used.nats - before.used.nats) / count * MICRO,
        client_us=(after.used.client - before.used.client) / count * MICRO,
        commits=transactions / count,
        wal_bytes=(after.counters.wal_bytes - before.counters.wal_bytes) / count,
        engine_peak_bytes=peak_bytes,
    )


async def _until_taken(meter: ServerMeter, before: int, tally: Tally) -> None:
    """Wait until everything that clearing published has ended: it is not open before it is admitted."""
    deadline = time.monotonic() + EXTERNAL_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        if (await meter.read()).position - before >= MOVES * tally.accepted:
            break
        await asyncio.sleep(LOOK_SECONDS)
    tally.accepted_at = time.monotonic()


def _latencies(histogram: Histogram) -> dict[str, float]:
    if not histogram.count:
        return {}
    found = {f"p{percent:g}": histogram.percentile_seconds(percent) * MILLI for percent in PERCENTS}
    return {**found, "max": histogram.max_seconds * MILLI}
