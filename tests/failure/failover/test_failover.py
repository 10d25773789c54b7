"""The primary is killed under load and its synchronous standby promoted: nothing acknowledged is lost."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from settlement_engine.domain.announcement import system_epoch_of
from tests.e2e.test_crashes import Load
from tests.e2e.world import events, until
from tests.support.failover import check_everything, engine_on, journal, pair

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(300)

ACCEPTED_MIN = 300


@pytest.mark.kill
def test_nothing_acknowledged_is_lost_when_the_standby_takes_over(
    tmp_path: Path, template: Path
) -> None:
    with pair(tmp_path, template) as servers, engine_on(tmp_path / "dev", servers.url) as world:
        load = Load(world, seed=7)
        until(lambda: len(load.accepted) >= ACCEPTED_MIN, 60, "some load")
        engines = world.engine_pids()
        killed_at = time.monotonic()
        servers.kill_primary()
        acknowledged = dict(load.accepted)
        promoted_at = servers.promote()
        known = len(load.accepted)
        until(lambda: len(load.accepted) > known, 20, "the engine to accept again")
        accepting_at = time.monotonic()
        until(lambda: journal(servers.standby) == "1 opened", 30, "the gate to open")
        open_at = time.monotonic()
        until(lambda: len(load.accepted) > known + ACCEPTED_MIN, 60, "load on the new primary")
        accepted = load.stop()
        completed = check_everything(world, accepted)
        assert accepted.items() >= acknowledged.items()
        assert world.engine_pids() == engines, "the engine process itself survived"
        assert system_epoch_of(max(event.sequence for event in events(world))) == 1
        print(
            f"{len(acknowledged)} acknowledged before, {len(accepted)} in all, {completed} completed;"
            f" accepting {accepting_at - promoted_at:.2f} s after the promotion"
            f" ({accepting_at - killed_at:.2f} s after the kill),"
            f" sending {open_at - promoted_at:.2f} s after it"
        )
