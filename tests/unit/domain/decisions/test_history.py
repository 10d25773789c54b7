"""Answers that depend on the history: what is read, and what it changes."""

from __future__ import annotations

from itertools import product

import pytest

from settlement_engine.domain.decisions.history import (
    after_release,
    needs_fees,
    needs_history,
    recalled_as,
)
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.preconditions import RefusalCode
from settlement_engine.domain.returns import StatedAmount
from tests.support.decided import answer, moved, settlement

PARKED = answer(Event.PARKED, attempt=0, code="review", text="large")


NEEDED = {(State.RECALLING, Event.RECALLED, 1), (State.RECALLING, Event.RECALLED, 2)}
NEEDED |= {(State.VALIDATING, Event.PARKED, 2)}


@pytest.mark.parametrize("state", State)
def test_hardly_any_answer_needs_the_history(state):
    for event, seq in product(Event, (1, 2)):
        is_needed = needs_history(settlement(state, seq=seq), answer(event))
        assert is_needed is ((state, event, seq) in NEEDED)


@pytest.mark.parametrize("state", State)
def test_only_a_return_with_charges_needs_the_account_for_fees(state):
    for event in Event:
        charged = answer(event, stated=StatedAmount(charges_minor=1))
        is_needed = (state, event) == (State.COMPLETED, Event.RETURNED)
        assert needs_fees(settlement(state), charged) is is_needed
        assert not needs_fees(settlement(state), answer(event))


@pytest.mark.parametrize(
    ("event", "code"),
    [
        (Event.OVERDUE, RefusalCode.RECALLED_OVERDUE),
        (Event.CANCELLED, RefusalCode.CANCELLED_BY_CALLER),
    ],
)
def test_a_recall_says_who_asked_for_it_last(event, code):
    first = moved(State.SENT, Event.CANCELLED, State.RECALLING)
    back = moved(State.RECALLING, Event.RECALL_REFUSED, State.SENT)
    assert recalled_as([first, back, moved(State.SENT, event, State.RECALLING)]) is code
    assert recalled_as([]) is RefusalCode.CANCELLED_BY_CALLER


@pytest.mark.parametrize(
    ("code", "text", "event"),
    [
        ("review", "large", Event.CLEARED),
        ("review", "other", Event.PARKED),
        ("other", "large", Event.PARKED),
    ],
)
def test_what_two_people_released_is_not_parked_again_for_the_same_reason(code, text, event):
    history = [
        moved(State.VALIDATING, Event.PARKED, State.HELD, code=code, text=text),
        moved(State.HELD, Event.APPROVED, State.VALIDATING),
    ]
    assert after_release(history, PARKED).event is event
    assert after_release(history[:1], PARKED) is PARKED
    assert after_release([], PARKED) is PARKED


def test_another_answer_is_what_it_is():
    recalled = answer(Event.RECALLED)
    assert after_release([], recalled) is recalled
