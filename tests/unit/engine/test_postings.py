"""The postings of a transition: every kind of work, and which accounts it changes."""

from __future__ import annotations

from typing import Any, cast
from unittest.mock import Mock

import pytest

from settlement_engine.domain.lifecycle import TRANSITIONS, Do, Event, State
from settlement_engine.domain.returns import Return
from settlement_engine.engine.postings import transfers_of
from tests.support.decided import settlement

SUSPENSE, FEES = 50, 60
DIRECTORY = cast("Any", Mock(suspense=Mock(return_value=SUSPENSE), fees=Mock(return_value=FEES)))
ROWS = [(state, event) for state in TRANSITIONS for event in TRANSITIONS[state]]
BOOKING = {Do.POST, Do.REVERSE, Do.SUSPEND}


def back(charges_minor: int = 0) -> Return:
    return Return(
        posting=2, amount_minor=40 - charges_minor, charges_minor=charges_minor, left_minor=0
    )


@pytest.mark.parametrize(("state", "event"), ROWS)
def test_only_three_kinds_of_work_post_anything(state: State, event: Event) -> None:
    transition = TRANSITIONS[state][event]
    is_return = transition.do is Do.REVERSE or "uncovered" in event.value
    made = transfers_of(DIRECTORY, settlement(state), transition, back() if is_return else None)
    assert bool(made) is (transition.do in BOOKING)


def test_a_completed_settlement_moves_cash_and_meets_the_obligation() -> None:
    completed = TRANSITIONS[State.SENT][Event.SETTLED]
    cash, obligation = transfers_of(DIRECTORY, settlement(State.SENT), completed, None)
    assert (cash.debit_id, cash.credit_id) == (2, 1)
    assert (obligation.debit_id, obligation.credit_id) == (3, 4)


def test_charges_of_a_return_go_to_the_account_for_fees() -> None:
    transition = TRANSITIONS[State.COMPLETED][Event.RETURNED]
    made = transfers_of(DIRECTORY, settlement(State.COMPLETED), transition, back(charges_minor=5))
    sides = {side for each in made for side in (each.debit_id, each.credit_id)}
    assert FEES in sides
