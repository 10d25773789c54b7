"""An engine uses the database's time from its start on; its own clock may be wrong by hours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from settlement_engine.engine.lease import EngineLease
from settlement_engine.engine.settings import EngineSettings
from settlement_lab.memory import MemoryRegistry, Records
from tests.unit.engine.engine_world import Tally

HOUR = timedelta(hours=1)


class FixedClock:
    def __init__(self, at: datetime) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at


@pytest.mark.parametrize("skew", [-2 * HOUR, 2 * HOUR])
async def test_an_engine_knows_the_databases_time_before_it_decides_anything(skew):
    # Found by the simulation (world 91): a new engine decided about its first claims by its own clock.
    time = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
    registry = MemoryRegistry(Records(clock=FixedClock(time)))
    lease = EngineLease(EngineSettings(), registry, FixedClock(time + skew), Tally())
    await lease.join()
    assert timedelta(0) <= lease.now() - time < timedelta(minutes=1)
