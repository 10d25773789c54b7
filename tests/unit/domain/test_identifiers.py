"""The golden values here must never change: a restored database would pay again under new names."""

from __future__ import annotations

import re
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settlement_engine.domain.identifiers import content_hash, key_hash, references

keys = st.text(max_size=40)
attempts = st.integers(min_value=1, max_value=1_000)

GOLDEN = [
    (
        ("clearing", "key-1", 1),
        "12f65ee2-ce47-40f4-b4fe-f2081fa61860",
        "E7EAD8EB1577F3BFA486574E6E26ACD9E27",
        "M607E3526D4D5CA5DBC026275445FED5398",
    ),
    (
        ("clearing", "key-1", 2),
        "9a7030b7-eda2-4f0a-b6b1-bf3d412beddc",
        "E7EAD8EB1577F3BFA486574E6E26ACD9E27",
        "MDC9D617EBADCB6034E11DA3DB9E0B6965E",
    ),
]


@pytest.mark.parametrize(("payment", "uetr", "end_to_end_id", "message_id"), GOLDEN)
def test_references_are_the_same_for_ever(payment, uetr, end_to_end_id, message_id):
    found = references(*payment)
    assert str(found.uetr) == uetr
    assert found.end_to_end_id == end_to_end_id
    assert found.message_id == message_id


def test_key_hashes_are_the_same_for_ever():
    assert str(key_hash("clearing", "key-1")) == "6aa92ed0-e6be-3891-fca3-428816623ec7"
    assert str(key_hash("clearing", "key-1", "fund")) == "fa88e0cb-7c85-6419-5b29-0894e1b1000d"
    assert str(key_hash("", "")) == "74cb1366-8823-07a9-63dd-1afe687bcdb8"


def test_content_hashes_are_the_same_for_ever():
    fields = {"obligation_id": "OBL-1", "amount": 1250, "settlement_date": None}
    assert (
        content_hash(fields).hex()
        == "d0b0088ff4729b3d27688a927160395f14f61a3a475db657fc54664d09a8395d"
    )
    assert (
        content_hash({"metadata": {"é": "ü\u2028"}}).hex()
        == "d789d350ade9ab70d5a24b49a885a99dbea55daf1bc460caa6aef9930683d3aa"
    )


@given(keys, keys, attempts)
def test_the_uetr_has_the_shape_of_a_version_4_uuid(caller, key, attempt):
    uetr = references(caller, key, attempt).uetr
    assert uetr.version == 4
    assert re.fullmatch(
        r"[a-f0-9]{8}-[a-f0-9]{4}-4[a-f0-9]{3}-[89ab][a-f0-9]{3}-[a-f0-9]{12}", str(uetr)
    )


@given(keys, keys, attempts)
def test_the_other_references_fit_max35text_and_every_character_set(caller, key, attempt):
    found = references(caller, key, attempt)
    assert re.fullmatch(r"E[0-9A-F]{1,34}", found.end_to_end_id)
    assert re.fullmatch(r"M[0-9A-F]{1,34}", found.message_id)


@given(keys, keys, attempts)
def test_the_same_question_has_the_same_references(caller, key, attempt):
    assert references(caller, key, attempt) == references(caller, key, attempt)


@given(keys, keys, attempts, attempts)
def test_another_attempt_is_another_message_of_the_same_payment(caller, key, one, other):
    first, second = references(caller, key, one), references(caller, key, other)
    assert first.end_to_end_id == second.end_to_end_id
    assert (first.uetr == second.uetr) == (one == other)
    assert (first.message_id == second.message_id) == (one == other)


@given(st.tuples(keys, keys), st.tuples(keys, keys))
def test_another_caller_or_key_shares_no_reference(one, other):
    first, second = references(one[0], one[1], 1), references(other[0], other[1], 1)
    is_same = one == other
    assert (first.uetr == second.uetr) == is_same
    assert (first.end_to_end_id == second.end_to_end_id) == is_same
    assert (first.message_id == second.message_id) == is_same
    assert (key_hash(*one) == key_hash(*other)) == is_same


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("ab", "c"), ("a", "bc")),
        (("", "abc"), ("abc", "")),
        (("a\x00b", "c"), ("a", "b\x00c")),
        (("a", "\x00\x00\x00\x01b"), ("a\x00\x00\x00\x01", "b")),
    ],
)
def test_parts_cannot_flow_into_each_other(one, other):
    assert key_hash(*one) != key_hash(*other)
    assert references(one[0], one[1], 1).uetr != references(other[0], other[1], 1).uetr


def test_an_attempt_cannot_flow_into_the_key():
    assert references("a", "b", 11).uetr != references("a", "b1", 1).uetr


def test_the_purposes_are_kept_apart():
    settle, fund = key_hash("a", "b"), key_hash("a", "b", "fund")
    assert settle == key_hash("a", "b", "settle")
    assert settle != fund
    found = references("a", "b", 1)
    assert settle.hex[:16] not in (found.uetr.hex, found.end_to_end_id.lower())


def test_the_key_hash_is_128_bits():
    assert isinstance(key_hash("a", "b"), UUID)


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=5))
def test_the_order_of_a_mapping_does_not_matter_to_the_content(metadata):
    turned = dict(reversed(metadata.items()))
    assert content_hash({"metadata": metadata}) == content_hash({"metadata": turned})
    assert content_hash({"a": 1, "metadata": metadata}) == content_hash(
        {"metadata": turned, "a": 1}
    )


def test_the_name_the_value_and_the_type_of_a_field_matter_to_the_content():
    contents: list[dict[str, object]] = [
        {"a": 1},
        {"a": 2},
        {"b": 1},
        {"a": "1"},
        {"a": True},
        {"a": None},
        {"a": "None"},
        {"a": "null"},
        {"a": {}},
        {"a": {"b": 1}},
        {"a": 1, "b": 1},
        {"a.b": 1},
    ]
    assert len({content_hash(content) for content in contents}) == len(contents)
