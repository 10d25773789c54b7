"""Returns: parts and charges add up to no more than the whole, and a repetition is no other return."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settlement_engine.domain.money import Money
from settlement_engine.domain.returns import (
    NOT_STATED,
    RETURNS_MAX,
    NotBooked,
    Return,
    StatedAmount,
    judge_return,
    left_of,
    read_return,
)

WHOLE = Money(10_000, "EUR")
DIFFERS, REPEATED = NotBooked.DIFFERS, NotBooked.REPEATED


def stated(minor=None, charges=0, reference="R-1", **more):
    return StatedAmount(minor=minor, charges_minor=charges, reference=reference, **more)


def booked(*parts):
    """Returns of these parts, under the references R-1, R-2, ..."""
    made: tuple[Return, ...] = ()
    for number, minor in enumerate(parts, 1):
        found = judge_return(WHOLE, made, stated(minor, reference=f"R-{number}"))
        assert isinstance(found, Return)
        made = (*made, found)
    return made


def test_a_return_without_amounts_brings_back_the_whole():
    found = judge_return(WHOLE, (), NOT_STATED)
    assert found == Return(posting=2, amount_minor=10_000, charges_minor=0, left_minor=0)


def test_parts_have_postings_of_their_own_and_say_what_is_left():
    one, other = booked(6_000, 4_000)
    assert (one.posting, one.left_minor) == (2, 4_000)
    assert (other.posting, other.left_minor) == (3, 0)


def test_returns_and_charges_together_make_the_whole():
    found = judge_return(WHOLE, (), stated(9_900, 100, value_date=date(2026, 1, 31)))
    assert isinstance(found, Return)
    assert (found.amount_minor, found.charges_minor, found.left_minor) == (9_900, 100, 0)
    assert found.value_date == date(2026, 1, 31)


def test_the_rest_is_what_is_left_less_what_is_charged_for_it():
    found = judge_return(WHOLE, booked(6_000), stated(None, 50, "R-2"))
    assert isinstance(found, Return)
    assert (found.amount_minor, found.charges_minor, found.left_minor) == (3_950, 50, 0)


@pytest.mark.parametrize(
    ("past", "word", "expected"),
    [
        ((6_000,), stated(6_000), REPEATED),
        ((6_000,), stated(5_000), DIFFERS),  # under the reference of another return
        ((6_000,), stated(6_000, 1), DIFFERS),
        ((6_000,), stated(), DIFFERS),  # the rest, under a reference that is known for a part
        ((6_000,), stated(4_001, reference="R-2"), DIFFERS),  # more than is left
        ((6_000,), stated(4_000, 1, "R-2"), DIFFERS),
        ((6_000, 4_000), stated(1, reference="R-3"), DIFFERS),
        ((6_000, 4_000), stated(4_000, reference="R-2"), REPEATED),
        ((10_000,), stated(), REPEATED),
        ((10_000,), stated(reference="R-2"), REPEATED),  # all of nothing
        ((), stated(0), DIFFERS),
        ((), stated(-1), DIFFERS),
        ((), stated(1, -1), DIFFERS),
        ((), stated(None, 10_000), DIFFERS),
        ((), stated(10_001), DIFFERS),
        ((), stated(100, currency="USD"), DIFFERS),
    ],
)
def test_what_cannot_be_is_for_a_person_and_a_repetition_is_no_news(past, word, expected):
    assert judge_return(WHOLE, booked(*past), word) is expected


def test_two_returns_without_a_reference_are_taken_for_one():
    first = judge_return(WHOLE, (), stated(6_000, reference=""))
    assert isinstance(first, Return)
    assert judge_return(WHOLE, (first,), stated(6_000, reference="")) is REPEATED
    assert judge_return(WHOLE, (first,), stated(4_000, reference="")) is DIFFERS


def test_there_are_no_more_parts_than_a_bound():
    parts = booked(*[1] * RETURNS_MAX)
    assert judge_return(WHOLE, parts, stated(1, reference="one more")) is DIFFERS


@given(
    st.lists(
        st.builds(stated, st.none() | st.integers(-5, 12_000), st.integers(-5, 200), st.text("ab")),
        max_size=12,
    )
)
def test_whatever_a_bank_says_no_more_comes_back_than_was_sent(said):
    made: tuple[Return, ...] = ()
    for word in said:
        found = judge_return(WHOLE, made, word)
        if isinstance(found, Return):
            made = (*made, found)
            assert found.amount_minor > 0
            assert found.left_minor == left_of(WHOLE.minor, made) >= 0
            assert judge_return(WHOLE, made, word) is not found
    assert len({each.reference for each in made}) == len(made)
    assert len({each.posting for each in made}) == len(made)


def test_a_return_is_read_back_as_it_was_written():
    found = Return(
        posting=3,
        amount_minor=40,
        charges_minor=2,
        left_minor=8,
        reference="R",
        value_date=date(2026, 2, 1),
    )
    assert read_return(found.words(), 100) == found


def test_before_returns_had_amounts_each_was_the_whole_in_the_settlements_posting():
    old = read_return({"code": "FOCR"}, 100)
    assert (old.posting, old.amount_minor, old.left_minor) == (1, 100, 0)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        (NOT_STATED, False),
        (StatedAmount(minor=10_000), False),
        (StatedAmount(minor=10_000, currency="EUR"), False),
        (StatedAmount(minor=9_999), True),
        (StatedAmount(currency="USD"), True),
    ],
)
def test_another_amount_or_currency_differs(word, expected):
    assert word.differs_from(WHOLE) is expected


@pytest.mark.parametrize(
    ("minor", "paid_back", "is_booked"),
    [
        (6_000, 4_000, True),
        (6_001, 4_000, False),
        (None, 1, False),
        (None, 0, True),
        (1, 10_000, False),
    ],
)
def test_what_was_paid_back_is_not_there_to_be_returned(minor, paid_back, is_booked):
    found = judge_return(WHOLE, (), stated(minor), paid_back)
    assert (found is not DIFFERS) is is_booked


def test_a_repetition_is_one_although_the_rest_was_paid_back():
    returns = booked(6_000)
    again = stated(6_000, reference=returns[0].reference)
    assert judge_return(WHOLE, returns, again, 4_000) is REPEATED
