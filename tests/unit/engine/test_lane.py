"""A lane and its circuit breaker on their own, without an engine."""

from __future__ import annotations

from typing import Any

import pytest

from settlement_engine.domain.backoff import Backoff
from settlement_engine.domain.lifecycle import Ask
from settlement_engine.engine.dispatch.breaker import Breaker, BreakerState
from settlement_engine.engine.dispatch.lane import NO_BOUND, Lane, Track
from settlement_engine.ports import BreakerLimits, LaneLimits

REST = Backoff(first_seconds=10, max_seconds=40)
LIMITS = BreakerLimits(failures_in_a_row=3, window=10, failure_share=0.8, rest=REST)


def lane(**limits: Any) -> Lane:
    return Lane("rail", "AAA", LaneLimits(**limits), 0.0)


# --- the breaker ----------------------------------------------------------------------------------


def test_it_opens_after_consecutive_failures() -> None:
    breaker = Breaker(LIMITS)
    breaker.ended(0, 2, 0.0)
    assert breaker.room(0.0) is None
    breaker.ended(0, 1, 0.0)
    assert (breaker.state(0.0), breaker.room(0.0)) == (BreakerState.OPEN, 0)


def test_one_answer_in_a_call_shows_that_the_bank_answers() -> None:
    """The missing answers of a call are reported together at its end: they are not consecutive."""
    breaker = Breaker(BreakerLimits(failures_in_a_row=3, window=10**6, rest=REST))
    for _ in range(10):
        breaker.ended(1, 2, 0.0)
    assert breaker.is_closed


@pytest.mark.parametrize(("failed", "is_closed"), [(7, True), (8, False)])
def test_it_opens_when_most_of_the_last_sends_failed(failed: int, is_closed: bool) -> None:
    breaker = Breaker(BreakerLimits(failures_in_a_row=99, window=10, failure_share=0.8, rest=REST))
    for _ in range(10 - failed):
        breaker.ended(1, 0, 0.0)
    for _ in range(failed):
        breaker.ended(0, 1, 0.0)
    assert breaker.is_closed is is_closed


def test_results_before_the_window_do_not_count() -> None:
    breaker = Breaker(BreakerLimits(failures_in_a_row=99, window=4, failure_share=0.8, rest=REST))
    for _ in range(100):
        breaker.ended(1, 0, 0.0)
    for _ in range(3):
        breaker.ended(0, 1, 0.0)
    assert breaker.is_closed
    breaker.ended(0, 1, 0.0)
    assert not breaker.is_closed


def test_half_open_it_lets_one_through_and_waits_longer_after_each_failure() -> None:
    breaker = Breaker(LIMITS)
    breaker.ended(0, 3, 0.0)
    at = 0.0
    for wait in (10.0, 20.0, 40.0, 40.0):
        assert breaker.state(at + wait - 0.1) is BreakerState.OPEN
        assert breaker.wait_seconds(at) == wait
        at += wait
        assert (breaker.state(at), breaker.room(at)) == (BreakerState.HALF_OPEN, 1)
        assert breaker.began()
        assert breaker.room(at) == 0, "one at a time"
        breaker.tried(0, 1, at)
    breaker.began()
    at += 40
    breaker.tried(1, 0, at)
    assert breaker.state(at) is BreakerState.CLOSED
    assert breaker.is_unused
    breaker.ended(0, 3, at)
    assert breaker.wait_seconds(at) == 10.0, "the wait starts again at the first value"


def test_calls_that_began_before_it_opened_change_nothing() -> None:
    breaker = Breaker(LIMITS)
    breaker.ended(0, 3, 0.0)
    breaker.ended(500, 0, 1.0)
    assert breaker.state(1.0) is BreakerState.OPEN
    breaker.ended(0, 500, 11.0)
    assert breaker.state(11.0) is BreakerState.HALF_OPEN


def test_a_try_that_was_never_made_is_made_again() -> None:
    breaker = Breaker(LIMITS)
    breaker.ended(0, 3, 0.0)
    assert breaker.began()
    breaker.tried(0, 0, 10.0)
    assert breaker.room(10.0) == 1


# --- tracks and lanes -----------------------------------------------------------------------------


def test_no_more_calls_start_than_the_track_has_capacity_for() -> None:
    track = Track(2, None, 0.0)
    assert track.room(0.0) == 2
    track.begin(2)
    assert track.room(100.0) == 0
    track.end()
    assert track.room(100.0) == 1


def test_a_rate_accumulates_at_most_one_second() -> None:
    track = Track(None, 2.0, 0.0)
    assert track.room(1_000.0) == 2
    track.begin(2)
    assert track.room(1_000.0) == 0
    assert track.wait_seconds(1_000.0) == pytest.approx(0.5)
    assert track.room(1_000.5) == 1


def test_a_rate_below_one_per_second_still_lets_calls_through() -> None:
    track = Track(None, 0.1, 0.0)
    track.begin(track.room(0.0))
    assert track.room(9.9) == 0
    assert track.room(10.1) == 1


def test_without_limits_there_is_always_capacity() -> None:
    free = lane()
    free.begin(Ask.SEND, 10_000)
    assert free.room(Ask.SEND, 0.0) == NO_BOUND - 10_000
    assert not free.is_apart


def test_sends_and_recalls_share_capacity_and_enquiries_have_their_own() -> None:
    bounded = lane(concurrency_max=2)
    assert not bounded.begin(Ask.SEND, 1)
    assert bounded.room(Ask.RECALL, 0.0) == 1
    bounded.begin(Ask.RECALL, 1)
    assert (bounded.room(Ask.SEND, 0.0), bounded.room(Ask.ENQUIRE, 0.0)) == (0, 2)
    assert lane(concurrency_max=2, enquiry_concurrency_max=7).room(Ask.ENQUIRE, 0.0) == 7


def test_an_open_breaker_stops_sends_and_neither_enquiries_nor_recalls() -> None:
    stopped = lane(concurrency_max=5, breaker=LIMITS)
    stopped.breaker.ended(0, 3, 0.0)
    assert [stopped.room(ask, 1.0) for ask in (Ask.SEND, Ask.RECALL, Ask.ENQUIRE)] == [0, 5, 5]
    assert stopped.room(Ask.SEND, 10.0) == 1


def test_a_lane_is_idle_only_if_removing_it_loses_nothing() -> None:
    used = lane()
    assert used.is_idle
    used.begin(Ask.SEND, 1)
    assert not used.is_idle
    used.tracks[Ask.SEND].end()
    used.breaker.ended(0, 1, 0.0)
    assert not used.is_idle, "it remembers a failure"
