"""Engine and bank simulator are killed under load over all rails: both ledgers agree at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from settlement_engine.proto import settlement_pb2 as pb
from tests.e2e.world import World
from tests.support.railkills import check_both_ledgers, kill_at_random
from tests.support.railload import LOADED, RailLoad, has_faults

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
        with RailLoad(world, SEED) as load:
            kill_at_random(world, KILLS, SEED)
        ours = check_both_ledgers(world, load.sent)
    assert {each.rail for each in ours if each.status == pb.COMPLETED} == set(LOADED)
    assert "cancel OK" in load.asked
