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
"""Longer than the default, so that even on a busy machine a takeover at once differs from one by lease expiry."""

SLACK_SECONDS = 10.0
"""A busy machine may be late by this much; the figures are measured elsewhere."""

RELAY_SECONDS_MAX = 20.0
BLOWS_MAX = 10
"""Between the check and the kill an engine may have finished all its settlements."""

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
    """Submit to both; at the end everything has ended, and the bank and the ledger agree."""
    callers = Load(installation.targets, seed=5, scripts=QUICK)
    yield callers
    callers.stop()
    assert callers.broken == []
    assert asyncio.run(bank_differences(installation, callers.script_of)) == []


async def fail_while_it_owns(installation: Installation, number: int, *, is_kill: bool) -> Takeover:
    """Kill or freeze an engine while it has open settlements."""
    for _ in range(BLOWS_MAX):
        await until_carrying(installation, number)
        found = await strike(installation, number, is_kill=is_kill)
        if found.settlements:
            return found
    message = f"engine {number} carried nothing at any of {BLOWS_MAX} blows"
    raise AssertionError(message)


async def test_settlements_of_a_killed_engine_are_taken_over_at_once(
    installation: Installation, load: Load
) -> None:
    """Its session ends with it: no engine waits for its lease."""
    found = [
        await fail_while_it_owns(installation, kill % 2, is_kill=True) for kill in range(KILLS)
    ]
    print("taken", percentiles([each.taken_seconds for each in found]))
    # At once, except for a stall of the machine; waiting for the lease would take longer every time.
    assert min(each.taken_seconds for each in found) < LEASE_SECONDS / 2
    assert max(each.taken_seconds for each in found) < LEASE_SECONDS + SLACK_SECONDS


async def test_settlements_of_a_frozen_engine_are_taken_over_when_its_lease_expires(
    installation: Installation, load: Load
) -> None:
    """When it is resumed it continues where it was, and neither writes nor pays anything twice."""
    found = [
        await fail_while_it_owns(installation, freeze % 2, is_kill=False)
        for freeze in range(FREEZES)
    ]
    print("taken", percentiles([each.taken_seconds for each in found]))
    assert max(each.taken_seconds for each in found) < LEASE_SECONDS + SLACK_SECONDS


@pytest.mark.parametrize("number", [0, 1])
async def test_announcements_continue_while_an_engine_is_frozen(
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
