"""The enquiry schedule: how long the engine waits, for every transition of the state machine."""

from __future__ import annotations

import math
import random
from typing import Any, cast
from unittest.mock import Mock

import pytest

from settlement_engine.domain.backoff import Backoff
from settlement_engine.domain.lifecycle import ENDS, TRANSITIONS, Ask, Do, Event, State
from settlement_engine.engine.schedule import EnquirySchedule
from settlement_engine.engine.settings import EngineSettings
from tests.support.decided import settlement

ROWS = [
    (state, event)
    for state in TRANSITIONS
    for event, transition in TRANSITIONS[state].items()
    if transition.state not in ENDS
]
OWN = Backoff(first_seconds=77, max_seconds=77)


def schedule(asks: frozenset[Ask] = frozenset(Ask), **enquiry: Backoff) -> EnquirySchedule:
    by_state = {State(name): backoff for name, backoff in enquiry.items()}
    rail = Mock(capabilities=Mock(enquiry=by_state, asks=asks))
    return EnquirySchedule(EngineSettings(), cast("Any", {"rail": rail}), random.Random(1))


@pytest.mark.parametrize(("state", "event"), ROWS)
def test_a_repeated_request_waits_and_a_new_one_does_not(state: State, event: Event) -> None:
    transition = TRANSITIONS[state][event]
    seconds = schedule().due_seconds(settlement(state), event)
    if transition.state is State.HELD:
        assert seconds == math.inf  # a person decides, never the time
    elif transition.do is Do.COVER:
        assert seconds is None  # the cover is sent at once
    elif transition.ask is Ask.ENQUIRE or transition.state is state:
        assert seconds is not None
        assert 0 < seconds < 60
    else:
        assert seconds is None


def test_a_rails_own_schedule_applies_to_its_states_only() -> None:
    own = schedule(sent=OWN)
    assert own.due_seconds(settlement(State.SENT), Event.NO_ANSWER) == pytest.approx(77, rel=0.5)
    assert own.due_seconds(settlement(State.IN_DOUBT), Event.NO_ANSWER) != pytest.approx(
        77, rel=0.5
    )


def test_the_waits_between_enquiries_grow() -> None:
    waits = [
        schedule().due_seconds(settlement(State.SENT, asked=asked), Event.NO_ANSWER) or 0.0
        for asked in (0, 3, 9)
    ]
    assert waits == sorted(waits)
    assert waits[0] < waits[2]


def test_a_rail_without_enquiries_gets_none() -> None:
    asked = schedule(frozenset({Ask.SEND})).due_seconds(settlement(State.LOCKED), Event.NO_ANSWER)
    assert asked == EngineSettings().no_enquiry_due_seconds
    assert asked < math.inf  # without a due time it would count as forgotten
