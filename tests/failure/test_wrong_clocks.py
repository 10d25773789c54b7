"""Clocks that are two hours wrong, and jump: the database's clock decides, so they have no effect.

Two engines, one ahead and one behind, both jumping, share a load, and one is killed in the middle of it.
"""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta

from tests.failure.load import LoadTown, LossyBank
from tests.support.frailengine import FrailEngine

COUNT = 120
LOSS = 0.2
HOURS = (2, -2)


class WrongClock:
    """A clock that is wrong by hours, and sometimes jumps as far again."""

    def __init__(self, hours: int, chance: random.Random) -> None:
        self._off = timedelta(hours=hours)
        self._chance = chance

    def now(self) -> datetime:
        jump = self._chance.choice((-1, 0, 0, 1)) * self._off
        return datetime.now(UTC) + self._off + jump


async def test_wrong_and_jumping_clocks_change_nothing(database_url):
    chance = random.Random(2)
    cluster = await LoadTown(database_url).open()
    bank = LossyBank(chance, LOSS)
    engines = []
    for hours in HOURS:
        clock = WrongClock(hours, chance)
        engine = FrailEngine(cluster.url, bank, clock=clock, has_real_windows=False)
        engines.append(await engine.start())
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(cluster.submit(engines, COUNT))
            while len(cluster.accepted) < COUNT // 2:  # noqa: ASYNC110 - progress cannot be awaited
                await asyncio.sleep(0.005)
            engines[0].die()
        await cluster.until_ended(engines[1:])
    finally:
        for engine in engines:
            await engine.keep_dead_letter()
    announced = await cluster.check(bank, COUNT)
    now = datetime.now(UTC)
    assert all(abs(now - each.moved.at) < timedelta(hours=1) for each in announced), (
        "the database's time"
    )
    await cluster.close()
