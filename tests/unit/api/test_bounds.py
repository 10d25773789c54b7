"""Limits on requests are checked before decoding, and no cost grows faster than the request."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from settlement_engine.api import json_text, read_json
from settlement_engine.api.bounds import (
    CALL_BYTES_MAX,
    DEPTH_MAX,
    PROPOSAL,
    SINGLE,
    VALUES_MAX,
    ReadBounds,
)
from settlement_engine.api.clearing import read_instruction
from settlement_engine.api.json_text import Span, load, outline
from settlement_engine.api.payment import payment_message
from settlement_engine.api.read_proto import read_proto, reading_proto
from settlement_engine.api.service import YIELD_EVERY_ITEMS
from settlement_engine.api.turns import finish
from settlement_engine.api.write_json import writing_json
from settlement_engine.domain.payment_checks import (
    ADDRESS_CHARACTERS_MAX,
    ADDRESS_LINE_CHARACTERS_MAX,
    NAME_CHARACTERS_MAX,
)
from settlement_engine.domain.proposals import EVIDENCE_BYTES_MAX
from settlement_engine.errors import InvalidInstruction
from settlement_engine.events.clearing import ClearingSettings
from settlement_engine.proto import settlement_pb2 as pb
from tests.unit.api.test_gateway import GOOD
from tests.unit.api.test_grpc import FULL, failed, payment_request, violations

BATCH = ReadBounds(bytes_max=4 * 1024 * 1024, items_max=5_000)
LEVEL = b'{"a":'


def refused_json(data: bytes, kind: Any = pb.SettlementRequest, bounds=SINGLE) -> tuple[str, str]:
    with pytest.raises(InvalidInstruction) as caught:
        read_json.read_json(data, kind, bounds)
    return caught.value.violations[0]


def refused_proto(data: bytes, kind: Any, bounds=SINGLE) -> tuple[str, str]:
    with pytest.raises(InvalidInstruction) as caught:
        read_proto(data, kind, bounds)
    return caught.value.violations[0]


def never(*_: object) -> Any:
    raise AssertionError("it was read before it was counted")


class Unread:
    """A message type that must not be decoded: the limits must be checked first."""

    def __init__(self, kind: Any) -> None:
        self.DESCRIPTOR = kind.DESCRIPTOR
        self.FromString = never

    def __call__(self) -> Unread:
        return self

    MergeFromString = staticmethod(never)


class Name(str):
    """A name that counts its comparisons."""

    __slots__ = ()
    __hash__ = str.__hash__
    compared = 0

    def __eq__(self, other: object) -> bool:
        Name.compared += 1
        return str.__eq__(self, other)


def test_a_duplicate_name_is_found_in_linear_time() -> None:
    count = 2_000
    pairs: list[tuple[str, Any]] = [(Name(f"n{n}"), 0) for n in range(count)]
    pairs += [(Name("zz"), 0), (Name("zz"), 0)]
    Name.compared = 0
    with pytest.raises(json_text._Wrong, match="the field zz twice"):
        json_text._unique(pairs)
    assert Name.compared < 10 * count


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"[" + b",".join([b"0"] * VALUES_MAX) + b"]", "values"),
        (b"{" + b",".join(b'"%d":0' % n for n in range(14_000)) + b',"zz":0,"zz":0}', "values"),
        (b'{"metadata":{' + b",".join([b'"a":[]'] * VALUES_MAX) + b"}}", "values"),
        (LEVEL * (DEPTH_MAX + 1) + b"0" + b"}" * (DEPTH_MAX + 1), "deep"),
        (b"[" * 100_000, "values"),
        (b" " * (CALL_BYTES_MAX + 1), f"more than {CALL_BYTES_MAX} bytes"),
    ],
)
def test_bytes_values_and_depth_are_counted_before_json_is_loaded(
    data: bytes, words: str, monkeypatch
) -> None:
    class Unloaded:
        decode = staticmethod(never)

    monkeypatch.setattr(json_text, "_DECODER", Unloaded)
    name, description = refused_json(data)
    assert name == "body"
    assert words in description


def test_brackets_inside_texts_are_not_counted() -> None:
    text = '[{,"\\' * 50_000
    data = json.dumps({"amount": text, "currency": "EUR"}).encode()
    message = read_json.read_json(data, pb.SettlementRequest, PROPOSAL)
    assert (message.amount, message.currency) == (text, "EUR")


def test_the_largest_settlement_is_read() -> None:
    key = "k" * 62
    metadata = {f"{key}{n:02}": "\U0001f4b6" * 512 for n in range(32)}
    address: dict[str, Any] = {
        field: "\U0001f4b6" * most for field, most in ADDRESS_CHARACTERS_MAX.items()
    }
    address |= {"country": "DE", "lines": ["\U0001f4b6" * ADDRESS_LINE_CHARACTERS_MAX] * 2}
    party = {
        "name": "\U0001f4b6" * NAME_CHARACTERS_MAX,
        "account": {"iban": "DE89370400440532013000", "type": "CACC"},
        "lei": "213800KUD8LAJWSQ9D15",
        "address": address,
        "agent_bic": "DEUTDEFF500",
    }
    payment = {"debtor": party, "creditor": party, "remittance": "\U0001f4b6" * 140}
    data = json.dumps(GOOD | {"metadata": metadata, "payment": payment}).encode()
    assert len(data) < 230_000 < CALL_BYTES_MAX
    made = read_instruction(data)
    assert len(made.metadata) == 32
    assert made.payment is not None
    message = payment_request(metadata=metadata, payment=payment_message(made.payment))
    assert read_proto(message.SerializeToString(), pb.SettlementRequest) == message


def test_too_much_metadata_is_refused_as_such() -> None:
    metadata = {str(n): "" for n in range(1_000)}
    with pytest.raises(InvalidInstruction, match="metadata: has more than 32 entries"):
        read_instruction(json.dumps(GOOD | {"metadata": metadata}).encode())


def test_the_number_of_reported_faults_is_limited() -> None:
    items = b'{"settlements":[' + b",".join([b'{"x":0}'] * 5_000) + b"]}"
    with pytest.raises(InvalidInstruction) as caught:
        read_json.read_json(items, pb.SubmitSettlementsRequest, BATCH)
    assert len(caught.value.violations) == read_json.VIOLATIONS_MAX


def test_clearings_messages_have_their_own_limit() -> None:
    assert ClearingSettings().payload_bytes_max <= CALL_BYTES_MAX
    data = b"{" + b",".join(b'"%d":0' % n for n in range(8_000)) + b',"zz":0,"zz":0}'
    with pytest.raises(InvalidInstruction, match="values"):
        read_instruction(data)


# --- batches of JSON ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("items", "path", "words"),
    [
        (b",".join([b"{}"] * 1_300_000), "settlements", "more than 5000 items"),
        (b"[" * 1_000_000, "body", "262144 characters"),
        (b'"' + b"x" * 1_000_000, "body", "262144 characters"),
        (b'{"amount":"' + b"1" * CALL_BYTES_MAX + b'"}', "body", "262144 characters"),
    ],
)
def test_items_are_counted_before_any_is_read(items, path, words, monkeypatch) -> None:
    loaded: list[Span] = []
    monkeypatch.setattr(read_json, "load", lambda _, span: loaded.append(span))
    data = b'{"settlements":[' + items + b"]}"
    name, description = refused_json(data, pb.SubmitSettlementsRequest, BATCH)
    assert name == path
    assert words in description
    assert not loaded


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        ("[]", "body", "object"),
        ("", "", ""),
        ("{", "body", "line 1, column 2"),
        ('{"settlements":[{},]}', "body", "column 20"),
        ('{"settlements":[{} {}]}', "body", "column 20"),
        ('{"settlements":[{}]', "body", "column 20"),
        ('{"settlements":[{}]} x', "body", "column 22"),
        ('{"settlements" [{}]}', "body", "column 16"),
        ('{"settlements":[{"amount":}]}', "body", "column 27"),
        ('{"settlements":[{]}]}', "body", "column 19"),
        ('{"settlements":[{"amount":"1}]}', "body", "column 27"),
        ('{"settlements":[{}],}', "body", "column 21"),
        ('{"settlements":[{}],"settlements":[]}', "body", "twice"),
        ('{"settlements":[{"amount":"1","amount":"1"}]}', "body", "twice"),
        ('{"settlements":[{},NaN]}', "body", "NaN"),
        ('{"settlements":[{},7]}', "settlements[1]", "object"),
        ('{"settlements":[{},[]]}', "settlements[1]", "object"),
        ('{"settlements":{}}', "settlements", "list"),
        ('{"settlements":7}', "settlements", "list"),
        ('{"others":[1,2]}', "others", "no such field"),
        ('{"settlements":[' + "[" * 9 + "]" * 9 + "]}", "body", "deep"),
    ],
)
def test_a_faulty_batch_is_refused_with_the_faults_position(
    text: str, path: str, words: str
) -> None:
    if not text:
        assert read_json.read_json(b"", pb.SubmitSettlementsRequest, BATCH) == (
            pb.SubmitSettlementsRequest()
        )
        return
    name, description = refused_json(text.encode(), pb.SubmitSettlementsRequest, BATCH)
    assert name == path
    assert words in description


@pytest.mark.parametrize("text", ["{}", " { } ", '{"settlements":[]}', '{"settlements" : [ ] }'])
def test_an_empty_batch_is_read(text: str) -> None:
    found = read_json.read_json(text.encode(), pb.SubmitSettlementsRequest, BATCH)
    assert not found.settlements


loadable = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=4), st.lists(loadable, max_size=5) | loadable))
def test_the_outline_finds_what_the_library_loads(value: dict[str, Any]) -> None:
    for indent in (None, 1):
        text = json.dumps(value, indent=indent)
        with suppress(InvalidInstruction):  # the value is nested too deeply
            found = finish(outline(text, items_max=100))
            assert {name: load(text, span) for name, span, _ in found} == value
            for name, _, elements in found:
                if elements is not None:
                    assert [load(text, one) for one in elements] == value[name]
                else:
                    assert not isinstance(value[name], list)


# --- protobuf -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "path", "words"),
    [
        (b"\x0a\x00" * 2_090_000, "settlements", "more than 5000 items"),
        (b"\x0a\x00" * 2_090_000 + b"\x0a\x03\x0a\x01\xff", "settlements", "5000 items"),
        (b"\x0a\x80\x80\x11" + b"\x42\x00" * 139_264, "settlements[0]", "262144 bytes"),
        (b"\x8a\x00\x84\x40" + b"\x42\x00" * 4_098, "settlements[0]", "4096 values"),
        (b"\x0a\x84\x40" + b"\x42\x00" * 4_098, "settlements[0]", "4096 values"),
        (b"\x0a\x00" * 2_097_153, "body", "4194304 bytes"),
        (b"\x0b" + b"\x0a\x00" * 100, "body", "not a protobuf message"),
    ],
)
def test_items_and_values_are_counted_before_protobuf_is_read(data, path, words) -> None:
    kind = Unread(pb.SubmitSettlementsRequest)
    name, description = refused_proto(data, kind, BATCH)
    assert name == path
    assert words in description


@pytest.mark.parametrize(
    ("data", "kind", "words"),
    [
        (b"\x42\x00" * 131_072, pb.SettlementRequest, "values"),
        (b"\x42\x82\x80\x04" + b"\x0a\x00" * 32_769, pb.SettlementRequest, "values"),
        (b"\x42\x82\x80\x04" + b"\x0a\x00" * 9, pb.SettlementRequest, "not a protobuf message"),
        (b"\x08\x01" * 131_072, pb.ListSettlementsRequest, "values"),
        (b"\x1a\x00" * 131_072, pb.StreamRequest, "values"),
        (b"\x0a" * (CALL_BYTES_MAX + 1), pb.SettlementStatusRequest, "262144 bytes"),
    ],
)
def test_values_are_counted_before_a_single_call_is_read(data, kind, words) -> None:
    padded = data if len(data) > 9_000 else data + b"\x0a\x00" * 9_000
    unread = Unread(kind)
    name, description = refused_proto(padded, unread)
    assert name == "body"
    assert words in description


def test_a_batch_is_read_in_parts_without_loss() -> None:
    message = pb.SubmitSettlementsRequest(
        settlements=[payment_request(n, metadata={"a": "ü" * n}) for n in range(700)]
    )
    data = message.SerializeToString()
    steps = reading_proto(data, pb.SubmitSettlementsRequest, BATCH)
    assert sum(1 for _ in steps) > len(data) // (64 * 1024)
    assert read_proto(data, pb.SubmitSettlementsRequest, BATCH) == message


@pytest.mark.parametrize("place", [0, 1, 400, 699])
def test_a_text_that_is_not_utf8_is_named_at_any_index(place: int) -> None:
    parts = [
        pb.SubmitSettlementsRequest(settlements=[payment_request(n, metadata={"a": "x" * 200})])
        for n in range(700)
    ]
    data = [part.SerializeToString() for part in parts]
    data[place] = b"\x0a\x03\x22\x01\xff"
    name, words = refused_proto(b"".join(data), pb.SubmitSettlementsRequest, BATCH)
    assert (name, words) == (f"settlements[{place}].amount", "is not valid UTF-8")


# --- from outside ---------------------------------------------------------------------------------


async def test_a_single_call_has_its_own_size_limit(edge) -> None:
    data = b'{"amount": "' + b"1" * CALL_BYTES_MAX + b'"}'
    status, body, _ = await edge.post("ExecuteSettlement", data)
    assert (status, body["reason"]) == (413, "BODY_TOO_LARGE")
    assert str(CALL_BYTES_MAX) in body["message"]
    status, body, _ = await edge.post("StreamSettlementEvents", data)
    assert status == 413
    large = payment_request(metadata={"a": "x" * CALL_BYTES_MAX})
    error = await failed(edge.settlements.ExecuteSettlement(large, timeout=5))
    assert (error.code(), violations(error)) == (grpc.StatusCode.INVALID_ARGUMENT, ["body"])
    many = edge.channel.stream_stream(f"{FULL}ExecuteSettlements")(timeout=5)
    for message in (large, payment_request()):
        await many.write(message.SerializeToString())
    await many.done_writing()
    answers = [pb.SettlementResponse.FromString(data) async for data in many]
    assert {answer.error.code for answer in answers} == {3, 0}
    assert not edge.world.submitted


async def test_many_items_are_refused_by_number_on_both_ports(edge) -> None:
    data = b'{"settlements":[' + b",".join([b"{}"] * 1_300_000) + b"]}"
    status, body, _ = await edge.post("SubmitSettlements", data)
    assert (status, [one["field"] for one in body["violations"]]) == (400, ["settlements"])
    call = edge.channel.unary_unary(f"{FULL}SubmitSettlements")
    error = await failed(call(b"\x0a\x00" * 2_090_000, timeout=30))
    assert violations(error) == ["settlements"]


async def test_a_faulty_batch_reserves_no_capacity(edge) -> None:
    faults = pb.SubmitSettlementsRequest(settlements=[pb.SettlementRequest()] * 2_000)
    answer = await edge.settlements.SubmitSettlements(faults, timeout=30)
    assert all(result.error.code == 3 for result in answer.results)
    reads = [read for read, _ in edge.world.noted]
    assert reads == list(range(YIELD_EVERY_ITEMS, 2_001, YIELD_EVERY_ITEMS))
    assert {good for _, good in edge.world.noted} == {0}
    edge.world.noted.clear()
    goods = pb.SubmitSettlementsRequest(settlements=[payment_request(n) for n in range(1_000)])
    await edge.settlements.SubmitSettlements(goods, timeout=30)
    assert all(read == good for read, good in edge.world.noted)


async def test_evidence_of_the_greatest_size_is_accepted(edge) -> None:
    evidence = b"\xff\xfe" * (EVIDENCE_BYTES_MAX // 2)
    asked = {
        "settlementId": "0193a5c2-7d1e-7b3a-9f00-1c2d3e4f5a6b",
        "finding": "RESOLUTION_FINDING_SETTLED",
        "reason": "r" * 1_000,
        "evidenceName": "statement.pdf",
        "evidence": base64.b64encode(evidence).decode(),
    }
    status, body, _ = await edge.post("ProposeResolution", asked, headers={"settlement-actor": "a"})
    assert (status, body["status"]) == (404, "NOT_FOUND"), "it was read"


async def test_long_and_short_answers_have_the_same_json(edge) -> None:
    items = [
        GOOD | {"obligationId": f"OBL-{n}", "amount": "x" if n % 3 else "1.00"} for n in range(60)
    ]
    _, body, _ = await edge.post("SubmitSettlements", {"settlements": items})
    for number, result in enumerate(body["results"]):
        [(name, one)] = result.items()
        if number % 3:
            assert (name, one["code"]) == ("error", 3)
        else:
            assert (one["status"], one["refusalFields"]) == ("VALIDATING", {})
    _, listed, _ = await edge.post("ListSettlements", {"pageSize": 17})
    assert [len(listed["settlements"]), bool(listed["nextPageToken"])] == [17, True]


def test_a_small_batch_is_read_without_yielding() -> None:
    batch = pb.SubmitSettlementsRequest(settlements=[payment_request(n) for n in range(100)])
    kind = pb.SubmitSettlementsRequest
    assert not list(reading_proto(batch.SerializeToString(), kind, BATCH))
    assert not list(read_json.reading_json(b'{"settlements":[{},{}]}', kind, BATCH))
    assert not list(writing_json(pb.SubmitSettlementsResponse(results=[pb.SubmitResult()] * 16)))
