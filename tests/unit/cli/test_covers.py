"""``repair-cover``: who orders it, and what is said of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from settlement_engine.cli.failures import ExitCode
from settlement_engine.proto import settlement_pb2 as wire
from tests.unit.cli.fake_engine import ID, FakeEngine
from tests.unit.cli.test_client_commands import engine  # noqa: F401 - a fixture

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Run


def test_a_repair_is_ordered_by_any_name_of_the_settlement(
    command: Run,
    engine: FakeEngine,  # noqa: F811 - the fixture
) -> None:
    said = command("repair-cover", "OB-7", "--reason", "funded", "--as", "ada")
    assert said.code == ExitCode.OK
    assert "cover 2 is ordered: CH0" in said.out
    assert f"settlement-engine show {ID}" in said.out
    assert engine.asked[-1] == wire.RepairCoverRequest(settlement_id=ID, reason="funded")
    assert engine.actors == ["ada"]
    again = command("repair-cover", ID, "--reason", "funded", "--as", "ada", "--json")
    assert json.loads(again.out)["number"] == 2


def test_a_repair_needs_a_reason(command: Run) -> None:
    said = command("repair-cover", ID, "--as", "ada")
    assert said.code != ExitCode.OK
    assert "--reason" in said.err
