from __future__ import annotations

import asyncio
from uuid import UUID

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, RetryInfo

from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.errors import Unavailable
from settlement_engine.proto import settlement_pb2 as pb
from tests.support.waiting import turns, until
from tests.unit.api.test_grpc import failed, payment_request, violations


async def sequences(call) -> list[int]:
    return [event.sequence async for event in call]


async def settle(edge, count: int) -> None:
    for number in range(count):
        await edge.settlements.ExecuteSettlement(payment_request(number), timeout=5)


async def test_events_are_streamed_up_to_the_head(edge) -> None:
    await settle(edge, 3)
    request = pb.StreamRequest(ends_at_head=True)
    events = [event async for event in edge.settlements.StreamSettlementEvents(request, timeout=5)]
    assert [event.sequence for event in events] == [1, 2, 3, 4, 5, 6]
    first = events[0]
    assert first.event_id == f"{first.settlement_id}.1"
    assert [event.event_type for event in events[:2]] == [
        "settlement.accepted",
        "settlement.completed",
    ]
    assert first.timestamp == first.time.seconds
    payload = pb.SettlementMoved()
    assert events[1].payload.Unpack(payload)
    assert (payload.move.event, payload.move.to_state) == ("SETTLED", "COMPLETED")
    assert (payload.amount, payload.currency) == ("12.50", "EUR")


@pytest.mark.parametrize("after", range(7))
async def test_a_resumed_event_stream_has_no_gap_and_no_repeat(edge, after: int) -> None:
    await settle(edge, 3)
    request = pb.StreamRequest(after_sequence=after, ends_at_head=True)
    got = await sequences(edge.settlements.StreamSettlementEvents(request, timeout=5))
    assert got == list(range(after + 1, 7))


async def test_a_stream_delivers_new_events(edge) -> None:
    await settle(edge, 1)
    call = edge.settlements.StreamSettlementEvents(pb.StreamRequest(), timeout=10)
    assert [(await call.read()).sequence for _ in range(2)] == [1, 2]
    await settle(edge, 2)
    assert [(await call.read()).sequence for _ in range(2)] == [3, 4]
    call.cancel()


async def test_a_stream_can_be_filtered_by_settlement_and_type(edge) -> None:
    await settle(edge, 3)
    request = pb.StreamRequest(settlement_id=str(UUID(int=2)), ends_at_head=True)
    assert await sequences(edge.settlements.StreamSettlementEvents(request)) == [3, 4]
    request = pb.StreamRequest(event_types=["settlement.completed"], ends_at_head=True)
    assert await sequences(edge.settlements.StreamSettlementEvents(request)) == [2, 4, 6]


async def test_a_stream_from_the_head_first_reports_the_heads_sequence(edge) -> None:
    await settle(edge, 2)
    call = edge.settlements.StreamSettlementEvents(
        pb.StreamRequest(begins_at_head=True), timeout=10
    )
    first = await call.read()
    assert first == pb.SettlementEvent(sequence=4)
    await settle(edge, 3)
    assert [(await call.read()).sequence for _ in range(2)] == [5, 6]
    call.cancel()


async def test_a_stream_from_head_to_head_has_no_events(edge) -> None:
    await settle(edge, 2)
    request = pb.StreamRequest(begins_at_head=True, ends_at_head=True)
    assert await sequences(edge.settlements.StreamSettlementEvents(request, timeout=5)) == [4]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"after_sequence": 3, "begins_at_head": True}, "after_sequence"),
        ({"after_sequence": -1}, "after_sequence"),
        ({"settlement_id": "x"}, "settlement_id"),
        ({"event_types": ["settlement.done"]}, "event_types"),
    ],
)
async def test_an_invalid_stream_request_names_the_field(edge, change, field) -> None:
    call = edge.settlements.StreamSettlementEvents(pb.StreamRequest(**change), timeout=5)
    assert violations(await failed(call.read())) == [field]


async def test_event_streams_beyond_the_limit_are_refused(make_edge) -> None:
    edge = await make_edge(event_streams_max=1)
    first = edge.settlements.StreamSettlementEvents(pb.StreamRequest(), timeout=10)
    await first.initial_metadata()
    second = edge.settlements.StreamSettlementEvents(pb.StreamRequest(), timeout=5)
    assert (await failed(second.read())).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    first.cancel()


async def test_an_idle_stream_ends_when_the_engine_drains(edge) -> None:
    call = edge.settlements.StreamSettlementEvents(pb.StreamRequest(), timeout=10)
    await call.initial_metadata()
    await edge.server.drain()
    error = await failed(call.read())
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert "draining" in error.details()
    late = edge.settlements.StreamSettlementEvents(pb.StreamRequest(), timeout=5)
    assert (await failed(late.read())).code() is grpc.StatusCode.UNAVAILABLE


class SlowContext:
    """A call whose initial metadata takes a while to be sent."""

    def __init__(self) -> None:
        self.begun, self.may_end, self.is_ended = asyncio.Event(), asyncio.Event(), False

    async def send_initial_metadata(self, _metadata) -> None:
        self.begun.set()
        await self.may_end.wait()
        self.is_ended = True

    def invocation_metadata(self):
        return ()

    def time_remaining(self):
        return None


async def test_draining_finishes_a_message_in_progress_before_the_status(edge) -> None:
    context = SlowContext()
    request = pb.StreamRequest().SerializeToString()
    following = asyncio.gather(edge.server._stream_events(request, context))
    await context.begun.wait()
    await edge.server.drain()
    await turns()
    assert not following.done(), "gRPC would refuse the status"
    context.may_end.set()
    with pytest.raises(Unavailable):
        await following
    assert context.is_ended


async def test_an_engine_that_fails_ends_the_stream_with_its_status(edge) -> None:
    async def broken(_after, _limit, _settlement_id=None):
        raise Unavailable("PostgreSQL cannot be reached")

    edge.world.read = broken
    call = edge.settlements.StreamSettlementEvents(pb.StreamRequest(), timeout=5)
    assert (await failed(call.read())).code() is grpc.StatusCode.UNAVAILABLE


# --- many at once -------------------------------------------------------------------------------------


async def test_streamed_requests_are_answered_when_they_end(edge) -> None:
    call = edge.settlements.ExecuteSettlements(timeout=10)
    for number in range(20):
        await call.write(payment_request(number))
    await call.done_writing()
    answers = [answer async for answer in call]
    assert {answer.obligation_id for answer in answers} == {f"OBL-{n}" for n in range(20)}
    assert {answer.status for answer in answers} == {pb.COMPLETED}


def details(answer: pb.SettlementResponse, kind):
    """Return the detail of this type from an item's error."""
    assert any(packed.Unpack(kind) for packed in answer.error.details), "there is no such detail"
    return kind


async def test_a_failed_item_is_answered_within_the_stream(edge) -> None:
    edge.world.failures["OBL-3"] = Unavailable("away")

    async def requests():
        yield payment_request(1, amount="x")
        yield payment_request(2)
        yield payment_request(3)

    answers = {
        one.obligation_id: one async for one in edge.settlements.ExecuteSettlements(requests())
    }
    wrong, good, away = (answers[f"OBL-{n}"] for n in (1, 2, 3))
    assert (wrong.settlement_id, wrong.refusal_code) == ("", "INVALID_ARGUMENT")
    assert "amount" in wrong.refusal_detail
    assert "amount" in wrong.refusal_fields
    assert wrong.error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert "amount" in wrong.error.message
    assert [one.field for one in details(wrong, BadRequest()).field_violations] == ["amount"]
    assert good.status == pb.COMPLETED
    assert not good.HasField("error")
    assert away.error.code == grpc.StatusCode.UNAVAILABLE.value[0]
    assert details(away, RetryInfo()).retry_delay.seconds > 0
    assert away.refusal_code == "UNAVAILABLE"
    assert float(away.refusal_fields["retry_after_seconds"]) > 0


async def test_undecodable_bytes_do_not_end_the_stream(edge) -> None:
    call = edge.channel.stream_stream("/settlement.SettlementService/ExecuteSettlements")(timeout=5)
    for data in (b"\xff", payment_request().SerializeToString()):
        await call.write(data)
    await call.done_writing()
    answers = [pb.SettlementResponse.FromString(data) async for data in call]
    assert {answer.error.code for answer in answers} == {3, 0}


async def test_a_stream_keeps_to_its_in_flight_limit(make_edge) -> None:
    edge = await make_edge(stream_in_flight_max=3)
    edge.world.holding = asyncio.Event()
    call = edge.settlements.ExecuteSettlements(timeout=10)

    async def write() -> None:
        for number in range(12):
            await call.write(payment_request(number))
        await call.done_writing()

    async with asyncio.TaskGroup() as group:
        group.create_task(write())
        await until(lambda: edge.world.waiting == 3, "three wait")
        edge.world.holding.set()
        answers = [answer async for answer in call]
    assert len(answers) == 12
    assert edge.world.waiting_max == 3


async def test_a_cancelled_stream_does_not_stop_its_settlements(edge) -> None:
    edge.world.holding = asyncio.Event()
    call = edge.settlements.ExecuteSettlements(timeout=10)
    for number in range(3):
        await call.write(payment_request(number))
    await until(lambda: edge.world.waiting == 3, "three wait")
    call.cancel()
    await until(lambda: edge.world.waiting == 0, "the handler has gone")
    assert len(edge.world.settlements) == 3


async def test_draining_answers_the_requests_already_read(edge) -> None:
    edge.world.holding = asyncio.Event()
    call = edge.settlements.ExecuteSettlements(timeout=10)
    await call.write(payment_request(1))
    await until(lambda: edge.world.waiting == 1, "one waits")
    await edge.server.drain()
    edge.world.holding.set()
    assert (await call.read()).status == pb.COMPLETED
    assert (await failed(call.read())).code() is grpc.StatusCode.UNAVAILABLE


async def test_a_contradiction_has_its_own_event_type(edge) -> None:
    await settle(edge, 1)
    await edge.world.move(UUID(int=1), Event.CONTRADICTED, State.COMPLETED)
    request = pb.StreamRequest(event_types=["settlement.contradicted"], ends_at_head=True)
    assert await sequences(edge.settlements.StreamSettlementEvents(request)) == [3]
