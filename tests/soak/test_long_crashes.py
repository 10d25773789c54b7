"""The long forms of the crash tests: twenty kills, a minute without NATS (acceptance 5 and 6)."""

from __future__ import annotations

import os
import random
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.e2e.jetstream import read_stream
from tests.e2e.test_crashes import BATCH, Load, check_everything, running
from tests.e2e.world import events, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.e2e.world import World

pytestmark = pytest.mark.timeout(900)

ENGINE_KILLS = 20
POSTGRES_KILLS = 5
SECONDS_WITHOUT_NATS = 60.0


def test_twenty_kills_of_the_engine(tmp_path: Path) -> None:
    """The bank has one debit per completed settlement, and the ledger is proved."""
    chance = random.Random(20)
    with running(tmp_path) as world:
        load = Load(world, seed=20)
        for _ in range(ENGINE_KILLS):
            old = world.engine_pids()
            time.sleep(chance.uniform(0.1, 1.5))
            world.kill_engine()
            world.await_new_engine(old)
        accepted = load.stop()
        check_everything(world, accepted, seconds=120)
        assert len(accepted) > ENGINE_KILLS * BATCH


def test_five_kills_of_postgresql(tmp_path: Path) -> None:
    """Nothing accepted is lost or duplicated."""
    chance = random.Random(5)
    with running(tmp_path) as world:
        load = Load(world, seed=5)
        for _ in range(POSTGRES_KILLS):
            time.sleep(chance.uniform(0.5, 2.0))
            old = world.address["postgres_pid"]
            os.kill(old, signal.SIGKILL)
            until(_is_other(world, old), 30, "PostgreSQL to be back")
            until(_is_more(load, len(load.accepted) + BATCH), 30, "the engine to go on")
        check_everything(world, load.stop(), seconds=120)


def test_a_minute_without_nats(tmp_path: Path) -> None:
    """Settlements continue; afterwards every event is in the stream, in order, once."""
    with running(tmp_path) as world:
        load = Load(world, seed=60)
        os.kill(world.address["nats_pid"], signal.SIGSTOP)
        time.sleep(SECONDS_WITHOUT_NATS)
        os.kill(world.address["nats_pid"], signal.SIGCONT)
        check_everything(world, load.stop(), seconds=120)
        wanted = [(event.event_id, event.sequence) for event in events(world, timeout=120)]
        found = until(
            lambda: (stored := read_stream(world)) and len(stored) >= len(wanted) and stored,
            120,
            "every event to be in JetStream",
        )
        assert found == wanted


def _is_other(world: World, old: int) -> Callable[[], bool]:
    return lambda: world.address["postgres_pid"] != old


def _is_more(load: Load, count: int) -> Callable[[], bool]:
    return lambda: len(load.accepted) > count
