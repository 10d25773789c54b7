"""Thirty minutes of random failures under load, and then the twenty invariants (acceptance 3 of issue 3).

``SOAK_SECONDS`` sets its duration, ``SOAK_SEED`` its random seed.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.support.soak_run import Plan, Soak

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = float(os.environ.get("SOAK_SECONDS", "1800"))
SEED = int(os.environ.get("SOAK_SEED", "1"))
GRACE_SECONDS = 1800.0


@pytest.mark.timeout(SECONDS * 2 + GRACE_SECONDS)
def test_a_long_soak_finds_no_violation(tmp_path: Path) -> None:
    """In thirty minutes at least 100 kills and 40 freezes of engines, 15 kills of PostgreSQL, 10 of NATS."""
    plan = Plan.lasting(SECONDS, SEED)
    found = Soak(tmp_path, plan).run()
    print(found.table())
    assert {name: what for name, what in found.broken.items() if what} == {}
    assert found.without_next_action_max == 0
    assert found.done == {
        "engine killed": plan.engine_kills,
        "engine frozen": plan.zombies,
        "PostgreSQL killed": plan.postgres_kills,
        "NATS killed": plan.nats_kills,
        "consumer killed": plan.consumer_kills,
    }
