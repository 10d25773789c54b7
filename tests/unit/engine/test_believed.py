"""The engine's copy of a settlement after a transition was written, for every transition."""

from __future__ import annotations

from datetime import timedelta

import pytest

from settlement_engine.domain.covers import COVER, COVER_SHA256
from settlement_engine.domain.lifecycle import (
    ENDS,
    TRANSITIONS,
    Ask,
    Do,
    Event,
    State,
    is_recorded,
    is_repeated_question,
)
from settlement_engine.domain.preconditions import Refusal, RefusalCode
from settlement_engine.engine.believed import believe
from settlement_engine.ports import TransitionCommand
from tests.support.decided import NOW, attempt, settlement

ROWS = [(state, event) for state in TRANSITIONS for event in TRANSITIONS[state]]
LATER = NOW + timedelta(seconds=9)


@pytest.mark.parametrize(("state", "event"), ROWS)
def test_the_copy_agrees_with_the_store_after_every_transition(state: State, event: Event) -> None:
    transition = TRANSITIONS[state][event]
    believed = settlement(state, asked=2)
    refusal = Refusal(code=RefusalCode.RAIL_REJECTED, detail={"code": "AC04"})
    is_covered = event is Event.COVER_DUE
    believe(
        TransitionCommand(
            settlement=believed,
            event=event,
            transition=transition,
            refusal=refusal,
            detail={COVER: "1", COVER_SHA256: "ab"} if is_covered else {},
        ),
        LATER,
    )
    is_move = is_recorded(state, transition)
    assert believed.state is transition.state
    assert believed.seq == 3 + is_move
    assert believed.asked == (3 if not is_move or is_repeated_question(transition) else 0)
    assert believed.is_frozen is (transition.do in (Do.EXCEPT, Do.SUSPEND))
    assert (believed.refusal_code, believed.refusal_detail) == ("RAIL_REJECTED", {"code": "AC04"})
    if transition.state in ENDS:
        assert believed.ended_at == (NOW if state in ENDS else LATER)
    sends = believed.attempt.sends if believed.attempt else None
    if is_covered or (event is Event.NOT_FOUND and transition.ask is Ask.SEND):
        assert sends == 2
    else:
        assert sends in (None, 1)
    assert believed.cover_due == ("ab" if is_covered else "")


def test_a_sent_attempt_is_not_compared_again() -> None:
    believed = settlement(State.VALIDATING, rail_reference="R-1")
    transition = TRANSITIONS[State.VALIDATING][Event.CLEARED]
    made = attempt()
    believe(
        TransitionCommand(
            settlement=believed, event=Event.CLEARED, transition=transition, attempt=made
        ),
        NOW,
    )
    assert believed.attempt is made
    assert believed.recorded is None
    assert believed.rail_reference == "R-1"
