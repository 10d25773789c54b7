"""The long form of the failover: of ten thousand acknowledged settlements none is lost."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

import pytest

from settlement_engine.embedded import EmbeddedPostgres
from tests.e2e.test_crashes import Load
from tests.e2e.world import until
from tests.support.failover import check_everything, engine_on, journal, pair

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(900)

ACKNOWLEDGED_MIN = 10_000
LOADS = 4
ACCEPTING_SECONDS_MAX = 1.0


def test_none_of_ten_thousand_acknowledged_settlements_is_lost(tmp_path: Path) -> None:
    template = EmbeddedPostgres(tmp_path / "template")
    template.start()
    template.stop()
    with pair(tmp_path, template.data_dir) as servers:
        shutil.rmtree(template.data_dir)
        with engine_on(tmp_path / "dev", servers.url) as world:
            loads = [Load(world, seed=seed) for seed in range(LOADS)]

            def count() -> int:
                return sum(len(load.accepted) for load in loads)

            until(lambda: count() >= ACKNOWLEDGED_MIN, 300, "ten thousand acknowledged")
            killed_at = time.monotonic()
            servers.kill_primary()
            acknowledged = {key for load in loads for key in load.accepted}
            promoted_at = servers.promote()
            known = count()
            until(lambda: count() > known, 20, "the engine to accept again")
            accepting_at = time.monotonic()
            until(lambda: journal(servers.standby) == "1 opened", 60, "the gate to open")
            open_at = time.monotonic()
            until(lambda: count() > known + 1_000, 120, "load on the new primary")
            accepted = {key: found for load in loads for key, found in load.stop().items()}
            completed = check_everything(world, accepted, seconds=300)
    assert accepted.keys() >= acknowledged
    print(
        f"{len(acknowledged)} acknowledged before, {len(accepted)} in all, {completed} completed,"
        f" 0 lost; accepting {accepting_at - promoted_at:.2f} s after the promotion"
        f" ({accepting_at - killed_at:.2f} s after the kill),"
        f" sending {open_at - promoted_at:.2f} s after it"
    )
    assert accepting_at - promoted_at < ACCEPTING_SECONDS_MAX
