"""Measurements: takeover of a failed engine's settlements, recovery of PostgreSQL, announcement of a refusal.

Each test prints its percentiles; ``docs/reliability.md`` quotes them.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING

import pytest

from settlement_engine.proto import settlement_pb2_grpc as rpc
from tests.support.refusals import Listener, refuse
from tests.support.soak_checks import bank_differences
from tests.support.soak_installation import Installation
from tests.support.soak_load import Load
from tests.support.soak_probe import PROBE_SECONDS_MAX, Probe
from tests.support.takeover import percentiles, strike, until_carrying

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timeout(1800)

KILLS = 100
FREEZES = 30
POSTGRES_KILLS = 20
REFUSALS = 300
TAKEOVER_SECONDS = 2.0
SETTLING_SECONDS = 5.0
REFUSAL_SECONDS = 0.1
LOOK_SECONDS = 0.02
QUICK = ("settle", "lost_answer")


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Three engines, PostgreSQL and NATS."""
    with Installation(tmp_path_factory.mktemp("takeover"), engines=3) as running:
        yield running


@pytest.fixture
def load(installation: Installation) -> Iterator[Load]:
    """Submit to all engines; at the end everything has ended, and the bank and the ledger agree."""
    callers = Load(installation.targets, seed=5, scripts=QUICK, pause_seconds=0.2)
    yield callers
    callers.stop()
    assert callers.broken == []
    assert asyncio.run(bank_differences(installation, callers.script_of)) == []


def at_share(values: list[float], share: float) -> float:
    """Return a percentile."""
    return sorted(values)[round(share * (len(values) - 1))]


async def wait_and_restart(installation: Installation, seconds: float) -> None:
    """Wait, and restart what has failed in the meantime."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        installation.watch()
        await asyncio.sleep(LOOK_SECONDS)


@pytest.mark.parametrize(("is_kill", "times"), [(True, KILLS), (False, FREEZES)])
async def test_settlements_of_a_failed_engine_are_taken_over_within_two_seconds(
    installation: Installation, load: Load, times: int, *, is_kill: bool
) -> None:
    """All of them, with a p99 below two seconds, whether the engine was killed or frozen."""
    chance = random.Random(3)
    found = []
    for number in range(times):
        await wait_and_restart(installation, chance.uniform(0.1, 1.0))
        await until_carrying(installation, number % 3)
        found.append(await strike(installation, number % 3, is_kill=is_kill))
    taken = [each.taken_seconds for each in found]
    settlements = sum(each.settlements for each in found)
    print(
        f"\n{'killed' if is_kill else 'frozen'} {times} times with {settlements} open settlements"
    )
    print(f"all taken over: {percentiles(taken)}")
    print(f"all ended:      {percentiles([each.ended_seconds for each in found])}")
    assert settlements >= times
    assert at_share(taken, 0.99) < TAKEOVER_SECONDS


async def test_settlements_end_within_seconds_of_a_killed_postgresql(
    installation: Installation, load: Load
) -> None:
    """Its whole process tree is killed: a new settlement ends within five seconds."""
    chance = random.Random(4)
    probes = []
    for number in range(POSTGRES_KILLS):
        await wait_and_restart(installation, chance.uniform(1.0, 3.0))
        installation.kill_postgres()
        probe = Probe(installation, f"probe-{number}")
        probe.start()
        while probe.is_alive():
            await wait_and_restart(installation, LOOK_SECONDS)
        probe.join(timeout=PROBE_SECONDS_MAX)
        probes.append(probe)
    settled = [each.settled_seconds for each in probes]
    print(f"\nPostgreSQL killed {POSTGRES_KILLS} times")
    print(f"answers again: {percentiles([each.answered_seconds for each in probes])}")
    print(f"settles again: {percentiles(settled)}")
    assert max(settled) < SETTLING_SECONDS


@pytest.mark.parametrize("number", [0, 1, 2])
async def test_a_refusal_before_the_point_of_no_return_is_announced_at_once(
    installation: Installation, number: int
) -> None:
    """From the call through every engine to the announcement on JetStream: p99 below 100 ms."""
    await wait_and_restart(installation, 3.0)
    with installation.channel(number) as channel:
        stub = rpc.SettlementServiceStub(channel)
        async with Listener(installation.nats_url) as listener:
            seconds = [await refuse(stub, str(number), listener) for _ in range(REFUSALS)]
    print(f"\nrefused and announced, engine {number + 1}: {percentiles(seconds)}")
    assert at_share(seconds, 0.99) < REFUSAL_SECONDS
