from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settlement_engine.domain.backoff import Backoff

BACKOFF = Backoff(first_seconds=1, max_seconds=60)


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [(0, 1), (1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 32), (7, 60), (8, 60), (10**9, 60)],
)
def test_waits_double_up_to_their_bound(asked, seconds):
    assert BACKOFF.seconds(asked, 0) == seconds


def test_a_wait_is_spread_over_its_last_quarter():
    assert BACKOFF.seconds(1, 0) == 1
    assert BACKOFF.seconds(1, 0.5) == 0.875
    assert BACKOFF.seconds(1, 0.999) == pytest.approx(0.75025)


@pytest.mark.parametrize("spread", [-0.1, 1, 1.5])
def test_a_spread_outside_of_its_range_is_a_bug(spread):
    with pytest.raises(AssertionError):
        BACKOFF.seconds(1, spread)


def test_a_first_wait_above_the_bound_is_cut():
    assert Backoff(first_seconds=90, max_seconds=60).seconds(1, 0) == 60


@given(
    st.integers(min_value=-5, max_value=10**6),
    st.floats(min_value=0, max_value=1, exclude_max=True),
)
def test_a_wait_is_never_zero_and_never_above_the_bound(asked, spread):
    assert 0.75 <= BACKOFF.seconds(asked, spread) <= 60


@given(st.integers(min_value=1, max_value=10**4))
def test_a_later_wait_is_never_shorter(asked):
    assert BACKOFF.seconds(asked + 1, 0) >= BACKOFF.seconds(asked, 0)
