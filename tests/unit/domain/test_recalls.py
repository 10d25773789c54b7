"""Recalls after completion: which answers change one, what an answer says of it, and who may ask."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.recalls import (
    ASKING,
    ENDED_RECALLS,
    RECALL_TRANSITIONS,
    STEPS_MAX,
    RecallRequest,
    RecallState,
    RecallStep,
    is_about_recall_only,
    transition_of_recall,
    why_not_recalled,
)
from settlement_engine.domain.settlement import Attestation
from tests.support.decided import settlement

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
R, E = RecallState, Event


def recall(*states: RecallState) -> RecallRequest:
    steps = [
        RecallStep(seq=number, event=None, state=state, at=AT, detail={})
        for number, state in enumerate((R.REQUESTED, *states), 1)
    ]
    return RecallRequest(settlement_id=UUID(int=1), steps=tuple(steps))


EXPECTED = {
    R.REQUESTED: {
        E.ACKNOWLEDGED: R.IN_PROCESS,
        E.OVERDUE: R.OVERDUE,
        E.RECALLED: R.PROMISED,
        E.RECALL_REFUSED: R.REFUSED,
        E.RETURNED: R.RETURNED,
    },
    R.IN_PROCESS: {
        E.OVERDUE: R.OVERDUE,
        E.RECALLED: R.PROMISED,
        E.RECALL_REFUSED: R.REFUSED,
        E.RETURNED: R.RETURNED,
    },
    R.OVERDUE: {E.RECALLED: R.PROMISED, E.RECALL_REFUSED: R.REFUSED, E.RETURNED: R.RETURNED},
    R.PROMISED: {E.RECALL_REFUSED: R.REFUSED, E.RETURNED: R.RETURNED},
    R.REFUSED: {E.RECALLED: R.PROMISED, E.RETURNED: R.RETURNED},
    R.RETURNED: {},
}


@pytest.mark.parametrize("state", R)
@pytest.mark.parametrize("event", E)
def test_each_event_in_each_state_leads_where_it_should(state: RecallState, event: Event) -> None:
    found = transition_of_recall(recall(state), event)
    assert found == EXPECTED[state].get(event)


def test_silence_ends_no_recall_and_every_state_is_reached() -> None:
    for rows in RECALL_TRANSITIONS.values():
        assert E.NO_ANSWER not in rows
        assert rows.get(E.OVERDUE) not in ENDED_RECALLS
    reached = {state for rows in RECALL_TRANSITIONS.values() for state in rows.values()}
    assert reached | {R.REQUESTED} == set(R)
    assert {state for state, rows in RECALL_TRANSITIONS.items() if E.OVERDUE in rows} == ASKING


def test_a_recall_has_a_bounded_history() -> None:
    full = recall(*[R.REQUESTED] * (STEPS_MAX - 1))
    assert transition_of_recall(full, E.RECALLED) is None


@pytest.mark.parametrize("state", State)
def test_only_what_has_completed_can_be_recalled(state: State) -> None:
    why, todo = why_not_recalled(settlement(state))
    assert bool(why) == (state is not State.COMPLETED)
    before = {*State} - {State.COMPLETED, State.RETURNED, State.FAILED, State.ROLLED_BACK}
    assert ("CancelSettlement" in todo) == (state in before)


def test_a_frozen_one_is_refused_and_not_left_waiting_for_ever() -> None:
    frozen = settlement(State.COMPLETED)
    frozen.is_frozen = True
    why, todo = why_not_recalled(frozen)
    assert "frozen" in why
    assert "exceptions" in todo


def test_an_answer_is_judged_as_well_where_people_attested_that_the_money_moved() -> None:
    assert is_about_recall_only(settlement(State.COMPLETED))
    attested = settlement(State.COMPLETED)
    attested.attestation = Attestation.STANDS
    assert not is_about_recall_only(attested)
    assert not is_about_recall_only(settlement(State.ROLLED_BACK))
