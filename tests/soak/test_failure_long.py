"""The long forms of the failure suite: every kill point, many seeds of bad lines, larger loads."""

from __future__ import annotations

import asyncio
import random

import pytest

from tests.failure.load import LoadTown, LossyBank, LossyLine
from tests.failure.test_bad_lines import engines_of, storm
from tests.failure.test_killed_at_a_row import REACHED, check, die_at, leave_behind, live

pytestmark = pytest.mark.timeout(900)

SEEDS = 8
COUNT = 600
LOSS = 0.25


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("state", "event"), REACHED, ids=lambda word: word.value)
async def test_an_engine_dies_at_each_row(database_url, tmp_path, state, event, when):
    """Before the commit and after it; each time another engine brings everything to its end."""
    town = await LoadTown(database_url).open()
    try:
        scripts = await leave_behind(town)
        book = tmp_path / "bank.sqlite"
        await die_at(town, book, state, event, when)
        await live(town, book)
        await check(town, book, scripts)
    finally:
        await town.close()


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_everything_is_lost_now_and_then(database_url, seed):
    """Two engines on lossy lines with a lossy bank, and a storm of resets over one of them."""
    chance = random.Random(seed)
    town = await LoadTown(database_url).open()
    bank = LossyBank(chance, LOSS)
    line = LossyLine(chance, LOSS / 2)
    try:
        async with engines_of(town, bank, 2, watch=line) as engines:
            await asyncio.gather(town.submit(engines, COUNT), storm(engines[0].proxy))
            await town.until_ended(engines)
        await town.check(bank, COUNT)
        assert len(bank.troubles) > 1
        assert line.hits
    finally:
        await town.close()
