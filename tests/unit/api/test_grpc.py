from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, RetryInfo
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status

from settlement_engine.api.server import SETTLEMENT_SERVICE
from settlement_engine.api.service import TOTAL_MAX
from settlement_engine.api.settings import HttpBounds, KeepAlive
from settlement_engine.domain.lifecycle import STATUS, Event, State
from settlement_engine.domain.settlement import Priority
from settlement_engine.errors import (
    Contention,
    IdempotencyConflict,
    Misconfigured,
    Overloaded,
    Unavailable,
)
from settlement_engine.proto import settlement_pb2 as pb
from tests.support.decided import attempt
from tests.support.waiting import until
from tests.unit.api import fakes

STATUS_NAMES = {int(number): name for name, number in pb.SettlementStatus.items()}
FULL = "/settlement.SettlementService/"


def payment_request(number: int = 1, **change: Any) -> pb.SettlementRequest:
    good: dict[str, Any] = {
        "obligation_id": f"OBL-{number}",
        "from_bank": "DEUTDEFF",
        "to_bank": "CHASUS33",
        "amount": "12.50",
        "currency": "EUR",
    }
    return pb.SettlementRequest(**good | change)


def violations(error: Any) -> list[str]:
    status = rpc_status.from_call(error)
    found = BadRequest()
    for packed in status.details:
        packed.Unpack(found)
    return [one.field for one in found.field_violations]


def retry_after_seconds(error: Any) -> float:
    status = rpc_status.from_call(error)
    found = RetryInfo()
    assert status is not None, "the refusal has no details"
    assert any(packed.Unpack(found) for packed in status.details), "no advice"
    return float(found.retry_delay.seconds + found.retry_delay.nanos / 1e9)


async def failed(call) -> Any:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


def test_enum_numbers_of_the_proto_equal_the_domains() -> None:
    for state, status in STATUS.items():
        assert STATUS_NAMES[int(status)] == status.name, state
    assert {one.name: int(one) for one in Priority} == dict(pb.Priority.items())


def test_every_call_of_the_proto_is_served_with_its_own_messages(edge) -> None:
    services = pb.DESCRIPTOR.services_by_name
    streams = {"StreamSettlementEvents", "ExecuteSettlements"}
    served_by = edge.calls.services()
    assert served_by.keys() == {each.full_name for each in services.values()}
    for full_name, served in served_by.items():
        methods = {each.name: each for each in services[full_name.rpartition(".")[2]].methods}
        assert set(served) == set(methods) - streams
        for method, unary in served.items():
            assert unary.request.DESCRIPTOR is methods[method].input_type


async def test_a_settlement_is_executed_to_its_end(edge) -> None:
    answer = await edge.settlements.ExecuteSettlement(payment_request(), timeout=10)
    assert answer.status == pb.COMPLETED
    assert answer.settlement_id == str(UUID(int=1))
    assert answer.obligation_id == "OBL-1"
    assert answer.completed_at == answer.completed_time.seconds > 0
    assert answer.completed_time.nanos == 250_000_000
    assert not answer.replayed
    again = await edge.settlements.ExecuteSettlement(payment_request(), timeout=10)
    assert again.replayed
    assert again.settlement_id == answer.settlement_id


@pytest.mark.parametrize(
    ("seconds", "least", "most"),
    [(None, 20, 20), (10, 9, 9.6), (2, 1.5, 1.8), (0.9, 0.4, 0.7), (3600, 300, 300)],
)
async def test_the_wait_ends_before_the_deadline(edge, seconds, least, most) -> None:
    await edge.settlements.ExecuteSettlement(payment_request(), timeout=seconds)
    assert least <= edge.world.waits[0] <= most


async def test_a_status_that_is_not_final_is_an_answer(edge) -> None:
    edge.world.holding = asyncio.Event()
    answer = await edge.settlements.ExecuteSettlement(payment_request(), timeout=0.5)
    assert answer.status == pb.VALIDATING
    assert answer.completed_at == 0
    assert not answer.HasField("completed_time")


async def test_a_caller_that_disconnects_changes_nothing(edge) -> None:
    edge.world.holding = asyncio.Event()
    call = edge.settlements.ExecuteSettlement(payment_request(), timeout=10)
    await until(lambda: edge.world.waiting == 1, "the engine waits")
    call.cancel()
    await until(lambda: edge.world.waiting == 0, "the handler has gone")
    found = await edge.settlements.GetSettlementStatus(
        pb.SettlementStatusRequest(obligation_id="OBL-1")
    )
    assert found.state == "VALIDATING"


async def test_a_refusal_is_an_answer_with_both_figures(edge) -> None:
    edge.world.ends = False
    first = await edge.settlements.ExecuteSettlement(payment_request(), timeout=5)
    settlement = edge.world.settlements[UUID(first.settlement_id)]
    settlement.refusal_code = "INSUFFICIENT_FUNDS"
    settlement.refusal_detail = {"required": "100.00", "available": "20.00", "currency": "EUR"}
    await edge.world.move(settlement.id, Event.REFUSED, State.FAILED)
    answer = await edge.settlements.ExecuteSettlement(payment_request(), timeout=5)
    assert (answer.status, answer.refusal_code) == (pb.FAILED, "INSUFFICIENT_FUNDS")
    assert answer.refusal_detail == "required 100.00, available 20.00 EUR"
    assert answer.refusal_fields["available"] == "20.00"
    assert answer.completed_at > 0


async def test_a_wrong_field_is_named_and_nothing_is_written(edge) -> None:
    error = await failed(
        edge.settlements.ExecuteSettlement(payment_request(amount="1.001"), timeout=5)
    )
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "amount" in error.details()
    assert violations(error) == ["amount"]
    assert not edge.world.settlements


async def test_the_same_key_with_other_content_names_the_field(edge) -> None:
    await edge.settlements.ExecuteSettlement(payment_request(), timeout=5)
    error = await failed(
        edge.settlements.ExecuteSettlement(payment_request(amount="9.00"), timeout=5)
    )
    assert error.code() is grpc.StatusCode.ALREADY_EXISTS
    assert "amount" in error.details()


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (Overloaded("full", retry_after_seconds=1), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (Unavailable("away"), grpc.StatusCode.UNAVAILABLE),
        (Contention("busy"), grpc.StatusCode.ABORTED),
        (KeyError("secret"), grpc.StatusCode.INTERNAL),
    ],
)
async def test_each_engine_error_has_its_status(edge, failure, code) -> None:
    edge.world.failure = failure
    error = await failed(edge.settlements.ExecuteSettlement(payment_request(), timeout=5))
    assert error.code() is code
    assert "secret" not in error.details()


async def test_a_full_engine_refuses_a_batch_before_decoding_it(edge) -> None:
    edge.world.capacity = 1
    batch = pb.SubmitSettlementsRequest(
        settlements=[payment_request(1), payment_request(2, amount="no amount")]
    )
    error = await failed(edge.settlements.SubmitSettlements(batch, timeout=5))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert edge.world.submitted == []
    edge.world.capacity = 2
    answer = await edge.settlements.SubmitSettlements(batch, timeout=5)
    assert [result.HasField("error") for result in answer.results] == [False, True]


async def test_the_idempotency_key_may_be_call_metadata(edge) -> None:
    for key, number in (("k-1", 1), ("k-2", 2)):
        await edge.settlements.ExecuteSettlement(
            payment_request(number), timeout=5, metadata=(("idempotency-key", key),)
        )
    keys = [one.instruction.idempotency_key for one in edge.world.settlements.values()]
    assert keys == ["k-1", "k-2"]
    twice = (("idempotency-key", "a"), ("idempotency-key", "b"))
    error = await failed(
        edge.settlements.ExecuteSettlement(payment_request(3), timeout=5, metadata=twice)
    )
    assert violations(error) == ["idempotency_key"]


async def test_garbage_is_refused_and_the_server_keeps_running(edge) -> None:
    raw = edge.channel.unary_unary(f"{FULL}ExecuteSettlement")
    error = await failed(raw(b"\x22\x02\xff\xfe", timeout=5))
    assert (error.code(), violations(error)) == (grpc.StatusCode.INVALID_ARGUMENT, ["amount"])
    error = await failed(raw(b"\xff\xff\xff", timeout=5))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    error = await failed(raw(b"\x0a\x80\x80\x80\x05" + b"x" * 10_485_760, timeout=5))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    error = await failed(edge.channel.unary_unary(f"{FULL}Nothing")(b"", timeout=5))
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    assert (
        await edge.settlements.ExecuteSettlement(payment_request(), timeout=5)
    ).status == pb.COMPLETED
    assert len(edge.world.settlements) == 1


async def test_a_batch_has_a_result_per_item_and_one_submission(edge) -> None:
    edge.world.failures["OBL-4"] = IdempotencyConflict("taken", field="obligation_id")
    items = [
        payment_request(1),
        payment_request(2, amount="x"),
        payment_request(3),
        payment_request(4),
        payment_request(1),
    ]
    answer = await edge.settlements.SubmitSettlements(
        pb.SubmitSettlementsRequest(settlements=items), timeout=5
    )
    assert [result.HasField("error") for result in answer.results] == [
        False,
        True,
        False,
        True,
        False,
    ]
    assert answer.results[1].error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert "amount" in answer.results[1].error.message
    assert answer.results[3].error.code == grpc.StatusCode.ALREADY_EXISTS.value[0]
    assert answer.results[2].settlement.obligation_id == "OBL-3"
    assert answer.results[4].settlement.replayed
    assert len(edge.world.submitted) == 1


async def test_many_refusals_are_written_in_slices_and_few_at_once(edge) -> None:
    lane = edge.calls.turns._lane
    await lane.acquire()
    few = pb.SubmitSettlementsRequest(
        settlements=[payment_request(n, amount="x") for n in range(50)]
    )
    answer = await edge.settlements.SubmitSettlements(few, timeout=5)
    assert {result.error.code for result in answer.results} == {3}
    many = pb.SubmitSettlementsRequest(
        settlements=[payment_request(n, amount="x") for n in range(51)]
    )
    waiting = edge.settlements.SubmitSettlements(many, timeout=30)
    await until(lambda: lane._waiters, "it waits for its turn")
    lane.release()
    assert {result.error.code for result in (await waiting).results} == {3}


async def test_a_batch_is_bounded_and_takes_no_key(make_edge) -> None:
    edge = await make_edge(batch_items_max=2)
    request = pb.SubmitSettlementsRequest(settlements=[payment_request(n) for n in range(3)])
    error = await failed(edge.settlements.SubmitSettlements(request, timeout=5))
    assert violations(error) == ["settlements"]
    request = pb.SubmitSettlementsRequest(settlements=[payment_request()])
    metadata = (("idempotency-key", "k"),)
    error = await failed(edge.settlements.SubmitSettlements(request, timeout=5, metadata=metadata))
    assert violations(error) == ["idempotency_key"]
    assert not edge.world.submitted


async def test_an_empty_batch_is_an_empty_answer(edge) -> None:
    answer = await edge.settlements.SubmitSettlements(pb.SubmitSettlementsRequest(), timeout=5)
    assert not answer.results
    assert not edge.world.submitted


async def test_a_payment_of_a_rail_without_enquiries_waits_for_a_message(make_edge, world) -> None:
    world.ends = False
    talking = await make_edge()
    answer = await talking.settlements.ExecuteSettlement(payment_request(), timeout=5)
    number = UUID(answer.settlement_id)
    await world.move(number, Event.CLEARED, State.LOCKED)
    await world.move(number, Event.NO_ANSWER, State.IN_DOUBT)
    world.settlements[number].next_action_at = fakes.NOON
    world.settlements[number].attempt = attempt()
    rail = attempt().route.rail
    silent = await make_edge(rails_without_enquiries=frozenset({rail}))
    asked = pb.SettlementStatusRequest(settlement_id=answer.settlement_id)
    found = await silent.settlements.GetSettlementStatus(asked)
    assert "awaited" in found.next_action
    assert not found.HasField("next_action_at")
    listed = await silent.settlements.ListSettlements(pb.ListSettlementsRequest())
    assert [each.next_action for each in listed.settlements] == [found.next_action]
    assert "asked" in (await talking.settlements.GetSettlementStatus(asked)).next_action


async def test_the_status_includes_the_history_so_far(edge) -> None:
    edge.world.ends = False
    answer = await edge.settlements.ExecuteSettlement(
        payment_request(metadata={"a": "b"}), timeout=5
    )
    number = UUID(answer.settlement_id)
    await edge.world.move(number, Event.CLEARED, State.LOCKED)
    await edge.world.move(number, Event.NO_ANSWER, State.IN_DOUBT, text="silence")
    edge.world.settlements[number].next_action_at = fakes.NOON
    found = await edge.settlements.GetSettlementStatus(
        pb.SettlementStatusRequest(settlement_id=answer.settlement_id, obligation_id="OBL-1")
    )
    assert (found.status, found.state) == (pb.IN_DOUBT, "IN_DOUBT")
    assert [(one.seq, one.sequence) for one in found.moves] == [(1, 1), (2, 2), (3, 3)]
    assert list(found.moves[1].reached) == ["validation_complete", "funds_locked"]
    assert dict(found.moves[2].detail) == {"text": "silence"}
    assert "rail is asked" in found.next_action
    assert found.next_action_at.ToDatetime(UTC) == fakes.NOON
    assert (found.amount, found.value_date, found.metadata["a"]) == ("12.50", "2026-01-31", "b")
    assert found.created_at == found.created_time.seconds


@pytest.mark.parametrize(
    ("request_fields", "code"),
    [
        ({}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"settlement_id": "x"}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"obligation_id": "a\x00b"}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"settlement_id": str(UUID(int=9))}, grpc.StatusCode.NOT_FOUND),
        ({"obligation_id": "none"}, grpc.StatusCode.NOT_FOUND),
    ],
)
async def test_missing_objects_are_reported_as_not_found(edge, request_fields, code) -> None:
    request = pb.SettlementStatusRequest(**request_fields)
    error = await failed(edge.settlements.GetSettlementStatus(request, timeout=5))
    assert error.code() is code


async def test_the_finality_is_shown_and_rises_when_statements_prove_it(edge) -> None:
    edge.world.ends = False
    answer = await edge.settlements.ExecuteSettlement(payment_request(), timeout=5)
    number = UUID(answer.settlement_id)
    asked = pb.SettlementStatusRequest(settlement_id=answer.settlement_id)

    async def shown() -> list[int]:
        found = await edge.settlements.GetSettlementStatus(asked, timeout=5)
        page = await edge.settlements.ListSettlements(pb.ListSettlementsRequest(), timeout=5)
        return [found.finality, *(one.finality for one in page.settlements)]

    edge.world.proved_by_statements.add(number)
    assert await shown() == [pb.FINALITY_UNSPECIFIED] * 2
    await edge.world.move(number, Event.CLEARED, State.LOCKED)
    assert await shown() == [pb.FINALITY_SENT] * 2
    await edge.world.move(number, Event.ACKNOWLEDGED, State.SENT)
    assert await shown() == [pb.FINALITY_ACKNOWLEDGED] * 2
    assert edge.world.asked_for_proofs == [], "what has not settled is not asked about"
    await edge.world.move(number, Event.SETTLED, State.COMPLETED)
    assert await shown() == [pb.FINALITY_RECONCILED] * 2
    edge.world.proved_by_statements.clear()
    assert await shown() == [pb.FINALITY_SETTLED] * 2


async def test_lists_are_paged(edge) -> None:
    for number in range(5):
        await edge.settlements.ExecuteSettlement(payment_request(number), timeout=5)
    seen, token = [], ""
    for _ in range(3):
        request = pb.ListSettlementsRequest(statuses=[pb.COMPLETED], page_size=2, page_token=token)
        page = await edge.settlements.ListSettlements(request, timeout=5)
        seen += [one.obligation_id for one in page.settlements]
        token = page.next_page_token
    assert not token
    assert seen == ["OBL-4", "OBL-3", "OBL-2", "OBL-1", "OBL-0"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"since": -1}, "since"),
        ({"until": 2**62}, "until"),
        ({"page_size": -1}, "page_size"),
        ({"page_token": "?"}, "page_token"),
        ({"page_token": "ä"}, "page_token"),
        ({"statuses": [99]}, "statuses"),
        ({"bank": "a b"}, "bank"),
        ({"currency": "zzz"}, "currency"),
        ({"compensates": "O-1"}, "compensates"),
    ],
)
async def test_an_invalid_list_request_names_the_field(edge, change, field) -> None:
    error = await failed(edge.settlements.ListSettlements(pb.ListSettlementsRequest(**change)))
    assert violations(error) == [field]


async def test_a_list_is_counted_on_request(edge) -> None:
    for number in range(3):
        await edge.settlements.ExecuteSettlement(payment_request(number), timeout=5)
    request = pb.ListSettlementsRequest(page_size=1)
    assert (await edge.settlements.ListSettlements(request)).total == 0
    request.with_total = True
    assert (await edge.settlements.ListSettlements(request)).total == 3
    assert edge.world.listed[-2].limit == TOTAL_MAX + 1


async def test_a_time_filter_limits_the_range_of_ids(edge) -> None:
    """Otherwise a list of one hour would read the whole table."""
    noon = datetime(2026, 1, 31, 12, tzinfo=UTC)
    at = int(noon.timestamp())
    await edge.settlements.ListSettlements(pb.ListSettlementsRequest(since=at, until=at + 60))
    wanted = edge.world.listed[-1]
    assert (wanted.since, wanted.until) == (noon, noon + timedelta(seconds=60))
    assert wanted.from_id.int >> 80 == (at - 86_400) * 1_000
    assert wanted.before_id.int >> 80 == (at + 60 + 86_400) * 1_000


async def test_a_page_token_belongs_to_its_filter(edge) -> None:
    await edge.settlements.ExecuteSettlement(payment_request(7), timeout=5)
    await edge.settlements.ExecuteSettlement(payment_request(8), timeout=5)
    page = await edge.settlements.ListSettlements(pb.ListSettlementsRequest(page_size=1, since=1))
    later = pb.ListSettlementsRequest(page_token=page.next_page_token, since=2)
    assert violations(await failed(edge.settlements.ListSettlements(later))) == ["page_token"]
    for number in range(3):
        await edge.settlements.ExecuteSettlement(payment_request(number), timeout=5)
    page = await edge.settlements.ListSettlements(pb.ListSettlementsRequest(page_size=1))
    other = pb.ListSettlementsRequest(page_token=page.next_page_token, currency="EUR")
    assert violations(await failed(edge.settlements.ListSettlements(other))) == ["page_token"]


@pytest.mark.parametrize(
    "change",
    [{"compensates": str(UUID(int=7))}, {"only_compensations": True}, {"only_compensated": True}],
)
async def test_the_filters_of_compensations_reach_the_store(edge, change) -> None:
    for number in range(2):
        await edge.settlements.ExecuteSettlement(payment_request(number), timeout=5)
    page = await edge.settlements.ListSettlements(pb.ListSettlementsRequest(page_size=1))
    token = page.next_page_token
    other = pb.ListSettlementsRequest(page_token=token, **change)
    assert violations(await failed(edge.settlements.ListSettlements(other))) == ["page_token"]
    await edge.settlements.ListSettlements(pb.ListSettlementsRequest(**change))
    wanted = edge.world.listed[-1]
    assert {name: str(getattr(wanted, name)) for name in change} == {
        name: str(value) for name, value in change.items()
    }


async def test_cancellation_is_requested_or_refused_as_too_late(edge) -> None:
    edge.world.ends = False
    answer = await edge.settlements.ExecuteSettlement(payment_request(), timeout=5)
    request = pb.CancelSettlementRequest(settlement_id=answer.settlement_id)
    assert (await edge.settlements.CancelSettlement(request)).status == pb.RECALLING
    await edge.world.move(UUID(answer.settlement_id), Event.SETTLED, State.COMPLETED)
    error = await failed(edge.settlements.CancelSettlement(request))
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION


async def test_health_and_reflection_answer(edge) -> None:
    health: Any = health_pb2_grpc.HealthStub(edge.channel)
    for service in ("", *edge.calls.services()):
        got = await health.Check(health_pb2.HealthCheckRequest(service=service), timeout=5)
        assert got.status == health_pb2.HealthCheckResponse.SERVING
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(edge.channel)
    call = stub.ServerReflectionInfo(timeout=5)
    await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
    listed = await call.read()
    assert SETTLEMENT_SERVICE in {one.name for one in listed.list_services_response.service}
    call.cancel()


async def test_an_occupied_port_is_reported(edge, make_edge) -> None:
    with pytest.raises(Misconfigured, match=str(edge.port)):
        await make_edge(grpc_port=edge.port)


async def test_draining_is_visible_in_health_and_finishes_calls(edge) -> None:
    edge.world.holding = asyncio.Event()
    executing = edge.settlements.ExecuteSettlement(payment_request(), timeout=10)
    health: Any = health_pb2_grpc.HealthStub(edge.channel)
    watching = health.Watch(health_pb2.HealthCheckRequest(service=SETTLEMENT_SERVICE))
    assert (await watching.read()).status == health_pb2.HealthCheckResponse.SERVING
    await until(lambda: edge.world.waiting == 1, "the engine waits")
    await edge.server.drain()
    assert (await watching.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
    async with asyncio.TaskGroup() as group:
        stopping = group.create_task(edge.server.stop(5))
        edge.world.holding.set()
        assert (await executing).status == pb.COMPLETED
        async with asyncio.timeout(2):
            await stopping
    await edge.server.stop(0)


async def test_calls_beyond_the_grace_period_are_ended(edge) -> None:
    edge.world.holding = asyncio.Event()
    executing = edge.settlements.ExecuteSettlement(payment_request(), timeout=10)
    await until(lambda: edge.world.waiting == 1, "the engine waits")
    async with asyncio.timeout(5):
        await edge.server.stop(0.05)
    error = await failed(executing)
    assert error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
    assert len(edge.world.settlements) == 1


async def test_calls_beyond_the_limit_are_told_to_retry(make_edge) -> None:
    edge = await make_edge(calls_max=2)
    edge.world.holding = asyncio.Event()
    running = [edge.settlements.ExecuteSettlement(payment_request(n), timeout=10) for n in range(2)]
    await until(lambda: edge.world.waiting == 2, "two are waiting")
    error = await failed(edge.settlements.ExecuteSettlement(payment_request(3), timeout=10))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert retry_after_seconds(error) > 0
    edge.world.holding.set()
    assert [(await call).status for call in running] == [pb.COMPLETED] * 2


async def test_an_idle_connection_is_closed_and_reopened_by_a_call(make_edge) -> None:
    edge = await make_edge(keep_alive=KeepAlive(idle_seconds=0.2))
    assert (
        await edge.settlements.ExecuteSettlement(payment_request(), timeout=10)
    ).status == pb.COMPLETED
    await until(
        lambda: edge.channel.get_state() is grpc.ChannelConnectivity.IDLE, "it has been closed"
    )
    assert (
        await edge.settlements.ExecuteSettlement(payment_request(2), timeout=10)
    ).status == pb.COMPLETED


async def test_a_connection_without_a_handshake_is_closed(make_edge) -> None:
    edge = await make_edge(grpc_handshake_seconds=0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
    async with asyncio.timeout(10):
        await reader.read()  # the server's settings frame, and then the end
    writer.close()


async def test_connections_beyond_the_limit_are_refused_and_others_continue(make_edge) -> None:
    edge = await make_edge(grpc_connections_max=3)
    assert (
        await edge.settlements.ExecuteSettlement(payment_request(), timeout=10)
    ).status == pb.COMPLETED
    held = [await asyncio.open_connection("127.0.0.1", edge.port) for _ in range(6)]

    async def is_refused(reader: asyncio.StreamReader) -> bool:
        try:
            async with asyncio.timeout(1):
                while await reader.read(1_000):
                    pass
        except TimeoutError:
            return False
        except ConnectionError:
            return True
        return True

    refused = await asyncio.gather(*(is_refused(reader) for reader, _ in held))
    assert refused.count(True) >= 4
    assert (
        await edge.settlements.ExecuteSettlement(payment_request(2), timeout=10)
    ).status == pb.COMPLETED
    for _, writer in held:
        writer.close()


def half_a_call(edge) -> Any:
    """Begin a call whose request never arrives."""

    async def never():
        await asyncio.Event().wait()
        yield b""

    call = edge.channel.stream_unary(FULL + "ExecuteSettlement", None, None)
    return call(never())


async def test_a_call_without_a_request_times_out(make_edge) -> None:
    """Until then such calls count towards gRPC's own limit, and lock out others."""
    edge = await make_edge(calls_max=1, http=HttpBounds(body_seconds=0.3))
    halves = [half_a_call(edge) for _ in range(2)]
    for each in halves:
        assert (await failed(each)).code() is grpc.StatusCode.UNAVAILABLE
    assert (
        await edge.settlements.ExecuteSettlement(payment_request(), timeout=10)
    ).status == pb.COMPLETED


async def test_a_call_with_its_request_does_not_time_out(make_edge) -> None:
    edge = await make_edge(http=HttpBounds(body_seconds=0.1))
    edge.world.holding = asyncio.Event()
    executing = edge.settlements.ExecuteSettlement(payment_request(), timeout=10)
    await until(lambda: edge.world.waiting == 1, "the engine waits")
    later = half_a_call(edge)
    assert (await failed(later)).code() is grpc.StatusCode.UNAVAILABLE, "its time is over"
    edge.world.holding.set()
    assert (await executing).status == pb.COMPLETED


async def test_calls_without_a_request_are_ended_for_new_calls(make_edge) -> None:
    """However many they are, and before their timeout."""
    edge = await make_edge(calls_max=2)
    halves = [half_a_call(edge) for _ in range(20)]
    for number in range(3):
        answer = await edge.settlements.ExecuteSettlement(payment_request(number), timeout=10)
        assert answer.status == pb.COMPLETED
    first, *_ = halves
    assert (await failed(first)).code() in (
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    )
    await edge.server.drain()
    for each in halves:
        await failed(each)
    assert not edge.server._requests._waiting


async def test_a_call_without_a_request_is_told_what_is_missing(edge) -> None:
    async def nothing():
        return
        yield

    call = edge.channel.stream_unary(FULL + "ExecuteSettlement", None, None)
    error = await failed(call(nothing()))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert violations(error) == ["request"]


async def test_health_refuses_undecodable_messages(edge) -> None:
    stub: Any = health_pb2_grpc.HealthStub(edge.channel)
    assert (await stub.Check(health_pb2.HealthCheckRequest(), timeout=10)).status == 1
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Check(health_pb2.HealthCheckRequest(service="nothing"), timeout=10)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    call = edge.channel.unary_unary("/grpc.health.v1.Health/Check")
    assert (await failed(call(b"\xff"))).code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_silent_streams_do_not_lock_out_other_calls(make_edge) -> None:
    edge = await make_edge(calls_max=3, execute_streams_max=2)

    async def never():
        await asyncio.Event().wait()
        yield pb.SettlementRequest()

    streams = [edge.settlements.ExecuteSettlements(never()) for _ in range(3)]
    refused = asyncio.gather(*(stream.code() for stream in streams))
    await until(lambda: any(stream.done() for stream in streams), "one is refused")
    assert (
        await edge.settlements.ExecuteSettlement(payment_request(), timeout=10)
    ).status == pb.COMPLETED
    for stream in streams:
        stream.cancel()
    cancelled, exhausted = grpc.StatusCode.CANCELLED, grpc.StatusCode.RESOURCE_EXHAUSTED
    assert sorted(await refused, key=str) == [cancelled, cancelled, exhausted]
