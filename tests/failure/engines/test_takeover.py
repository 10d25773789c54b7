"""Two engines on one database, as real processes: killed and frozen, under load.

The long forms, which measure, are in ``tests/soak/test_takeover.py``.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from settlement_engine.config import Config
from tests.support.soak_checks import bank_differences
from tests.support.soak_installation import Installation
from tests.support.soak_load import Load
from tests.support.takeover import percentiles, strike, until_carrying

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.kill

KILLS = 2
FREEZES = 1
LEASE_SECONDS = Config().engine.lease_seconds
SLACK_SECONDS = 1.0
"""A crowded machine may be late by that much; the figures are measured elsewhere."""

QUICK = ("settle", "lost_answer")


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Two engines, PostgreSQL and NATS."""
    with Installation(tmp_path_factory.mktemp("takeover"), engines=2) as running:
        yield running


@pytest.fixture
def load(installation: Installation) -> Iterator[Load]:
    """Callers of both; afterwards everything has ended, and the bank and the books agree."""
    callers = Load(installation.targets, seed=5, scripts=QUICK)
    yield callers
    callers.stop()
    assert callers.broken == []
    assert asyncio.run(bank_differences(installation, callers.script_of)) == []


async def test_the_work_of_a_killed_engine_is_anothers_at_once(
    installation: Installation, load: Load
) -> None:
    """Its session ends with it: nobody waits for its lease."""
    found = []
    for kill in range(KILLS):
        await until_carrying(installation, kill % 2)
        found.append(await strike(installation, kill % 2, is_kill=True))
    print("taken", percentiles([each.taken_seconds for each in found]))
    assert sum(each.settlements for each in found) > 0
    # At once, but for a stall of the machine: the lease would take longer, every time.
    assert min(each.taken_seconds for each in found) < LEASE_SECONDS / 2
    assert max(each.taken_seconds for each in found) < LEASE_SECONDS + SLACK_SECONDS


async def test_the_work_of_a_frozen_engine_is_anothers_when_its_lease_has_run_out(
    installation: Installation, load: Load
) -> None:
    """Thawed, it goes on where it was, and neither writes nor pays anything twice."""
    found = []
    for freeze in range(FREEZES):
        await until_carrying(installation, freeze % 2)
        found.append(await strike(installation, freeze % 2, is_kill=False))
    print("taken", percentiles([each.taken_seconds for each in found]))
    assert sum(each.settlements for each in found) > 0
    assert max(each.taken_seconds for each in found) < LEASE_SECONDS + 0.5 + SLACK_SECONDS


@pytest.mark.parametrize("number", [0, 1])
async def test_announcements_go_on_while_an_engine_is_frozen(
    installation: Installation, load: Load, number: int
) -> None:
    """One of the two leads the relay: freezing each in turn freezes the leader once."""
    await until_carrying(installation, number)
    connection = await installation.connect()
    installation.freeze(number)
    try:
        began = time.monotonic()
        head = await connection.fetchval("SELECT position FROM stream_head")
        while await connection.fetchval("SELECT published FROM stream_head") <= head:
            assert time.monotonic() - began < 5, "nothing is announced any more"
            await asyncio.sleep(0.02)
    finally:
        installation.thaw(number)
        await connection.close()
