"""How a claimed settlement goes on: every state, asked before or not, early or late."""

from __future__ import annotations

from datetime import timedelta

import pytest

from settlement_engine.domain.decisions.taken_over import TakenOver, decide_taken_over
from settlement_engine.domain.lifecycle import QUESTION, TRANSITIONS, Ask, Event, State
from tests.support.decided import NOW, VALID_SECONDS, attempt, rules, settlement

LATE = NOW + timedelta(seconds=VALID_SECONDS)
WITHOUT_QUESTION = [state for state in State if state not in QUESTION and state != State.QUEUED]


@pytest.mark.parametrize("was_asked", [True, False])
@pytest.mark.parametrize("now", [NOW, LATE])
@pytest.mark.parametrize("state", State)
def test_every_state_goes_on_in_one_way(state, now, was_asked):
    found = decide_taken_over(settlement(state), rules(), now, was_asked=was_asked)
    if state is State.QUEUED:
        expected = TakenOver(Event.RELEASED)
    elif state in WITHOUT_QUESTION:
        expected = TakenOver()
    elif state is State.LOCKED and was_asked:
        expected = TakenOver(Event.NO_ANSWER)
    elif state is State.LOCKED and now is LATE:
        expected = TakenOver(Event.UNDELIVERED)
    else:
        expected = TakenOver(asks=True)
    assert found == expected
    assert found.event is None or found.event in TRANSITIONS[state]


@pytest.mark.parametrize("given", [None, rules(), rules(deduplicates_seconds=0.0)])
def test_nothing_that_may_have_left_is_sent_anew(given):
    locked = settlement(State.LOCKED, attempt=attempt(sends=2))
    assert not decide_taken_over(locked, given, NOW, was_asked=True).asks
    found = decide_taken_over(locked, given, NOW, was_asked=False)
    forgotten = given is not None and given.deduplicates_seconds == 0
    assert found == (TakenOver(Event.UNDELIVERED) if forgotten else TakenOver(asks=True))


def test_what_is_asked_anew_cannot_move_money():
    asked = {
        QUESTION[state]
        for state in QUESTION
        if decide_taken_over(settlement(state), rules(), NOW, was_asked=True).asks
    }
    assert asked == {Ask.SCREEN, Ask.ENQUIRE, Ask.RECALL}
