"""A bank of each test, which it gives a scenario or a script."""

from __future__ import annotations

import pytest

from settlement_engine.simulator.scenarios import Scenario, ScenarioScript
from tests.support.bank_world import World


@pytest.fixture
def world(tmp_path):
    made: list[World] = []

    def make(scenario: str | Scenario = "settle", **script) -> World:
        if isinstance(scenario, Scenario):
            script["scenarios"] = {"own": scenario}
            scenario = "own"
        file = tmp_path / f"bank{len(made)}.db"
        made.append(World(file, ScenarioScript(default=scenario, **script).checked()))
        return made[-1]

    yield make
    for each in made:
        each.ledger.close()
