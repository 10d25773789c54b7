from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from settlement_engine.errors import Overloaded
from tests.support.waiting import until

GOOD = {
    "obligationId": "OBL-1",
    "fromBank": "DEUTDEFF",
    "toBank": "CHASUS33",
    "amount": "12.50",
    "currency": "EUR",
}


def curl(http: str, data: bytes) -> int:
    """Send the whole request before reading the response, as simple clients do."""
    path = f"{http}/settlement.SettlementService/ExecuteSettlement"
    request = urllib.request.Request(path, data, {"Content-Type": "application/json"})
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=10)
    caught.value.close()
    return caught.value.code


async def test_a_settlement_is_executed_over_http(edge) -> None:
    status, body, _ = await edge.post("ExecuteSettlement", GOOD)
    assert status == 200
    assert (body["status"], body["replayed"], body["refusalCode"]) == ("COMPLETED", False, "")
    assert int(body["completedAt"]) > 0
    status, found, _ = await edge.post("GetSettlementStatus", {"obligation_id": "OBL-1"})
    assert found["moves"][0]["event"] == "ADMITTED"
    assert found["settlementId"] == body["settlementId"]


async def test_accounts_are_kept_over_http(edge) -> None:
    opening = {"kind": "NOSTRO", "bank": "DEUTDEFF", "currency": "EUR"}
    status, opened, _ = await edge.post("OpenAccount", opening)
    assert (status, opened["id"], opened["kind"]) == (200, "1", "NOSTRO")
    funding = {"bank": "DEUTDEFF", "currency": "EUR", "amount": "5.00"}
    _, funded, _ = await edge.post("FundAccount", funding)
    assert funded["available"] == "5.00"
    _, listed, _ = await edge.post("ListAccounts", {})
    assert [one["id"] for one in listed["accounts"]] == ["1"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"amount": "1.001"}, "amount"),
        ({"amount": 12.5}, "amount"),
        ({"amout": "1"}, "amout"),
        ({"priority": "SOON"}, "priority"),
        ({"priority": 7}, "priority"),
        ({"obligationId": ""}, "obligation_id"),
        ({"currency": "zzz"}, "currency"),
        ({"toBank": "DEUTDEFF"}, "to_bank"),
    ],
)
async def test_a_wrong_field_is_named(edge, change, field) -> None:
    status, body, _ = await edge.post("ExecuteSettlement", GOOD | change)
    assert status == 400
    assert (body["code"], body["status"]) == (3, "INVALID_ARGUMENT")
    assert [one["field"] for one in body["violations"]] == [field]
    assert field in body["message"]
    assert not edge.world.settlements


async def test_garbage_is_refused_and_the_server_keeps_running(edge) -> None:
    for data, words in ((b'{"amount": "\xff"}', "byte 12"), (b"{", "line 1"), (b"[]", "object")):
        status, body, _ = await edge.post("ExecuteSettlement", data)
        assert status == 400
        assert words in body["message"]
    assert (await edge.post("ExecuteSettlement", GOOD))[0] == 200


async def test_a_body_that_is_too_large_is_not_read(edge) -> None:
    data = b'{"amount": "' + b"1" * 10_000_000 + b'"}'
    status, body, _ = await edge.post("ExecuteSettlement", data)
    assert (status, body["reason"]) == (413, "BODY_TOO_LARGE")
    assert await asyncio.to_thread(curl, edge.http, data) == 413

    async def parts():
        for _ in range(10):
            yield b" " * 1_000_000

    async with edge.session.post(
        "/settlement.SettlementService/ExecuteSettlement",
        data=parts(),
        headers={"Content-Type": "application/json"},
    ) as got:
        assert got.status == 413
    assert (await edge.post("ExecuteSettlement", GOOD))[0] == 200


async def test_a_body_larger_than_aiohttps_default_is_accepted(edge) -> None:
    items = [GOOD | {"obligationId": f"OBL-{n}", "metadata": {"a": "x" * 500}} for n in range(3000)]
    status, body, _ = await edge.post("SubmitSettlements", {"settlements": items})
    assert status == 200
    assert len(body["results"]) == 3000


async def test_a_batch_has_its_errors_as_json(edge) -> None:
    items = [GOOD, GOOD | {"amount": "x", "obligationId": "OBL-2"}]
    _, body, _ = await edge.post("SubmitSettlements", {"settlements": items})
    good, wrong = body["results"]
    assert good["settlement"]["obligationId"] == "OBL-1"
    assert wrong["error"]["code"] == 3
    assert wrong["error"]["details"][1]["fieldViolations"][0]["field"] == "amount"


async def test_the_idempotency_key_may_be_a_header(edge) -> None:
    await edge.post("ExecuteSettlement", GOOD, headers={"Idempotency-Key": '"k-1"'})
    [settlement] = edge.world.settlements.values()
    assert settlement.instruction.idempotency_key == "k-1"
    _, body, _ = await edge.post(
        "ExecuteSettlement", GOOD | {"idempotencyKey": "k-2"}, headers={"Idempotency-Key": "k-1"}
    )
    assert body["violations"][0]["field"] == "idempotency_key"
    other = GOOD | {"amount": "9.00"}
    status, body, _ = await edge.post(
        "ExecuteSettlement", other, headers={"Idempotency-Key": "k-1"}
    )
    assert (status, body["status"]) == (409, "ALREADY_EXISTS")
    assert "amount" in body["message"]


@pytest.mark.parametrize(
    ("header", "text", "seconds"),
    [
        ("Grpc-Timeout", "10S", 9.5),
        ("Grpc-Timeout", "2000m", 1.75),
        ("Connect-Timeout-Ms", "2000", 1.75),
        ("X-Timeout-Seconds", "2", 1.75),
        ("X-Other", "2", 20),
    ],
)
async def test_the_deadline_may_be_a_header(edge, header, text, seconds) -> None:
    await edge.post("ExecuteSettlement", GOOD, headers={header: text})
    assert edge.world.waits == [pytest.approx(seconds)]


@pytest.mark.parametrize("text", ["", "1e3", "-1", "nan", "1" * 20])
async def test_an_invalid_deadline_is_refused(edge, text) -> None:
    status, body, _ = await edge.post(
        "ExecuteSettlement", GOOD, headers={"X-Timeout-Seconds": text}
    )
    assert (status, body["violations"][0]["field"]) == (400, "timeout")


async def test_the_deadline_holds_although_the_engine_does_not_answer(edge) -> None:
    edge.world.holding = asyncio.Event()
    opening = {"kind": "NOSTRO", "bank": "DEUTDEFF", "currency": "EUR"}
    status, body, _ = await edge.post("OpenAccount", opening, headers={"Grpc-Timeout": "50m"})
    assert (status, body["status"]) == (504, "DEADLINE_EXCEEDED")
    edge.world.holding.set()
    await edge.calls.undisturbed.finished()
    assert len(edge.world.accounts_known) == 1


async def test_a_retryable_error_says_when_to_retry(edge) -> None:
    edge.world.failure = Overloaded("full", retry_after_seconds=1.5)
    status, body, headers = await edge.post("ExecuteSettlement", GOOD)
    assert (status, body["reason"], headers["Retry-After"]) == (429, "OVERLOADED", "2")


async def test_unserved_paths_and_methods_are_answered_as_json(edge) -> None:
    status, body, _ = await edge.post("Nothing", {})
    assert (status, body["status"]) == (501, "UNIMPLEMENTED")
    assert "ExecuteSettlement" in body["message"]
    status, body, _ = await edge.post("ExecuteSettlements", {})
    assert (status, "gRPC" in body["message"]) == (501, True)
    path = "/settlement.SettlementService/ExecuteSettlement"
    async with edge.session.get(path) as got:
        assert (got.status, got.headers["Allow"]) == (405, "POST")
        assert (await got.json())["reason"] == "NOT_POST"


async def test_a_request_from_another_origin_is_refused(edge) -> None:
    elsewhere = f"http://127.0.0.1:{edge.http_port + 1}"
    for origin in ("https://evil.example", "null", "", elsewhere, f"ftp://{edge.http[7:]}"):
        status, body, _ = await edge.post("ExecuteSettlement", GOOD, headers={"Origin": origin})
        assert (status, body["status"]) == (403, "PERMISSION_DENIED")
    assert not edge.world.settlements
    status, _, _ = await edge.post("ExecuteSettlement", GOOD, headers={"Origin": edge.http})
    assert status == 200


async def lines(edge, body: dict[str, Any], **options) -> list[dict[str, Any]]:
    path = "/settlement.SettlementService/StreamSettlementEvents"
    async with edge.session.post(path, json=body, **options) as got:
        assert got.status == 200
        assert got.content_type == "application/x-ndjson"
        return [json.loads(line) async for line in got.content]


async def test_events_are_json_lines(edge) -> None:
    await edge.post("ExecuteSettlement", GOOD)
    events = await lines(edge, {"endsAtHead": True})
    assert [event["sequence"] for event in events] == ["1", "2"]
    assert events[1]["payload"]["@type"].endswith("settlement.SettlementMoved")
    assert events[1]["payload"]["move"]["toState"] == "COMPLETED"
    assert await lines(edge, {"afterSequence": "2", "endsAtHead": True}) == []


async def test_a_stream_ends_at_its_deadline(edge) -> None:
    await edge.post("ExecuteSettlement", GOOD)
    assert len(await lines(edge, {}, headers={"Grpc-Timeout": "100m"})) == 2


async def test_an_invalid_stream_request_has_an_http_status(edge) -> None:
    status, body, _ = await edge.post("StreamSettlementEvents", {"afterSequence": "-1"})
    assert (status, body["violations"][0]["field"]) == (400, "after_sequence")


async def test_a_stream_whose_caller_disconnects_ends(edge) -> None:
    path = "/settlement.SettlementService/StreamSettlementEvents"
    async with edge.session.post(path, json={}) as got:
        assert got.status == 200
        assert edge.calls.events._bound._count == 1
        got.close()
    await until(lambda: edge.calls.events._bound._count == 0, "the stream has ended")


async def test_draining_ends_a_stream_with_an_error_line(edge) -> None:
    path = "/settlement.SettlementService/StreamSettlementEvents"
    async with edge.session.post(path, json={}) as got:
        await edge.server.drain()
        [line] = [json.loads(line) async for line in got.content]
    assert line["error"]["status"] == "UNAVAILABLE"
