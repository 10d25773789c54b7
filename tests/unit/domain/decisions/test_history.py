"""Answers that depend on the history: what is read, and what it changes."""

from __future__ import annotations

from itertools import product

import pytest

from settlement_engine.domain.compensation_checks import COMPENSATION
from settlement_engine.domain.decisions.history import (
    after_release,
    is_screened_compensation,
    needs_fees,
    needs_history,
    recalled_as,
    while_compensable,
)
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.preconditions import RefusalCode
from settlement_engine.domain.returns import StatedAmount
from tests.support.decided import ID, answer, moved, settlement
from tests.support.histories import payment_request

ORDINARY = settlement(State.VALIDATING)
COMPENSATING = settlement(State.VALIDATING, instruction=payment_request(compensates=ID))
CLEARED = answer(Event.CLEARED, attempt=0)
RELEASED = [
    moved(State.VALIDATING, Event.PARKED, State.HELD, code=COMPENSATION),
    moved(State.HELD, Event.APPROVED, State.VALIDATING),
]
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
    assert after_release(ORDINARY, history, PARKED).event is event
    assert after_release(ORDINARY, history[:1], PARKED) is PARKED
    assert after_release(ORDINARY, [], PARKED) is PARKED


def test_another_answer_is_what_it_is():
    recalled = answer(Event.RECALLED)
    assert after_release(ORDINARY, [], recalled) is recalled


def test_a_compensation_is_parked_until_two_people_have_released_it():
    assert after_release(ORDINARY, [], CLEARED) is CLEARED
    parked = after_release(COMPENSATING, [], CLEARED)
    assert (parked.event, parked.code) == (Event.PARKED, COMPENSATION)
    assert str(ID) in parked.text
    assert after_release(COMPENSATING, RELEASED[:1], CLEARED).event is Event.PARKED
    assert after_release(COMPENSATING, RELEASED, CLEARED) is CLEARED


def test_one_release_is_enough_for_what_screening_has_parked_too():
    history = [
        moved(State.VALIDATING, Event.PARKED, State.HELD, code="review", text="large"),
        moved(State.HELD, Event.APPROVED, State.VALIDATING),
    ]
    assert after_release(COMPENSATING, [], PARKED) is PARKED
    assert after_release(COMPENSATING, history, PARKED).event is Event.CLEARED
    assert after_release(COMPENSATING, RELEASED, PARKED) is PARKED  # for a reason of its own


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", Event)
def test_the_history_of_a_compensation_is_read_whenever_screening_lets_it_pass(state, event):
    compensating = settlement(state, seq=1, instruction=payment_request(compensates=ID))
    is_screened = state is State.VALIDATING and event in (Event.CLEARED, Event.PARKED)
    assert is_screened_compensation(compensating, answer(event)) is is_screened
    assert not is_screened_compensation(settlement(state, seq=1), answer(event))
    if is_screened:
        assert needs_history(compensating, answer(event))


def test_a_compensation_of_more_than_is_left_is_refused():
    completed = settlement(State.COMPLETED, instruction=COMPENSATING.instruction)
    assert while_compensable(COMPENSATING, completed, CLEARED) is CLEARED
    returned = settlement(State.RETURNED, instruction=COMPENSATING.instruction)
    refused = while_compensable(COMPENSATING, returned, CLEARED)
    assert refused.event is Event.REFUSED
    assert refused.refusal is not None
    assert refused.refusal.code is RefusalCode.NOT_COMPENSABLE
