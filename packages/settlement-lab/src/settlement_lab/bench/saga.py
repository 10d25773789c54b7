"""The same settlement as a workflow of DBOS, which keeps its state in PostgreSQL, on the same server.

The workflow has five steps: accept, hold funds, send, end, announce. Three of them run the baseline's SQL
for one settlement; sending and announcing cost nothing, which is an advantage for DBOS. DBOS is optional
and nothing else needs it: without it this scenario is skipped.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit, urlunsplit

from settlement_engine.store.database import DatabaseSettings
from settlement_lab.baseline.server import Baseline
from settlement_lab.bench.histogram import Histogram
from settlement_lab.bench.limit import ACCOUNTS, make_batch
from settlement_lab.bench.workload import LoadSpread, Workload

if TYPE_CHECKING:
    from settlement_lab.baseline.server import BaselineRequest

PACKAGE: Final = "dbos"
DATABASE: Final = "dbos_bench"
CONNECTIONS: Final = 16
"""Connections that the steps of the workflow share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaFigures:
    """The result of the workflow with one number of settlements in flight."""

    in_flight: int
    per_second: float
    p50_ms: float


def missing() -> str:
    """Return why the workflow cannot be run; empty if it can."""
    if importlib.util.find_spec(PACKAGE) is None:
        return f"the package {PACKAGE} is not installed beside the engine"
    return ""


async def measure_sagas(
    database_url: str, in_flight: tuple[int, ...], seconds: float
) -> list[SagaFigures]:
    """Run workflows for ``seconds`` with each number in flight."""
    dbos: Any = importlib.import_module(PACKAGE).DBOS
    parts = urlsplit(database_url)
    config = {
        "name": DATABASE,
        "system_database_url": urlunsplit(parts._replace(path=f"/{DATABASE}")),
        "log_level": "ERROR",
    }
    baselines = [Baseline(DatabaseSettings(url=database_url)) for _ in range(CONNECTIONS)]
    dbos(config=config)
    try:
        await baselines[0].install(ACCOUNTS)
        settle = _saga(dbos, baselines)
        await asyncio.to_thread(dbos.launch)
        return [await _measure(settle, count, seconds) for count in in_flight]
    finally:
        await asyncio.to_thread(dbos.destroy)
        for baseline in baselines:
            await baseline.close()


def _saga(dbos: Any, baselines: list[Baseline]) -> Any:  # noqa: ANN401 - the package has no types here
    """Declare the workflow and its steps."""
    workload = Workload(LoadSpread.MANY, seed=7)
    known: dict[int, BaselineRequest] = {}

    async def accept(number: int) -> None:
        known[number] = make_batch(workload, 1)
        await baselines[number % CONNECTIONS].accept(known[number])

    async def lock(number: int) -> None:
        await baselines[number % CONNECTIONS].lock(known[number])

    async def send(_number: int) -> str:
        return "SETTLED"

    async def finish(number: int) -> None:
        await baselines[number % CONNECTIONS].finish(known.pop(number))

    async def announce(_number: int) -> None:
        return

    steps = [dbos.step()(step) for step in (accept, lock, send, finish, announce)]

    async def settle(number: int) -> None:
        for step in steps:
            await step(number)

    return dbos.workflow()(settle)


async def _measure(settle: Any, in_flight: int, seconds: float) -> SagaFigures:  # noqa: ANN401 - as above
    histogram = Histogram()
    began = time.monotonic()
    number = in_flight * 1_000_000  # so that no number is used twice

    async def caller() -> None:
        nonlocal number
        while (sent_at := time.monotonic()) - began < seconds:
            number += 1
            await settle(number)
            histogram.add(time.monotonic() - sent_at)

    await asyncio.gather(*(caller() for _ in range(in_flight)))
    return SagaFigures(
        in_flight=in_flight,
        per_second=histogram.count / (time.monotonic() - began),
        p50_ms=histogram.percentile_seconds(50) * 1_000,
    )
