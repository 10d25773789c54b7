"""Rails and orders about their breakers, over gRPC and over JSON: named, with a reason, kept and followed."""

from __future__ import annotations

import grpc
import pytest

from settlement_engine.api.call import LOCAL_CALLER, Call
from settlement_engine.api.rails import RailCalls
from settlement_engine.domain.breaker_orders import BreakerAction
from settlement_engine.errors import NotAuthenticated
from settlement_engine.proto import settlement_pb2 as pb
from tests.unit.api.test_exceptions import ADA, GRACE


async def test_a_rail_is_listed_with_its_lanes(edge):
    answer = await edge.rails.ListRails(pb.ListRailsRequest(), timeout=10)
    [rail] = answer.rails
    assert (rail.name, rail.rail_class, rail.is_paused) == ("swift", "D", False)
    assert rail.refuses_while_open
    assert list(rail.messages) == ["pacs.009.001.08"]
    [lane] = rail.lanes
    assert (lane.bank, lane.breaker, lane.is_stopped) == ("DEUTDEFF", "HALF_OPEN", False)
    assert (lane.waiting, lane.in_flight, lane.tries_in_seconds) == (3, 1, 2.5)
    assert lane.why == "sends were not answered in time"
    status, body, _ = await edge.post("ListRails", {})
    assert (status, body["rails"][0]["name"]) == (200, "swift")


async def test_an_order_is_kept_with_who_and_why_and_stands_until_it_is_closed(edge):
    request = pb.OpenBreakerRequest(rail="swift", bank="deutdeff", reason="they asked us to")
    opened = await edge.rails.OpenBreaker(request, metadata=ADA, timeout=10)
    [stop] = opened.stops
    assert (stop.action, stop.who, stop.reason) == ("OPEN", "ada", "they asked us to")
    assert opened.lanes[0].is_stopped
    probe = pb.ProbeRailRequest(rail="swift", bank="deutdeff", reason="are they back?")
    await edge.rails.ProbeRail(probe, metadata=ADA, timeout=10)
    close = pb.CloseBreakerRequest(rail="swift", bank="deutdeff", reason="they are back")
    closed = await edge.rails.CloseBreaker(close, metadata=GRACE, timeout=10)
    assert not closed.stops
    shown = await edge.rails.GetRail(pb.GetRailRequest(name="swift"), timeout=10)
    assert [(each.action, each.who) for each in shown.history] == [
        ("CLOSE", "grace"),
        ("PROBE", "ada"),
        ("OPEN", "ada"),
    ]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"reason": ""}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"reason": "  "}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"reason": "x" * 1_001}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"bank": "no bank!"}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"rail": "nowhere"}, grpc.StatusCode.NOT_FOUND),
        ({"rail": ""}, grpc.StatusCode.NOT_FOUND),
    ],
)
async def test_an_order_that_is_not_whole_is_refused_and_not_kept(edge, fields, code):
    request = pb.OpenBreakerRequest(rail="swift", reason="because")
    for name, text in fields.items():
        setattr(request, name, text)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await edge.rails.OpenBreaker(request, metadata=ADA, timeout=10)
    assert caught.value.code() is code
    assert not await edge.world.rail_control.latest("", 10)


async def test_nobody_gives_an_order_without_a_name(edge):
    request = pb.CloseBreakerRequest(rail="swift", reason="because")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await edge.rails.CloseBreaker(request, timeout=10)
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_where_names_are_not_trusted_only_a_certificate_counts(edge):
    calls = RailCalls(edge.world.rail_control, edge.calls.undisturbed, trusts_names=False)
    request = pb.ProbeRailRequest(rail="swift", reason="because")
    with pytest.raises(NotAuthenticated):
        await calls.probe(request, Call(caller=LOCAL_CALLER, actor="ada"))
    await calls.probe(request, Call(caller="spiffe://bank/alice"))
    [order] = await edge.world.rail_control.latest("swift", 10)
    assert (order.who, order.action) == ("spiffe://bank/alice", BreakerAction.PROBE)
