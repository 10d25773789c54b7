"""The long form of the kills over all rails: fifty times, at random."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from settlement_lab.commands.demo.payments import RAILS
from tests.e2e.world import World
from tests.support.railkills import (
    VICTIMS,
    RailLoad,
    check_both_ledgers,
    has_faults,
    kill_at_random,
)

if TYPE_CHECKING:
    from pathlib import Path

KILLS = 50
SEED = 50


@pytest.mark.timeout(3_600)
def test_both_ledgers_agree_after_fifty_kills(tmp_path: Path) -> None:
    with World(tmp_path, "--simulator", "--sample-data") as world:
        has_faults(world)
        with RailLoad(world) as load:
            killed = kill_at_random(world, KILLS, SEED)
        completed = check_both_ledgers(world, load.sent)
    assert set(killed) == set(VICTIMS)
    assert set(completed) == set(RAILS)
