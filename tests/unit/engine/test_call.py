"""A call by itself: the room that it holds is given back once, and breakers hear what became of its sends."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock
from uuid import UUID

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
