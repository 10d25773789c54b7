"""The reason of an ending without money moved: every transition of the table."""

from __future__ import annotations

import pytest

from settlement_engine.domain.decisions.reasons import REFUSED_AS, reason_of
from settlement_engine.domain.lifecycle import ENDS, TRANSITIONS, Event, State
from settlement_engine.domain.preconditions import Refusal, RefusalCode
from settlement_engine.domain.readable import FOREIGN_TEXT_MAX
from tests.support.decided import answer, moved

ALL_TRANSITIONS = [(state, event) for state in TRANSITIONS for event in TRANSITIONS[state]]
GIVEN = Refusal(code=RefusalCode.RISK_LIMIT_EXCEEDED)


@pytest.mark.parametrize(("state", "event"), ALL_TRANSITIONS)
def test_every_end_without_money_moved_has_a_reason(state, event):
    row = TRANSITIONS[state][event]
    found = reason_of(event, row, answer(event, code="AC04"))
    if row.state in (State.FAILED, State.ROLLED_BACK) and state not in ENDS:
        if event is Event.REFUSED:
            assert found is None  # a refusal brings its own, below
        elif event is Event.RECALLED:
            assert found
            assert found.code is RefusalCode.CANCELLED_BY_CALLER
        else:
            assert found == Refusal(code=REFUSED_AS[event], detail={"code": "AC04"})
    else:
        assert found is None


def test_the_answers_own_refusal_is_the_reason():
    row = TRANSITIONS[State.VALIDATING][Event.REFUSED]
    assert reason_of(Event.REFUSED, row, answer(Event.REFUSED, refusal=GIVEN)) is GIVEN


def test_a_recall_of_ours_is_not_called_the_callers():
    row = TRANSITIONS[State.RECALLING][Event.RECALLED]
    history = [moved(State.SENT, Event.OVERDUE, State.RECALLING)]
    found = reason_of(Event.RECALLED, row, answer(Event.RECALLED), history)
    assert found
    assert found.code is RefusalCode.RECALLED_OVERDUE


def test_foreign_words_are_bounded_and_printable():
    row = TRANSITIONS[State.SENT][Event.REJECTED]
    said = answer(Event.REJECTED, text="a\x00" + "b" * FOREIGN_TEXT_MAX)
    found = reason_of(Event.REJECTED, row, said)
    assert found
    assert found.detail["text"] == "a?" + "b" * (FOREIGN_TEXT_MAX - 2)
