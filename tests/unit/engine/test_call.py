"""A call by itself: the room that it holds is given back once, and breakers hear what became of its sends."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock
from uuid import UUID

import msgspec
import pytest

from settlement_engine.domain.lifecycle import Ask, Event, State
from settlement_engine.engine.dispatch.call import LaneCall
from settlement_engine.engine.dispatch.lane import Lane
from settlement_engine.ports import Answer, BreakerLimits, LaneLimits
from tests.support.decided import settlement


def sent(number: int) -> Any:
    return settlement(State.LOCKED, id=UUID(int=number))


class Fixture:
    """A call of three sends in one lane."""

    def __init__(self, question: Ask = Ask.SEND, **limits: Any) -> None:
        self.breaker = BreakerLimits(failures_in_a_row=3)
        self.lane = Lane("rail", "AAA", LaneLimits(breaker=self.breaker, **limits), 0.0)
        self.settlements = [sent(1), sent(2), sent(3)]
        self.freed = Mock()
        self.call = LaneCall(question, Mock(), [(self.lane, self.settlements)], self.freed)

    @property
    def under_way(self) -> int:
        return self.lane.tracks[self.call.question].under_way


def said(number: int, event: Event = Event.SETTLED) -> Answer:
    return Answer(settlement_id=UUID(int=number), event=event, attempt=1)


def test_each_answer_frees_its_room_once_in_a_lane_with_a_bound() -> None:
    made = Fixture(concurrency_max=5)
    assert made.under_way == 3
    made.call.heard([said(1)])
    made.call.heard([said(1), said(2)])
    assert made.under_way == 1
    made.call.end(0.0, is_put=True)
    assert made.under_way == 0
    made.call.heard([said(3)])
    assert made.under_way == 0, "what is answered after the end holds nothing"


def test_without_a_bound_all_room_is_held_until_the_end() -> None:
    made = Fixture()
    made.call.heard([said(1), said(2), said(3)])
    assert made.under_way == 3
    made.call.end(0.0, is_put=True)
    assert made.under_way == 0


def test_what_is_left_out_is_neither_put_nor_counted_against_the_bank() -> None:
    made = Fixture(concurrency_max=5)
    made.call.leave_out(made.settlements[:2])
    assert made.call.settlements == made.settlements[2:]
    assert made.under_way == 1
    made.call.end(0.0, is_put=True)
    assert made.lane.breaker.is_closed


def test_sends_that_nobody_answered_open_the_breaker() -> None:
    made = Fixture()
    made.call.silent([each.id for each in made.settlements])
    assert made.call.end(0.0, is_put=True)
    assert not made.lane.breaker.is_closed


def test_undelivered_sends_count_as_failed_and_other_answers_do_not() -> None:
    made = Fixture()
    made.call.heard([said(number, Event.UNDELIVERED) for number in (1, 2, 3)])
    assert made.call.end(0.0, is_put=True)
    other = Fixture()
    other.call.heard([said(number, Event.REJECTED) for number in (1, 2, 3)])
    assert not other.call.end(0.0, is_put=True)


def test_a_call_that_we_ended_ourselves_says_nothing_about_the_bank() -> None:
    made = Fixture()
    made.call.silent([each.id for each in made.settlements])
    assert not made.call.end(0.0, is_put=False)
    assert made.lane.breaker.is_closed


def test_enquiries_never_open_a_breaker() -> None:
    made = Fixture(Ask.ENQUIRE)
    made.call.silent([each.id for each in made.settlements])
    assert not made.call.end(0.0, is_put=True)
    assert made.lane.breaker.is_closed


@pytest.mark.parametrize(("seconds", "is_closed"), [(2.0, True), (2.1, False)])
def test_an_answer_that_took_too_long_counts_as_none(seconds: float, is_closed: bool) -> None:
    times = iter([0.0, seconds, seconds, seconds])
    limits = LaneLimits(breaker=BreakerLimits(failures_in_a_row=3, slow_seconds=2.0))
    lane = Lane("rail", "AAA", limits, 0.0)
    group = [sent(1), sent(2), sent(3)]
    call = LaneCall(Ask.SEND, Mock(), [(lane, group)], Mock(), lambda: next(times))
    for number in (1, 2, 3):
        call.heard([said(number)])
    call.end(seconds, is_put=True)
    assert lane.breaker.is_closed is is_closed


def test_a_send_that_was_held_back_says_nothing_about_the_bank() -> None:
    made = Fixture()
    held_back = [
        msgspec.structs.replace(said(number, Event.UNDELIVERED), is_held_back=True)
        for number in (1, 2, 3)
    ]
    made.call.heard(held_back)
    assert not made.call.end(0.0, is_put=True)
    assert made.lane.breaker.is_closed


def test_rejections_are_counted_where_the_rail_has_a_share_of_them() -> None:
    limits = LaneLimits(breaker=BreakerLimits(window=3, reject_share=1.0))
    lane = Lane("rail", "AAA", limits, 0.0)
    call = LaneCall(Ask.SEND, Mock(), [(lane, [sent(1), sent(2), sent(3)])], Mock())
    call.heard([said(number, Event.REJECTED) for number in (1, 2, 3)])
    assert call.end(0.0, is_put=True)
    assert not lane.breaker.is_closed
