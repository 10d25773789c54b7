"""The long forms of the failure suite: every kill point, many seeds of network faults, larger loads."""

from __future__ import annotations

import asyncio
import random

import pytest

from tests.failure.load import LoadTown, LossyBank, LossyLine
from tests.failure.test_bad_connections import engines_of, repeated_resets
from tests.failure.test_killed_at_a_transition import REACHED, check, finish, kill_at, leave_behind

pytestmark = pytest.mark.timeout(900)

SEEDS = 8
COUNT = 600
LOSS = 0.25


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("state", "event"), REACHED, ids=lambda word: word.value)
async def test_an_engine_is_killed_at_each_transition(database_url, tmp_path, state, event, when):
    """Before the commit and after it; each time another engine brings everything to its end."""
    cluster = await LoadTown(database_url).open()
    try:
        scripts = await leave_behind(cluster)
        book = tmp_path / "bank.sqlite"
        await kill_at(cluster, book, state, event, when)
        await finish(cluster, book)
        await check(cluster, book, scripts)
    finally:
        await cluster.close()


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_random_losses_on_all_connections_lose_and_duplicate_nothing(database_url, seed):
    """Two engines with lossy connections and a lossy bank, and frequent resets of one of them."""
    chance = random.Random(seed)
    cluster = await LoadTown(database_url).open()
    bank = LossyBank(chance, LOSS)
    line = LossyLine(chance, LOSS / 2)
    try:
        async with engines_of(cluster, bank, 2, watch=line) as engines:
            await asyncio.gather(cluster.submit(engines, COUNT), repeated_resets(engines[0].proxy))
            await cluster.until_ended(engines)
        await cluster.check(bank, COUNT)
        assert len(bank.troubles) > 1
        assert line.hits
    finally:
        await cluster.close()
