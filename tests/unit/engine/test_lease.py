"""The lease: an unfit database ends a start, but not an engine that was declared gone and joins again."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from settlement_engine.engine.lease import EngineLease
from settlement_engine.engine.settings import EngineSettings
from settlement_engine.errors import Misconfigured
from tests.support.stores import WallClock
from tests.unit.events.fakes import CountingMeter


class Registry:
    """Is unfit a number of times, then gives engine ids; declares the engine gone once."""

    def __init__(self) -> None:
        self.unfit = 0
        self.numbers = 0
        self.gone = 0

    async def now(self) -> datetime:
        return datetime.now(UTC)

    async def join(self, lease_seconds: float) -> int:
        del lease_seconds
        if self.unfit:
            self.unfit -= 1
            what = "this PostgreSQL server is not safe for money"
            raise Misconfigured(what, why="fsync is off")
        self.numbers += 1
        return self.numbers

    async def renew(self, engine_id: int, lease_seconds: float) -> bool:
        del lease_seconds
        return engine_id != self.gone

    async def leave(self, engine_id: int) -> None:
        """Do nothing."""


def lease(registry: Registry) -> EngineLease:
    settings = EngineSettings(heartbeat_seconds=0.01, retry_pause_seconds=0.01)
    return EngineLease(settings, registry, WallClock(), CountingMeter())


async def test_an_unfit_database_ends_a_start() -> None:
    registry = Registry()
    registry.unfit = 1
    with pytest.raises(Misconfigured, match="not safe for money"):
        await lease(registry).join()


async def test_an_engine_that_was_declared_gone_waits_for_a_fit_database() -> None:
    registry = Registry()
    made = lease(registry)
    await made.join()
    registry.unfit, registry.gone = 3, made.engine_id
    forgotten = asyncio.Event()
    task = asyncio.get_running_loop().create_task(made.run(forgotten.set))
    async with asyncio.timeout(10):
        await forgotten.wait()
        while made.engine_id == registry.gone:
            assert not task.done(), "the engine goes on"
            await asyncio.sleep(0.01)
    task.cancel()
    assert (made.engine_id, registry.unfit) == (2, 0)
