"""The scenarios of the main table by name, and the run over them.

A scenario is a load with a distribution over accounts. All of the main table share one installation. Each
of the further ones needs an installation of its own kind and is defined in ``trials``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from settlement_lab.bench.callers import connected
from settlement_lab.bench.limit import Limit, measure_limit
from settlement_lab.bench.load import BATCH_ITEMS, Load, Way
from settlement_lab.bench.measure import Figures, measure
from settlement_lab.bench.workload import MIXED, LoadSpread, Workload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from settlement_lab.bench.ground import Ground

BULK_IN_FLIGHT: Final = 8 * BATCH_ITEMS
STREAM_IN_FLIGHT: Final = 2_000
WARM_UP_SECONDS: Final = 1.0
LIMIT_SECONDS: Final = 2.0
HALF: Final = 0.5

LOADS: Final[dict[str, tuple[Way, int]]] = {
    "alone": (Way.UNARY, 1),
    "unary-16": (Way.UNARY, 16),
    "unary-64": (Way.UNARY, 64),
    "unary-256": (Way.UNARY, 256),
    "batch": (Way.BATCH, BULK_IN_FLIGHT),
    "stream": (Way.STREAM, STREAM_IN_FLIGHT),
    "clearing": (Way.CLEARING, BULK_IN_FLIGHT),
}
OPEN: Final = {"unary-half": ("unary-256", Way.UNARY), "batch-half": ("batch", Way.BATCH)}
"""Open loops, at half of the rate that the closed loop with the other name had just before."""

MIXED_NAME: Final = "mixed"
ABOUT: Final = {
    "alone": "one call at a time",
    "unary-16": "16 calls at a time, each waits for its settlement's end",
    "unary-64": "64 of them",
    "unary-256": "256 of them",
    "batch": f"SubmitSettlements, {BATCH_ITEMS} a call, {BULK_IN_FLIGHT:,} in flight",
    "stream": f"ExecuteSettlements, {STREAM_IN_FLIGHT:,} in flight",
    "clearing": "instructions from NATS",
    "unary-half": "an open loop at half of what unary-256 carried",
    "batch-half": "an open loop at half of what batch carried",
    MIXED_NAME: "a stream with 5 % rejections, 1 % in doubt, 1 % sent twice",
}
MAIN: Final = tuple(ABOUT)
QUICK: Final = ("alone", "unary-64", "unary-256", "batch", "stream", "clearing", "batch-half")
OPEN_BATCH_ITEMS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasurementPlan:
    """Which scenarios are measured, and how long each."""

    names: Sequence[str]
    spreads: Sequence[LoadSpread]
    seconds: float
    seed: int = 7

    def loads(self) -> Iterator[Load]:
        """Return the loads in order; the rate of an open loop is set when it is known."""
        for spread in self.spreads:
            for name in self.names:
                if name in LOADS:
                    way, in_flight = LOADS[name]
                    yield Load(name=name, way=way, spread=spread, in_flight=in_flight)
                elif name in OPEN:
                    way = OPEN[name][1]
                    yield Load(
                        name=name,
                        way=way,
                        spread=spread,
                        in_flight=BULK_IN_FLIGHT,
                        batch_items=OPEN_BATCH_ITEMS,
                    )
                elif name == MIXED_NAME:
                    yield Load(name=name, way=Way.STREAM, spread=spread, in_flight=STREAM_IN_FLIGHT)


class Table:
    """The figures of the main table, with the limit beside each."""

    def __init__(
        self, ground: Ground, plan: MeasurementPlan, tell: Callable[[Figures], None]
    ) -> None:
        self._ground = ground
        self._plan = plan
        self._tell = tell
        self.limits: dict[tuple[str, int], Limit] = {}
        self.rows: list[Figures] = []

    async def run(self, channels: int) -> None:
        """Measure every scenario."""
        async with connected(self._ground.target, channels) as callers:
            await callers.open_accounts()
            warm_up = Load(
                name="warm-up", way=Way.BATCH, spread=LoadSpread.MANY, in_flight=BULK_IN_FLIGHT
            )
            workload = Workload(LoadSpread.MANY, self._plan.seed)
            await measure(self._ground, callers, warm_up, workload, WARM_UP_SECONDS)
            for number, load in enumerate(self._plan.loads(), start=1):
                scripts = MIXED if load.name == MIXED_NAME else None
                workload = Workload(load.spread, self._plan.seed + number, scripts)
                paced = replace(load, rate=self._rate(load))
                found = await measure(self._ground, callers, paced, workload, self._plan.seconds)
                limit = await self._limit(load)
                row = replace(found, limit_per_second=limit.per_second, limit_us=limit.cpu_us)
                self.rows.append(row)
                self._tell(row)

    def _rate(self, load: Load) -> float:
        if load.name not in OPEN:
            return 0.0
        closed = OPEN[load.name][0]
        found = [row for row in self.rows if row.name == closed and row.spread == load.spread]
        return found[-1].completed_per_second * HALF if found else BATCH_ITEMS

    async def _limit(self, load: Load) -> Limit:
        key = load.spread, load.limit_batch
        if key not in self.limits:
            seconds = min(LIMIT_SECONDS, self._plan.seconds)
            self.limits[key] = await measure_limit(self._ground, *key, seconds)
        return self.limits[key]
