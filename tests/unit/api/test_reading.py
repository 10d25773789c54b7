from __future__ import annotations

import json
from contextlib import suppress

import pytest
from google.protobuf.json_format import MessageToJson
from hypothesis import given
from hypothesis import strategies as st

from settlement_engine.api.read_json import read_json
from settlement_engine.api.read_proto import read_proto
from settlement_engine.errors import InvalidInstruction
from settlement_engine.proto import settlement_pb2 as pb


def refused(data: bytes, kind=pb.SettlementRequest) -> tuple[str, str]:
    with pytest.raises(InvalidInstruction) as caught:
        read_json(data, kind)
    return caught.value.violations[0]


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
requests = st.builds(
    pb.SettlementRequest,
    obligation_id=texts,
    amount=texts,
    settlement_date=st.integers(-(2**63), 2**63 - 1),
    priority=st.sampled_from([0, 1, 2]),
    metadata=st.dictionaries(texts, texts, max_size=3),
    payment=st.none()
    | st.builds(
        pb.PaymentDetails,
        creditor=st.builds(
            pb.PaymentParty,
            name=texts,
            account=st.none() | st.builds(pb.PaymentAccount, iban=texts),
            address=st.builds(pb.PostalAddress, lines=st.lists(texts, max_size=3)),
        ),
        remittance=texts,
    ),
    rail=texts,
    delivery=st.sampled_from([0, 1, 2]),
    compensates=texts,
)
LINE = "payment.creditor.address.lines[1]"


@given(st.builds(pb.SubmitSettlementsRequest, settlements=st.lists(requests, max_size=3)))
def test_json_written_by_protobuf_is_read_back(message: pb.SubmitSettlementsRequest) -> None:
    for keeps_names in (False, True):
        text = MessageToJson(message, preserving_proto_field_name=keeps_names)
        assert read_json(text.encode(), pb.SubmitSettlementsRequest) == message


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for read in (read_json, read_proto):
        with suppress(InvalidInstruction):
            read(data, pb.SubmitSettlementsRequest)


def test_a_field_has_two_spellings_but_may_be_given_once() -> None:
    assert read_json(b'{"fromBank":"A"}', pb.SettlementRequest).from_bank == "A"
    assert read_json(b'{"from_bank":"A"}', pb.SettlementRequest).from_bank == "A"
    assert refused(b'{"from_bank":"A","fromBank":"B"}')[0] == "from_bank"


def test_null_means_that_a_field_is_absent() -> None:
    assert read_json(b"", pb.SettlementRequest) == pb.SettlementRequest()
    assert read_json(b'{"amount":null}', pb.SettlementRequest) == pb.SettlementRequest()


@pytest.mark.parametrize(
    ("data", "field", "words"),
    [
        (b'{"amout":"1"}', "amout", "no such field"),
        (b'{"amount":1.5}', "amount", "text"),
        (b'{"amount":["1"]}', "amount", "text"),
        (b'{"amount":"\\ud800"}', "amount", "surrogate"),
        (b'{"priority":"SOON"}', "priority", "NORMAL, HIGH, URGENT"),
        (b'{"priority":7}', "priority", "NORMAL"),
        (b'{"priority":true}', "priority", "NORMAL"),
        (b'{"settlementDate":1.0}', "settlement_date", "whole"),
        (b'{"settlementDate":"1e3"}', "settlement_date", "whole"),
        (b'{"settlementDate":"\xd9\xa3"}', "settlement_date", "whole"),
        (b'{"settlementDate":9223372036854775808}', "settlement_date", "whole"),
        (b'{"metadata":[]}', "metadata", "object"),
        (b'{"metadata":{"a":1}}', "metadata.a", "text"),
        (b'{"amount":"1","amount":"2"}', "body", "twice"),
        (b'{"amount":NaN}', "body", "NaN"),
        (b"[]", "body", "object"),
        (b"{", "body", "line 1, column 2"),
        (b'{"amount":"\xff"}', "body", "byte 11"),
        (b"[" * 1_000, "body", "deep"),
        (b"[" * 100_000, "body", "values"),
        (b'{"settlementDate":' + b"1" * 5000 + b"}", "body", "too long"),
    ],
)
def test_faulty_json_names_the_field(data: bytes, field: str, words: str) -> None:
    name, description = refused(data)
    assert name == field
    assert words in description


def test_the_index_of_a_faulty_list_element_is_named() -> None:
    name, _ = refused(b'{"settlements":[{},{"x":1}]}', pb.SubmitSettlementsRequest)
    assert name == "settlements[1].x"
    name, _ = refused(b'{"settlements":[{},3]}', pb.SubmitSettlementsRequest)
    assert name == "settlements[1]"


def test_an_unknown_name_is_quoted_short_and_printable() -> None:
    name, _ = refused(json.dumps({"\x1b" + "x" * 500: 1}).encode())
    assert len(name) < 100
    assert name.isprintable()


def wire(number: int, content: bytes) -> bytes:
    assert len(content) < 128
    return bytes((number << 3 | 2, len(content))) + content


@pytest.mark.parametrize(
    ("data", "kind", "field"),
    [
        (wire(1, b"OBL-1") + wire(4, b"\xff\xfe"), pb.SettlementRequest, "amount"),
        (
            wire(8, wire(1, b"key") + wire(2, b"\xc3")),
            pb.SettlementRequest,
            "metadata.value",
        ),
        (
            wire(1, wire(1, b"x")) + wire(1, wire(1, b"\xff")),
            pb.SubmitSettlementsRequest,
            "settlements[1].obligation_id",
        ),
        (
            wire(10, wire(2, wire(4, wire(12, b"x") + wire(12, b"\xff")))),
            pb.SettlementRequest,
            LINE,
        ),
    ],
)
def test_a_text_that_is_not_utf8_is_named(data: bytes, kind, field: str) -> None:
    with pytest.raises(InvalidInstruction) as caught:
        read_proto(data, kind)
    assert caught.value.violations == [(field, "is not valid UTF-8")]


@pytest.mark.parametrize("data", [b"\xff", b"\x0a\x7f", b"\x0f", b"\x08" + b"\xff" * 11])
def test_undecodable_protobuf_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInstruction) as caught:
        read_proto(data, pb.SettlementRequest)
    assert caught.value.violations[0][0] == "body"
