"""The advice for an exception follows from the state machine, for every state and every kind."""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime

import pytest

from settlement_engine.domain.advice import ASK_AGAIN, BY_KIND, RESENDS, advise
from settlement_engine.domain.exceptions import SUSPENDED, CaseKind, ExceptionCase
from settlement_engine.domain.lifecycle import (
    ENDS,
    HOLDING,
    QUESTION,
    TRANSITIONS,
    Ask,
    Do,
    Event,
    State,
)
from settlement_engine.domain.settlement import Settlement
from settlement_engine.ports import RailClass
from tests.support.histories import payment_request

AT = datetime(2026, 1, 5, 9, tzinfo=UTC)


def case(state: State | None, kind: CaseKind = CaseKind.IN_DOUBT) -> ExceptionCase:
    settlement = None
    if state is not None:
        settlement = Settlement(
            id=uuid.UUID(int=1),
            instruction=payment_request(),
            state=state,
            seq=3,
            fencing_token=1,
            created_at=AT,
            value_date=date(2026, 1, 5),
        )
    return ExceptionCase(
        id=1,
        kind=kind,
        settlement_id=settlement.id if settlement else None,
        detail={},
        opened_at=AT,
        seen_at=AT,
        settlement=settlement,
    )


def words(sentences: tuple[str, ...]) -> str:
    return "\n".join(sentences)


@pytest.mark.parametrize("kind", CaseKind)
@pytest.mark.parametrize("state", [*State, None])
@pytest.mark.parametrize("rail_class", ["", *RailClass])
def test_something_is_always_safe_and_something_never(state, kind, rail_class):
    safe, unsafe = advise(case(state, kind), rail_class)
    assert safe
    assert unsafe
    assert not set(safe) & set(unsafe)
    assert all(sentence.endswith(".") for sentence in (*safe, *unsafe))


@pytest.mark.parametrize("state", State)
def test_people_are_told_to_attest_exactly_where_the_page_lets_them(state):
    safe, _ = advise(case(state), "a")
    assert ("another approves" in words(safe)) == (Event.ATTESTED_SETTLED in TRANSITIONS[state])


@pytest.mark.parametrize("state", State)
def test_releasing_without_evidence_is_unsafe_exactly_while_a_hold_stands(state):
    _, unsafe = advise(case(state), "a")
    is_told = "Release the funds without evidence" in words(unsafe)
    assert is_told == (state in HOLDING)
    assert is_told == any(row.do is Do.RELEASE for row in TRANSITIONS[state].values())


@pytest.mark.parametrize("rail_class", RailClass)
@pytest.mark.parametrize("state", State)
def test_a_second_sending_is_safe_only_where_the_page_and_the_rail_have_one(state, rail_class):
    safe, unsafe = advise(case(state), rail_class)
    row = TRANSITIONS[state].get(Event.NOT_FOUND)
    may_be_sent = row is not None and row.ask is Ask.SEND and rail_class.value in RESENDS
    assert ("it sends the same bytes" in words(safe)) == may_be_sent
    is_refused = state in HOLDING and rail_class.value not in RESENDS
    assert ("Send it again: this rail may" in words(unsafe)) == is_refused


@pytest.mark.parametrize("state", sorted(ENDS))
@pytest.mark.parametrize("kind", CaseKind)
def test_an_end_is_never_to_be_edited_and_suspense_takes_two(state, kind):
    _, unsafe = advise(case(state, kind), "a")
    assert "Change its final state" in words(unsafe)
    assert ("Close this exception alone" in words(unsafe)) == (kind in SUSPENDED)


def test_every_kind_and_every_question_has_its_words():
    assert BY_KIND.keys() == set(CaseKind)
    beyond_p = {QUESTION[state] for state in HOLDING}
    assert ASK_AGAIN.keys() == beyond_p
