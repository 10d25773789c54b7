"""The long form of the kills over all rails: fifty times, at random."""

from __future__ import annotations

import os
from itertools import product
from typing import TYPE_CHECKING

import pytest

from settlement_engine.proto import settlement_pb2 as pb
from settlement_lab.commands.demo.payments import RAILS
from tests.e2e.world import World
from tests.support.railkills import VICTIMS, check_both_ledgers, kill_at_random
from tests.support.railload import COVERS, LOADED, RailLoad, has_faults

if TYPE_CHECKING:
    from pathlib import Path

KILLS = 50
SEED = int(os.environ.get("SOAK_SEED", "50"))
CANCELLED = "CANCELLED_BY_CALLER"


@pytest.mark.timeout(3_600)
def test_both_ledgers_agree_after_fifty_kills(tmp_path: Path) -> None:
    with World(tmp_path, "--simulator", "--sample-data") as world:
        has_faults(world)
        with RailLoad(world, SEED) as load:
            killed = kill_at_random(world, KILLS, SEED)
        ours = check_both_ledgers(world, load.sent)
    assert set(killed) == set(VICTIMS)
    assert {pb.COMPLETED, pb.ROLLED_BACK, pb.RETURNED} <= {each.status for each in ours}
    deliveries = (pb.DELIVERY_BOOK, pb.DELIVERY_PAY_OUT)
    completed = [each for each in ours if each.status == pb.COMPLETED]
    wanted = {*product(RAILS, deliveries), (COVERS, pb.DELIVERY_PAY_OUT)}
    assert {(each.rail, each.delivery) for each in completed} == wanted
    assert any(each.rail == "ach" and each.priority == pb.URGENT for each in completed)
    cancelled = {each.requested_rail for each in ours if each.refusal_code == CANCELLED}
    assert cancelled == set(LOADED)
    assert {"cancel OK", "recall OK"} <= set(load.asked)
