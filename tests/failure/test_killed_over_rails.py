"""Engine and bank simulator are killed under load over all rails: both ledgers agree at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from settlement_lab.commands.demo.payments import RAILS
from tests.e2e.world import World
from tests.support.railkills import RailLoad, check_both_ledgers, has_faults, kill_at_random

if TYPE_CHECKING:
    from pathlib import Path

KILLS = 5
SEED = 15


@pytest.mark.slow
@pytest.mark.kill
@pytest.mark.timeout(400)
def test_both_ledgers_agree_after_kills_of_engine_and_simulator(tmp_path: Path) -> None:
    with World(tmp_path, "--simulator", "--sample-data") as world:
        has_faults(world)
        with RailLoad(world) as load:
            kill_at_random(world, KILLS, SEED)
        completed = check_both_ledgers(world, load.sent)
    assert set(completed) == set(RAILS)
