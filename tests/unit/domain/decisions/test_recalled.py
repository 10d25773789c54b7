"""What is said of a recall: by an answer, by its time limit, and by a return."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from settlement_engine.domain.answer import Answer
from settlement_engine.domain.decisions.recalled import event_of_recall, event_without_answer
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.recalls import ASKING, RecallState
from tests.support.decided import settlement
from tests.unit.domain.test_recalls import AT, recall

E = Event


def answer(event: Event, **fields: Any) -> Answer:
    return Answer(settlement_id=UUID(int=1), event=event, **fields)


@pytest.mark.parametrize(
    ("said", "is_response", "event"),
    [
        (answer(E.RECALLED), True, E.RECALLED),
        (answer(E.RECALLED), False, E.RECALLED),
        (answer(E.RECALL_REFUSED), False, E.RECALL_REFUSED),
        (answer(E.RECALL_REFUSED, code="CUST"), True, E.RECALL_REFUSED),
        (answer(E.RECALL_REFUSED, code="ARDT"), True, E.RECALLED),
        (answer(E.RECALL_REFUSED, code="ARDT"), False, E.RECALLED),
        (answer(E.SETTLED, promises_return=True), False, E.RECALLED),
        (answer(E.SETTLED, promises_return=True), True, E.RECALLED),
        (answer(E.SETTLED), True, E.RECALL_REFUSED),
        (answer(E.SETTLED), False, None),
        (answer(E.ACKNOWLEDGED), True, E.ACKNOWLEDGED),
        (answer(E.ACKNOWLEDGED), False, None),
        (answer(E.REJECTED), True, None),
        (answer(E.UNDELIVERED), True, None),
    ],
)
def test_what_an_answer_says_of_a_recall(
    said: Answer, is_response: bool, event: Event | None
) -> None:
    assert event_of_recall(said, is_response=is_response) is event


@pytest.mark.parametrize("state", RecallState)
def test_only_a_recall_that_is_asked_is_overdue_and_only_after_its_limit(
    state: RecallState,
) -> None:
    completed = settlement(State.COMPLETED)
    until = AT + timedelta(seconds=60)
    for seconds, limit, is_over in ((60, until, False), (61, until, True), (10**6, None, False)):
        now = AT + timedelta(seconds=seconds)
        expected = Event.OVERDUE if is_over and state in ASKING else None
        assert event_without_answer(recall(state), completed, limit, now) is expected


@pytest.mark.parametrize("state", RecallState)
def test_a_return_comes_before_the_time_limit(state: RecallState) -> None:
    late = AT + timedelta(days=400)
    found = event_without_answer(recall(state), settlement(State.RETURNED), AT, late)
    assert found is Event.RETURNED
