"""Joining: an unfit database ends a start, but never an engine that was declared gone and joins again."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from settlement_engine.engine.presence import Presence
from settlement_engine.engine.settings import EngineSettings
from settlement_engine.errors import Misconfigured
from tests.support.stores import WallClock
from tests.unit.events.fakes import CountingMeter


class Registry:
    """Is unfit so often, then gives numbers; declares everybody gone once."""

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

    async def beat(self, owner: int, lease_seconds: float) -> bool:
        del lease_seconds
        return owner != self.gone

    async def leave(self, owner: int) -> None:
        """Nothing to give back."""


def presence(registry: Registry) -> Presence:
    settings = EngineSettings(heartbeat_seconds=0.01, retry_pause_seconds=0.01)
    return Presence(settings, registry, WallClock(), CountingMeter())


async def test_an_unfit_database_ends_a_start() -> None:
    registry = Registry()
    registry.unfit = 1
    with pytest.raises(Misconfigured, match="not safe for money"):
        await presence(registry).join()


async def test_an_engine_that_was_declared_gone_waits_for_a_fit_database() -> None:
    registry = Registry()
    made = presence(registry)
    await made.join()
    registry.unfit, registry.gone = 3, made.owner
    forgotten = asyncio.Event()
    task = asyncio.get_running_loop().create_task(made.run(forgotten.set))
    async with asyncio.timeout(10):
        await forgotten.wait()
        while made.owner == registry.gone:
            assert not task.done(), "the engine goes on"
            await asyncio.sleep(0.01)
    task.cancel()
    assert (made.owner, registry.unfit) == (2, 0)
