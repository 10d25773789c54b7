"""Two engines on one database, as real processes: killed and frozen, under load.

The long forms, which measure, are in ``tests/soak/test_takeover.py``.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.soak_checks import bank_differences
from tests.support.soak_installation import Installation
from tests.support.soak_load import Load
from tests.support.takeover import Takeover, percentiles, strike, until_carrying

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.kill, pytest.mark.timeout(300)]

KILLS = 2
FREEZES = 1
LEASE_SECONDS = 6.0
"""Longer than the ordinary one, so that even on a crowded machine *at once* is not *by the lease*."""

SLACK_SECONDS = 10.0
"""A crowded machine may be late by that much; the figures are measured elsewhere."""

RELAY_SECONDS_MAX = 20.0
BLOWS_MAX = 10
"""An engine may have finished, between the look and the blow, all that it was seen to carry."""

QUICK = ("settle", "lost_answer")


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Two engines, PostgreSQL and NATS."""
    settings = {"engine.lease_seconds": str(LEASE_SECONDS)}
    folder = tmp_path_factory.mktemp("takeover")
    with Installation(folder, engines=2, settings=settings) as running:
        yield running


@pytest.fixture
def load(installation: Installation) -> Iterator[Load]:
    """Callers of both; afterwards everything has ended, and the bank and the books agree."""
    callers = Load(installation.targets, seed=5, scripts=QUICK)
    yield callers
    callers.stop()
    assert callers.broken == []
    assert asyncio.run(bank_differences(installation, callers.script_of)) == []


async def strike_while_it_carries(
    installation: Installation, number: int, *, is_kill: bool
) -> Takeover:
    """Kill or freeze an engine that has work in hand."""
    for _ in range(BLOWS_MAX):
        await until_carrying(installation, number)
        found = await strike(installation, number, is_kill=is_kill)
        if found.settlements:
            return found
    message = f"engine {number} carried nothing at any of {BLOWS_MAX} blows"
    raise AssertionError(message)


async def test_the_work_of_a_killed_engine_is_anothers_at_once(
    installation: Installation, load: Load
) -> None:
    """Its session ends with it: nobody waits for its lease."""
    found = [
        await strike_while_it_carries(installation, kill % 2, is_kill=True) for kill in range(KILLS)
    ]
    print("taken", percentiles([each.taken_seconds for each in found]))
    # At once, but for a stall of the machine: the lease would take longer, every time.
    assert min(each.taken_seconds for each in found) < LEASE_SECONDS / 2
    assert max(each.taken_seconds for each in found) < LEASE_SECONDS + SLACK_SECONDS


async def test_the_work_of_a_frozen_engine_is_anothers_when_its_lease_has_run_out(
    installation: Installation, load: Load
) -> None:
    """Thawed, it goes on where it was, and neither writes nor pays anything twice."""
    found = [
        await strike_while_it_carries(installation, freeze % 2, is_kill=False)
        for freeze in range(FREEZES)
    ]
    print("taken", percentiles([each.taken_seconds for each in found]))
    assert max(each.taken_seconds for each in found) < LEASE_SECONDS + SLACK_SECONDS


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
            assert time.monotonic() - began < RELAY_SECONDS_MAX, "nothing is announced any more"
            await asyncio.sleep(0.02)
    finally:
        installation.thaw(number)
        await connection.close()
