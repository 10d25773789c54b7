"""The postings of money that comes back: which accounts they change."""

from __future__ import annotations

from typing import Any, cast
from unittest.mock import Mock

import pytest

from settlement_engine.domain.lifecycle import TRANSITIONS, Do, Event, State
from settlement_engine.domain.returns import Return
from settlement_engine.engine.postings import COMING_BACK, transfers_back
from tests.support.decided import settlement

SUSPENSE, FEES = 50, 60
DIRECTORY = cast("Any", Mock(suspense=Mock(return_value=SUSPENSE), fees=Mock(return_value=FEES)))
ROWS = [
    (state, event)
    for state in TRANSITIONS
    for event, transition in TRANSITIONS[state].items()
    if transition.do in COMING_BACK
]


def back(charges_minor: int = 0) -> Return:
    return Return(
        posting=2, amount_minor=40 - charges_minor, charges_minor=charges_minor, left_minor=0
    )


@pytest.mark.parametrize(("state", "event"), ROWS)
def test_each_action_that_books_what_comes_back_posts_something(state: State, event: Event) -> None:
    transition = TRANSITIONS[state][event]
    is_return = transition.do is Do.REVERSE or "uncovered" in event.value
    assert transfers_back(DIRECTORY, settlement(state), event, back() if is_return else None)


def test_charges_of_a_return_go_to_the_account_for_fees() -> None:
    completed, charged = settlement(State.COMPLETED), back(charges_minor=5)
    made = transfers_back(DIRECTORY, completed, Event.RETURNED, charged)
    sides = {side for each in made for side in (each.debit_id, each.credit_id)}
    assert FEES in sides


@pytest.mark.parametrize("state", [State.COMPLETED, State.RETURNED])
def test_a_second_debit_takes_from_our_account_at_the_bank_what_suspense_shows(
    state: State,
) -> None:
    [made] = transfers_back(DIRECTORY, settlement(state), Event.DEBITED_TWICE, None)
    assert (made.debit_id, made.credit_id) == (SUSPENSE, 1)
    assert made.amount_minor == settlement(state).instruction.amount.minor
