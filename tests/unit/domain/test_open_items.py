"""Places of items are read back as they were written, and no other text is one."""

from __future__ import annotations

from datetime import date, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settlement_engine.domain.open_items import (
    NUMBER_MAX,
    SPAN_MAX,
    ItemPart,
    ItemPlace,
    ItemSide,
    ItemSums,
    OpenItem,
    added_up,
    begins_of,
    read_place,
    span_of,
    sums_of,
)
from settlement_engine.domain.proof import NOT_COVERED, BalanceProof

DAY = date(2026, 1, 31)
NUMBERS = st.integers(0, NUMBER_MAX)
SMALL = st.integers(0, 2**15 - 1)
ITEMS = {
    ItemPart.THEIRS_OPEN: st.tuples(NUMBERS, st.integers(0, 2**31 - 1)),
    ItemPart.THEIRS_MATCHED: st.tuples(NUMBERS, st.integers(0, 2**31 - 1)),
    ItemPart.OURS_OPEN: st.tuples(NUMBERS),
    ItemPart.OURS_MATCHED: st.tuples(st.uuids().map(str), SMALL, SMALL),
}


@st.composite
def places(draw: st.DrawFn) -> ItemPlace:
    part = draw(st.sampled_from(ItemPart))
    item = draw(ITEMS[part])
    span = draw(st.integers(0, SPAN_MAX))
    return ItemPlace(part, draw(st.dates()), item, span, draw(NUMBERS))


@given(places())
def test_a_place_is_read_as_it_was_written(place: ItemPlace) -> None:
    assert read_place(place.text()) == place


@given(places(), st.data())
def test_a_place_that_was_spoiled_is_none_or_another_one(
    place: ItemPlace, data: st.DataObject
) -> None:
    text = place.text()
    at = data.draw(st.integers(0, len(text) - 1))
    spoiled = text[:at] + data.draw(st.characters()) + text[at + 1 :]
    found = read_place(spoiled)
    assert found is None or isinstance(found, ItemPlace)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7",
        "4.0.2026-01-31.0.1/1",
        "0.15.2026-01-31.0.1/1",
        "0.0.2026-02-31.0.1/1",
        "0.0.2026-01-31.0.1",
        "0.0.2026-01-31.0.1/2147483648",
        "0.0.2026-01-31.0.9223372036854775808/1",
        "1.0.2026-01-31.9223372036854775808.1/1",
        "2.0.2026-01-31.0.1/1",
        "2.0.2026-01-31.0.-1",
        "2.0.2026-01-31.0.9223372036854775808",
        "3.0.2026-01-31.0.1/1/1",
        f"3.0.2026-01-31.0.{UUID(int=1)}/32768/1",
        f"3.0.2026-01-31.0.{UUID(int=1)}/1",
        "0.0.2026-01-31.0.a/1",
        "0.0.٢026-01-31.0.1/1",
    ],
)
def test_what_is_no_place_is_none(text: str) -> None:
    assert read_place(text) is None


@pytest.mark.parametrize(
    ("days", "span"), [(1, 0), (2, 1), (3, 1), (4, 2), (7, 2), (8, 3), (16_383, 13), (40_000, 14)]
)
def test_the_span_is_the_logarithm_of_the_days(days: int, span: int) -> None:
    assert span_of(DAY, DAY + timedelta(days)) == span


def item(part: ItemPart, minor: int) -> OpenItem:
    return OpenItem(
        place=ItemPlace(part, DAY, (1, 1)),
        name="1/1",
        minor=minor,
        currency="EUR",
        booked_on=DAY,
        value_date=None,
        references=(),
    )


def test_items_are_added_up_each_side_for_itself() -> None:
    items = [item(part, 10**part.value) for part in ItemPart]
    assert [each.side for each in items] == [*[ItemSide.THEIRS] * 2, *[ItemSide.OURS] * 2]
    assert added_up(items) == ItemSums(11, 1_100, 2, 2)
    assert added_up([]) == ItemSums()


def proof(day: date, held_back_by: str = "") -> BalanceProof:
    return BalanceProof(
        booking_date=day,
        our_closing_minor=0,
        unmatched_theirs_minor=11,
        unmatched_ours_minor=1_100,
        opening_difference_minor=0,
        difference_minor=1_089,
        their_closing_minor=0,
        unmatched_theirs=2,
        unmatched_ours=3,
        held_back_by=held_back_by,
    )


def test_a_proof_says_what_its_items_add_up_to() -> None:
    assert sums_of(proof(DAY)) == ItemSums(11, 1_100, 2, 3)


def test_days_that_no_statement_covers_any_more_are_before_the_first_one() -> None:
    proofs = [
        proof(DAY, NOT_COVERED),
        proof(DAY + timedelta(2), "a gap"),
        proof(DAY + timedelta(3)),
    ]
    assert begins_of(proofs) == DAY + timedelta(2)
    assert begins_of(proofs[:1]) is None
