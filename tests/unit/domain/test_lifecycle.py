from __future__ import annotations

import pytest

from settlement_engine.domain.lifecycle import (
    ENDS,
    HOLDING,
    QUESTION,
    STATUS,
    TRANSITIONS,
    Ask,
    Event,
    PublicStatus,
    State,
    is_recorded,
    transition_for,
)
from settlement_engine.errors import IllegalMove
from tests.unit.domain import state_machine_rules
from tests.unit.domain.state_machine_rules import AFTER_SEND_INTENT, ASKS, RULES, transitions


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_table_keeps_the_rule(rule):
    assert list(rule(TRANSITIONS)) == []


def test_every_rule_is_in_the_list():
    named = {
        value
        for name, value in vars(state_machine_rules).items()
        if callable(value)
        and getattr(value, "__module__", "") == state_machine_rules.__name__
        and name not in {"transitions", "is_killed"}
    }
    assert named == set(RULES)


def test_every_state_has_its_place_in_the_table():
    assert set(TRANSITIONS) == set(State)


@pytest.mark.parametrize("state", State)
def test_an_event_without_a_transition_is_an_illegal_move(state):
    for event in set(Event) - TRANSITIONS[state].keys():
        with pytest.raises(IllegalMove) as raised:
            transition_for(state, event)
        assert (raised.value.state, raised.value.event) == (state, event)


def test_each_transition_is_found_by_its_state_and_event():
    for state, event, transition in transitions(TRANSITIONS):
        assert transition_for(state, event) is transition


def test_every_change_of_state_is_recorded():
    for state, event, transition in transitions(TRANSITIONS):
        if transition.state is not state:
            assert is_recorded(state, transition), (state, event)


def test_every_ending_is_recorded_and_so_announced():
    for state, event, transition in transitions(TRANSITIONS):
        if transition.state in ENDS:
            assert is_recorded(state, transition), (state, event)


def test_whatever_touches_money_is_recorded():
    for state, event, transition in transitions(TRANSITIONS):
        if transition.do is not None:
            assert is_recorded(state, transition), (state, event)


def test_a_question_that_is_put_again_is_no_move():
    again = {
        (state, event)
        for state, event, transition in transitions(TRANSITIONS)
        if not is_recorded(state, transition)
    }
    assert again == {
        (State.VALIDATING, Event.NO_ANSWER),
        (State.LOCKED, Event.UNDELIVERED),
        (State.IN_DOUBT, Event.NO_ANSWER),
        (State.SENT, Event.ACKNOWLEDGED),
        (State.SENT, Event.NOT_FOUND),
        (State.SENT, Event.NO_ANSWER),
        (State.RECALLING, Event.ACKNOWLEDGED),
        (State.RECALLING, Event.NO_ANSWER),
    }


def test_a_checkpoint_is_reached_only_by_a_recorded_move():
    for state, event, transition in transitions(TRANSITIONS):
        if transition.reached:
            assert is_recorded(state, transition), (state, event)


def test_the_open_question_is_a_function_of_the_state():
    asked: dict[State, set[Ask | None]] = {}
    for _, _, transition in transitions(TRANSITIONS):
        asked.setdefault(transition.state, set()).add(transition.ask)
    assert all(len(questions) == 1 for questions in asked.values())
    assert QUESTION == ASKS


def test_the_ends_and_the_holding_states_are_those_of_the_design():
    assert state_machine_rules.ENDS == ENDS
    assert AFTER_SEND_INTENT == HOLDING


def test_a_state_that_asks_nothing_waits_for_a_time_or_a_person_or_has_ended():
    assert set(State) - QUESTION.keys() - ENDS == {State.PENDING, State.HELD, State.QUEUED}


def test_the_public_status_keeps_the_numbers_of_the_specification():
    assert {status.name: status.value for status in PublicStatus} == {
        "PENDING": 0,
        "VALIDATING": 1,
        "EXECUTING": 2,
        "COMPLETED": 3,
        "FAILED": 4,
        "ROLLED_BACK": 5,
        "QUEUED": 6,
        "HELD": 7,
        "IN_DOUBT": 8,
        "RECALLING": 9,
        "RETURNED": 10,
    }


def test_every_state_has_the_status_of_its_name_and_what_is_on_its_way_is_executing():
    for state in State:
        is_on_its_way = state in (State.LOCKED, State.SENT)
        expected = "EXECUTING" if is_on_its_way else state.name
        assert STATUS[state].name == expected
    assert set(STATUS.values()) == set(PublicStatus)
