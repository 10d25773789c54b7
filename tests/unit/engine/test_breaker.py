"""The circuit breaker of a lane: when it opens, what it lets through, and what closes it."""

from __future__ import annotations

from dataclasses import replace

from settlement_engine.domain.backoff import Backoff
from settlement_engine.engine.dispatch.breaker import Breaker, BreakerState
from settlement_engine.ports import BreakerLimits

LIMITS = BreakerLimits(
    failures_in_a_row=3, window=10, failure_share=0.5, rest=Backoff(first_seconds=5, max_seconds=60)
)
LATER = 100.0


def opened() -> Breaker:
    breaker = Breaker(LIMITS)
    breaker.ended(0, 3, 0.0)
    return breaker


def test_it_opens_after_consecutive_failures_and_an_answer_resets_the_count() -> None:
    breaker = Breaker(LIMITS)
    breaker.ended(0, 2, 0.0)
    breaker.ended(1, 0, 0.0)
    breaker.ended(0, 2, 0.0)
    assert breaker.is_closed
    assert breaker.room(0.0) is None
    assert opened().state(0.0) is BreakerState.OPEN
    assert opened().room(0.0) == 0


def test_it_opens_by_the_share_of_failures_once_the_window_is_full() -> None:
    breaker = Breaker(LIMITS)
    for _ in range(4):
        breaker.ended(1, 1, 0.0)
    assert breaker.is_closed
    breaker.ended(1, 1, 0.0)
    assert not breaker.is_closed


def test_half_open_it_tries_one_send_and_an_answer_closes_it() -> None:
    breaker = opened()
    assert breaker.wait_seconds(0.0) > 0
    assert breaker.state(LATER) is BreakerState.HALF_OPEN
    assert breaker.room(LATER) == 1
    assert breaker.began()
    assert breaker.room(LATER) == 0
    breaker.tried(1, 0, LATER)
    assert breaker.is_closed
    assert breaker.is_unused


def test_a_failed_try_opens_it_for_longer_and_a_cancelled_one_does_not() -> None:
    breaker = opened()
    first = breaker.wait_seconds(0.0)
    breaker.began()
    breaker.tried(0, 0, LATER)
    assert breaker.room(LATER) == 1
    breaker.began()
    breaker.tried(0, 1, LATER)
    assert breaker.wait_seconds(LATER) > first


def test_it_opens_by_the_share_of_rejections_once_the_window_is_full() -> None:
    breaker = Breaker(replace(LIMITS, reject_share=0.9))
    breaker.ended(9, 0, 0.0, rejected=9)
    assert breaker.is_closed
    assert not breaker.is_unused
    breaker.ended(1, 0, 0.0, rejected=0)
    assert breaker.is_closed, "nothing was rejected in this call"
    breaker.ended(1, 0, 0.0, rejected=1)
    assert breaker.state(0.0) is BreakerState.OPEN
    assert "rejected" in breaker.why


def test_without_a_share_rejections_are_answers() -> None:
    breaker = Breaker(LIMITS)
    breaker.ended(100, 0, 0.0, rejected=100)
    assert breaker.is_closed


def test_what_a_person_has_stopped_is_tried_only_when_a_person_says_so() -> None:
    breaker = Breaker(LIMITS)
    breaker.stop(is_stopped=True)
    assert breaker.state(LATER) is BreakerState.OPEN
    assert breaker.room(LATER) == 0
    assert breaker.wait_seconds(LATER) == float("inf")
    breaker.probe()
    assert breaker.room(LATER) == 1
    assert breaker.wait_seconds(LATER) == 0
    assert breaker.began()
    assert breaker.room(LATER) == 0
    breaker.tried(0, 0, LATER)
    assert breaker.room(LATER) == 1, "the send never began"
    assert breaker.began()
    breaker.tried(1, 0, LATER)
    assert breaker.state(LATER) is BreakerState.OPEN
    breaker.stop(is_stopped=False)
    assert breaker.is_closed


def test_a_probe_that_is_not_answered_leaves_it_open_by_itself() -> None:
    breaker = Breaker(LIMITS)
    breaker.stop(is_stopped=True)
    breaker.probe()
    breaker.began()
    breaker.tried(0, 1, 0.0)
    breaker.stop(is_stopped=False)
    assert breaker.state(0.0) is BreakerState.OPEN
    breaker.close()
    assert breaker.is_unused


def test_a_probe_of_a_closed_breaker_means_nothing() -> None:
    breaker = Breaker(LIMITS)
    breaker.probe()
    breaker.ended(0, 3, 0.0)
    assert breaker.state(0.0) is BreakerState.OPEN
