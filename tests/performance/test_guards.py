"""What makes the engine fast, as counts and ratios that hold on any machine.

One short run of the bench on an installation of its own, next to the limit in the same run. A rate would
say something about the machine and its neighbours; commits, bytes and round trips say something about us.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from settlement_engine.bench.callers import connected
from settlement_engine.bench.limit import Limit, measure_limit
from settlement_engine.bench.load import BATCH_ITEMS, Load, Way
from settlement_engine.bench.measure import Figures, measure
from settlement_engine.bench.wishes import Spread, Wishes
from settlement_engine.cli.bench.ground import started
from settlement_engine.domain.lifecycle import Event
from settlement_engine.ports import Result
from settlement_engine.store.database import DatabaseSettings, Line
from settlement_engine.store.yardstick import ServerMeter
from tests.support.lives import Scene
from tests.support.stores import PostgresStores

if TYPE_CHECKING:
    from collections.abc import Iterator

    from settlement_engine.bench.ground import Ground

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

COMMITS_MAX = 0.1
WAL_BYTES_MAX = 6 * 1024
CPU_TIMES_THE_LIMIT_MAX = 9.0
"""What engine and PostgreSQL spend on a settlement, as a multiple of the least durable SQL."""

HOT_TIMES_MANY_MAX = 1.3
PEAK_BYTES_MAX = 400 * 1024**2
OTHERS_COMMITS_MAX = 10
"""The server counts for all of its databases, and cleans them up by itself now and then."""

IN_FLIGHT = 4 * BATCH_ITEMS
SECONDS = 2.0
LIMIT_SECONDS = 1.0


class Found(NamedTuple):
    """What the run came to."""

    many: Figures
    hot: Figures
    limit: Limit


@pytest.fixture(scope="module")
def found() -> Iterator[Found]:
    """One run for all."""
    place = Path(tempfile.mkdtemp(prefix="performance-"))
    try:
        with started(place / "installation", tell=lambda _: None) as ground:
            yield asyncio.run(run(ground))
    finally:
        shutil.rmtree(place, ignore_errors=True)


async def run(ground: Ground) -> Found:
    async with connected(ground.target) as callers:
        await callers.open_accounts()
        figures: list[Figures] = []
        for spread in (Spread.MANY, Spread.MANY, Spread.HOT):  # the first one warms up
            load = Load(name="batch", way=Way.BATCH, spread=spread, in_flight=IN_FLIGHT)
            wishes = Wishes(spread, seed=len(figures))
            figures.append(await measure(ground, callers, load, wishes, SECONDS))
    limit = await measure_limit(ground, Spread.MANY, BATCH_ITEMS, LIMIT_SECONDS)
    _, many, hot = figures
    return Found(many=many, hot=hot, limit=limit)


def test_everything_that_was_accepted_was_completed_and_announced(found: Found):
    for figures in (found.many, found.hot):
        assert figures.settlements >= IN_FLIGHT
        assert not figures.faults
        assert figures.announced_per_second > 0


def test_a_commit_is_shared_by_many(found: Found):
    assert found.many.commits <= COMMITS_MAX
    assert found.hot.commits <= COMMITS_MAX


def test_a_settlement_writes_little_to_the_log(found: Found):
    assert found.many.wal_bytes <= WAL_BYTES_MAX
    assert found.hot.wal_bytes <= WAL_BYTES_MAX


def test_a_settlement_costs_a_bounded_multiple_of_its_least_sql(found: Found):
    cost = found.many.engine_us + found.many.postgres_us
    assert cost <= found.limit.cpu_us * CPU_TIMES_THE_LIMIT_MAX


def test_a_hot_account_costs_no_more(found: Found):
    hot = found.hot.engine_us + found.hot.postgres_us
    assert hot <= (found.many.engine_us + found.many.postgres_us) * HOT_TIMES_MANY_MAX


def test_the_engine_stays_small(found: Found):
    assert found.many.engine_peak_bytes <= PEAK_BYTES_MAX


async def test_a_batch_is_one_round_trip_however_large(
    database_url: str, monkeypatch: pytest.MonkeyPatch
):
    calls: list[str] = []
    fetchrow = Line.fetchrow

    async def counted(line: Line, name: str, *arguments: object) -> object:
        calls.append(name)
        return await fetchrow(line, name, *arguments)

    stores = PostgresStores(database_url)
    meter = ServerMeter(DatabaseSettings(url=database_url))
    try:
        scene = await Scene.open(stores)
        batch = [scene.admission() for _ in range(BATCH_ITEMS)]
        monkeypatch.setattr(Line, "fetchrow", counted)
        before = (await meter.read()).transactions
        await stores.settlements.admit(batch, scene.owner)
        found = await stores.settlements.load([each.settlement_id for each in batch])
        for event in (Event.CLEARED, Event.SETTLED):
            steps = [scene.step(settlement, event) for settlement in found.values()]
            outcomes = await scene.apply(*steps)
            assert {outcome.result for outcome in outcomes} == {Result.APPLIED}
            found = await stores.settlements.load(list(found))
        assert calls == ["admit", "apply", "apply"]
        written = (await meter.read()).transactions - before
        assert written <= len(calls) + OTHERS_COMMITS_MAX
    finally:
        await meter.close()
        await stores.close()
