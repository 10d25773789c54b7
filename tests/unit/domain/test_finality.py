"""How final a settlement is: every state, with and without a proof."""

from __future__ import annotations

import pytest

from settlement_engine.domain.finality import BY_STATE, Finality, finality
from settlement_engine.domain.lifecycle import HOLDING, TRANSITIONS, Event, State

F, S = Finality, State


def test_every_state_has_a_finality():
    assert set(BY_STATE) == set(State)
    assert [each.value for each in Finality] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (S.PENDING, F.UNSPECIFIED),
        (S.VALIDATING, F.UNSPECIFIED),
        (S.HELD, F.UNSPECIFIED),
        (S.QUEUED, F.UNSPECIFIED),
        (S.LOCKED, F.SENT),
        (S.IN_DOUBT, F.SENT),
        (S.SENT, F.ACKNOWLEDGED),
        (S.RECALLING, F.ACKNOWLEDGED),
        (S.COMPLETED, F.SETTLED),
        (S.RETURNED, F.SETTLED),
        (S.FAILED, F.UNSPECIFIED),
        (S.ROLLED_BACK, F.UNSPECIFIED),
    ],
)
def test_the_state_alone_never_reconciles(state, expected):
    assert finality(state) is expected


@pytest.mark.parametrize("state", State)
def test_only_what_has_settled_is_reconciled(state):
    found = finality(state, is_proved=True)
    has_moved = state in (S.COMPLETED, S.RETURNED)
    assert found is (F.RECONCILED if has_moved else finality(state))


def test_what_may_still_be_sent_again_was_never_acknowledged():
    """IN_DOUBT is less than acknowledged: no transition leads to it from a state that has an acknowledgement."""
    sources = {
        state
        for state, rows in TRANSITIONS.items()
        for row in rows.values()
        if row.state is S.IN_DOUBT
    }
    assert sources == {S.LOCKED, S.IN_DOUBT}


def test_finality_never_falls_while_funds_are_held():
    """Along every transition between holding states, only *not found* takes a step back: to send again."""
    for state in HOLDING:
        for event, row in TRANSITIONS[state].items():
            if row.state in HOLDING and event is not Event.NOT_FOUND:
                assert finality(row.state) >= finality(state)
