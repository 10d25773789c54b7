"""The soak of ``tests/soak/test_soak.py``, for a minute."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.soak_run import Plan, Soak

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = 45.0


@pytest.mark.slow
@pytest.mark.kill
@pytest.mark.timeout(600)
def test_everything_is_killed_and_frozen_for_a_minute(tmp_path: Path) -> None:
    """Three engines, PostgreSQL, NATS and a consumer, under load: nothing is lost or duplicated."""
    found = Soak(tmp_path, Plan.lasting(SECONDS, seed=7)).run()
    print(found.table())
    assert {name: what for name, what in found.broken.items() if what} == {}
    assert found.without_next_action_max == 0
    assert all(found.done[act] for act in found.done)
    assert len(found.done) == 5
