"""``rails``: what is printed of rails and breakers, and what an order carries."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from settlement_engine.cli.acting import ACTOR
from settlement_engine.cli.failures import ExitCode
from settlement_engine.proto import settlement_pb2 as wire
from settlement_engine.proto import settlement_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.cli.conftest import Run


class FakeRails(settlement_pb2_grpc.RailServiceServicer):
    """One rail, whose orders are remembered."""

    def __init__(self) -> None:
        self.given: list[tuple[str, Any, str]] = []
        self.rail = wire.Rail(name="swift", rail_class="D", messages=["pacs.009.001.08"])
        self.rail.lanes.add(bank="DEUTDEFF", breaker="CLOSED", waiting=2, in_flight=1)

    def ListRails(self, request: Any, context: Any) -> Any:  # noqa: N802 -- the wire's names
        return wire.ListRailsResponse(rails=[self.rail])

    def GetRail(self, request: Any, context: Any) -> Any:  # noqa: N802
        if request.name != self.rail.name:
            context.abort(grpc.StatusCode.NOT_FOUND, "this engine has no such rail")
        return self.rail

    def _order(self, action: str, request: Any, context: Any) -> wire.Rail:
        who = str(dict(context.invocation_metadata()).get(ACTOR, ""))
        self.given.append((action, request, who))
        stop = wire.BreakerOrder(
            id=1, rail="swift", bank=request.bank, action=action, who=who, reason=request.reason
        )
        self.rail.history.insert(0, stop)
        if action == "OPEN":
            self.rail.stops.append(stop)
        return self.rail

    def OpenBreaker(self, request: Any, context: Any) -> Any:  # noqa: N802
        return self._order("OPEN", request, context)

    def CloseBreaker(self, request: Any, context: Any) -> Any:  # noqa: N802
        return self._order("CLOSE", request, context)

    def ProbeRail(self, request: Any, context: Any) -> Any:  # noqa: N802
        return self._order("PROBE", request, context)


@pytest.fixture
def rails(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRails]:
    fake = FakeRails()
    server = grpc.server(ThreadPoolExecutor(max_workers=2))
    settlement_pb2_grpc.add_RailServiceServicer_to_server(fake, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    monkeypatch.setenv("SETTLEMENT_ADDRESS", f"127.0.0.1:{port}")
    yield fake
    server.stop(grace=None).wait()


def test_the_list_says_whether_payments_are_sent(command: Run, rails: FakeRails) -> None:
    said = command("rails", "list")
    assert said.code == ExitCode.OK
    line = next(line for line in said.out.splitlines() if "swift" in line)
    assert line.split()[1:4] == ["D", "open", "2"]
    rails.rail.lanes[0].breaker = "OPEN"
    assert "open, except for 1 bank " in command("rails", "list").out
    rails.rail.stops.add(bank=rails.rail.lanes[0].bank)
    assert "open, except for 1 bank " in command("rails", "list").out
    rails.rail.stops.add(bank="A-BANK-WITHOUT-A-LANE")
    assert "open, except for 2 banks" in command("rails", "list").out
    rails.rail.stops.add(bank="")
    assert "stopped" in command("rails", "list").out
    rails.rail.is_paused = True
    assert "paused by a recovery" in command("rails", "list").out
    assert json.loads(command("rails", "list", "--json").out)["rails"][0]["name"] == "swift"


def test_a_rail_is_shown_with_the_reason_of_each_breaker(command: Run, rails: FakeRails) -> None:
    lane = rails.rail.lanes[0]
    lane.breaker, lane.why, lane.tries_in_seconds = "HALF_OPEN", "sends were not answered", 4.6
    lane.is_stopped = True
    said = command("rails", "show", "swift").out
    assert "half-open" in said
    assert "stopped by a person; sends were not answered; one is tried in 5 s" in said
    assert "pacs.009.001.08" in said
    assert "wait" in said
    rails.rail.refuses_while_open = True
    assert "are refused" in command("rails", "show", "swift").out


@pytest.mark.parametrize("action", ["open", "close", "probe"])
def test_an_order_carries_who_and_why(command: Run, rails: FakeRails, action: str) -> None:
    words = ("--bank", "DEUTDEFF", "--reason", "they asked us to", "--as", "ada")
    said = command("rails", action, "swift", *words)
    assert said.code == ExitCode.OK
    [(given, request, who)] = rails.given
    assert (given, request.rail, request.bank) == (action.upper(), "swift", "DEUTDEFF")
    assert (request.reason, who) == ("they asked us to", "ada")
    assert f"{action} for DEUTDEFF by ada: they asked us to" in said.out
    assert ("stands" in said.out) is (action == "open")


def test_without_a_reason_there_is_no_order(command: Run, rails: FakeRails) -> None:
    assert command("rails", "open", "swift").code == ExitCode.USAGE
    assert not rails.given


def test_an_unknown_rail_fails(command: Run, rails: FakeRails) -> None:
    said = command("rails", "show", "nowhere")
    assert said.code == ExitCode.FAILED
    assert "no such rail" in said.err
