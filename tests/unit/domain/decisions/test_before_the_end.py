"""Every state with every event under every limit: which event an answer is."""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from itertools import product
from typing import TYPE_CHECKING

import pytest

from settlement_engine.domain.decisions.before_the_end import (
    NEVER_UNASKED,
    ONLY_TO_A_QUESTION,
    decide,
    is_return_to_come,
    when_not_put,
)
from settlement_engine.domain.decisions.resending import RailClass
from settlement_engine.domain.exceptions import CaseKind
from settlement_engine.domain.lifecycle import ENDS, TRANSITIONS, Ask, Do, Event, State
from settlement_engine.domain.preconditions import Refusal, RefusalCode
from settlement_engine.domain.returns import StatedAmount
from tests.support.decided import NOW, VALID_SECONDS, answer, attempt, rules, settlement

if TYPE_CHECKING:
    from settlement_engine.domain.decisions.chosen import ChosenEvent
    from settlement_engine.domain.settlement import Settlement

S, E = State, Event
OPEN = [state for state in State if state not in ENDS]
SENDS_MAX = 3
MONEY = {Do.POST, Do.RELEASE}

SAME: dict[State, set[Event]] = {
    S.PENDING: {E.ADMITTED},
    S.VALIDATING: {E.CLEARED, E.POSTPONED, E.PARKED, E.REFUSED, E.CANCELLED, E.NO_ANSWER},
    S.HELD: {E.APPROVED, E.DECLINED, E.CANCELLED},
    S.QUEUED: {E.RELEASED, E.LAPSED, E.CANCELLED},
    S.LOCKED: {
        *(E.ACKNOWLEDGED, E.SETTLED, E.REJECTED, E.UNDELIVERED, E.ABANDONED, E.NO_ANSWER),
        *(E.AMOUNT_DIFFERED, E.COVER_DUE),
    },
    S.IN_DOUBT: {
        *(E.ACKNOWLEDGED, E.SETTLED, E.REJECTED, E.NOT_FOUND, E.NO_ANSWER, E.AMOUNT_DIFFERED),
        *(E.COVER_DUE, E.ATTESTED_SETTLED, E.ATTESTED_NOT_SETTLED),
    },
    S.SENT: {
        *(E.ACKNOWLEDGED, E.SETTLED, E.REJECTED, E.NOT_FOUND, E.NO_ANSWER, E.AMOUNT_DIFFERED),
        *(E.COVER_DUE, E.OVERDUE, E.CANCELLED, E.ATTESTED_SETTLED, E.ATTESTED_NOT_SETTLED),
    },
    S.RECALLING: {
        *(E.RECALLED, E.REJECTED, E.SETTLED, E.RECALL_REFUSED, E.ACKNOWLEDGED, E.NO_ANSWER),
        *(E.AMOUNT_DIFFERED, E.ATTESTED_SETTLED, E.ATTESTED_NOT_SETTLED),
    },
}
"""Where no limit is reached, these answers are the event that was said."""

AS_SILENCE: dict[State, set[Event]] = {
    S.LOCKED: {E.NOT_FOUND, E.RECALLED, E.RECALL_REFUSED},
    S.IN_DOUBT: {E.UNDELIVERED, E.RECALLED, E.RECALL_REFUSED},
    S.SENT: {E.UNDELIVERED, E.RECALLED, E.RECALL_REFUSED},
    S.RECALLING: {E.UNDELIVERED, E.NOT_FOUND, E.COVER_DUE},
}
"""What a rail says where it cannot be true: it counts as silence."""


AT_RAIL_STATES = [S.LOCKED, S.SENT, S.IN_DOUBT, S.RECALLING]


def chosen(state: State, event: Event, *, number: int = 1, **given: object) -> Event | None:
    found = decide(
        settlement(state, **given), answer(event, attempt=number), rules(), SENDS_MAX, NOW
    )
    return found.event if found else None


@pytest.mark.parametrize(("state", "event"), list(product(OPEN, Event)))
def test_where_no_limit_is_reached(state, event):
    number = 1 if state in AS_SILENCE else 0
    expected = event if event in SAME[state] else None
    if event is E.RETURNED and state in AT_RAIL_STATES:
        expected = E.SETTLED
    if event in AS_SILENCE.get(state, ()):
        expected = E.NO_ANSWER
    assert chosen(state, event, number=number) is expected


@pytest.mark.parametrize(("state", "event"), list(product(OPEN, Event)))
def test_an_answer_about_another_attempt_or_another_state_says_nothing(state, event):
    other = decide(settlement(state), answer(event, attempt=2), rules(), SENDS_MAX, NOW)
    before = decide(settlement(state), answer(event, attempt=0, seq=2), rules(), SENDS_MAX, NOW)
    assert (other, before) == (None, None)


@pytest.mark.parametrize(
    ("sends", "undelivered", "seconds", "is_held_back", "event"),
    [
        (1, 0, 0, False, E.UNDELIVERED),  # the same bytes again
        (2, 1, 0, False, E.UNDELIVERED),
        (2, 0, 0, False, E.UNDELIVERED),
        (3, 2, 0, False, E.ABANDONED),  # the last of three, each proved not to have left
        (3, 1, 0, False, E.UNDELIVERED),  # one of them may have left: never given up
        (3, 2, 0, True, E.UNDELIVERED),  # held back here: no send has failed
        (1, 0, VALID_SECONDS, False, E.ABANDONED),
        (1, 0, VALID_SECONDS, True, E.ABANDONED),
        (2, 0, VALID_SECONDS, False, E.NO_ANSWER),  # the first may have left; no more may be sent
        (2, 0, VALID_SECONDS, True, E.NO_ANSWER),
    ],
)
def test_what_was_not_delivered(sends, undelivered, seconds, is_held_back, event):
    locked = settlement(S.LOCKED, attempt=attempt(sends=sends, undelivered=undelivered))
    said = answer(E.UNDELIVERED, is_held_back=is_held_back)
    found = decide(locked, said, rules(), SENDS_MAX, NOW + timedelta(seconds=seconds))
    assert found
    assert found.event is event


@pytest.mark.parametrize(
    ("sends", "undelivered", "event"),
    [
        (1, 0, E.ABANDONED),
        (2, 1, E.ABANDONED),
        (2, 0, E.NO_ANSWER),  # the first transmission may have left
    ],
)
def test_what_was_withdrawn_before_it_left_is_not_sent_again(sends, undelivered, event):
    locked = settlement(S.LOCKED, attempt=attempt(sends=sends, undelivered=undelivered))
    refusal = Refusal(code=RefusalCode.CANCELLED_BY_CALLER)
    found = decide(locked, answer(E.UNDELIVERED, refusal=refusal), rules(), SENDS_MAX, NOW)
    assert found
    assert found.event is event


@pytest.mark.parametrize("said", [E.ACKNOWLEDGED, E.NOT_FOUND, E.NO_ANSWER])
@pytest.mark.parametrize(
    ("limit_seconds", "age_seconds", "is_frozen", "is_overdue"),
    [
        (60.0, 60, False, False),
        (60.0, 61, False, True),
        (60.0, 61, True, False),  # a person has to look: nothing is asked back
        (None, 9_999, False, False),
    ],
)
def test_a_payment_is_overdue_after_the_rails_limit(
    said, limit_seconds, age_seconds, is_frozen, is_overdue
):
    sent = settlement(S.SENT, is_frozen=is_frozen)
    limits = rules(overdue_after_seconds=limit_seconds)
    found = decide(sent, answer(said), limits, SENDS_MAX, NOW + timedelta(seconds=age_seconds))
    assert found
    assert found.event is (E.OVERDUE if is_overdue else said)


@pytest.mark.parametrize(
    ("given", "is_frozen", "event"),
    [
        ({}, False, E.NOT_FOUND),
        ({"rail_class": RailClass.B}, False, E.NOT_FOUND),
        ({"rail_class": RailClass.C}, False, E.NO_ANSWER),
        ({"rail_class": RailClass.D}, False, E.NO_ANSWER),
        ({"is_not_found_definite": False}, False, E.NO_ANSWER),
        ({"deduplicates_seconds": 0.0}, False, E.NO_ANSWER),
        ({}, True, E.NO_ANSWER),
    ],
)
def test_not_found_sends_again_only_where_the_rail_allows_it(given, is_frozen, event):
    doubted = settlement(S.IN_DOUBT, is_frozen=is_frozen)
    found = decide(doubted, answer(E.NOT_FOUND), rules(**given), SENDS_MAX, NOW)
    assert found
    assert found.event is event


@pytest.mark.parametrize("state", [S.LOCKED, S.IN_DOUBT, S.SENT, S.RECALLING])
def test_another_amount_settled_than_sent_posts_nothing_and_is_said_once(state):
    said = answer(E.SETTLED, stated=StatedAmount(minor=1))
    first = decide(settlement(state), said, rules(), SENDS_MAX, NOW)
    again = decide(settlement(state, is_frozen=True), said, rules(), SENDS_MAX, NOW)
    assert first
    assert first[:2] == (E.AMOUNT_DIFFERED, CaseKind.AMOUNT_DIFFERS)
    assert again
    assert again.event is E.NO_ANSWER


def test_a_rail_that_is_gone_has_no_limits_and_its_word_counts():
    late = NOW + timedelta(days=30)
    for state, said in ((S.SENT, E.SETTLED), (S.IN_DOUBT, E.REJECTED)):
        found = decide(settlement(state), answer(said), None, SENDS_MAX, late)
        assert found
        assert found.event is said


def test_only_a_send_that_never_left_is_undelivered():
    assert {ask: when_not_put(ask) for ask in Ask} == {
        Ask.SEND: E.UNDELIVERED,
        Ask.ENQUIRE: E.NO_ANSWER,
        Ask.RECALL: E.NO_ANSWER,
        Ask.SCREEN: E.NO_ANSWER,
    }
    assert (
        ONLY_TO_A_QUESTION
        < NEVER_UNASKED
        == {*(E.UNDELIVERED, E.NOT_FOUND, E.COVER_DUE, E.NO_ANSWER)}
    )


# --- what holds under all limits together -----------------------------------------------------------

RULES = [
    None,
    *(
        rules(
            rail_class=rail_class,
            is_not_found_definite=is_definite,
            deduplicates_seconds=seconds,
            overdue_after_seconds=overdue,
        )
        for rail_class, is_definite, seconds, overdue in product(
            (RailClass.A, RailClass.D), (True, False), (0.0, 300.0, 3_600.0), (None, 30.0)
        )
    ),
]
AGES_SECONDS = (0, 301, VALID_SECONDS - 1, VALID_SECONDS, 4_000)
SENT = [(1, 0), (2, 0), (2, 1), (3, 1), (3, 2), (4, 3)]


@cache
def sent_so_often(state: State, sends: int, undelivered: int, *, is_frozen: bool) -> Settlement:
    made = attempt(sends=sends, undelivered=undelivered)
    return settlement(state, is_frozen=is_frozen, attempt=made)


def holds(state, said, limits, age_seconds, sent, *, is_frozen, is_held_back) -> None:
    sends, undelivered = sent
    believed = sent_so_often(state, sends, undelivered, is_frozen=is_frozen)
    now = NOW + timedelta(seconds=age_seconds)
    found = decide(believed, answer(said, is_held_back=is_held_back), limits, SENDS_MAX, now)
    if found is not None:
        assert found.event in TRANSITIONS[state]
        never_left = sends == undelivered + 1
        check_money(state, said, found, never_left=never_left)
        if limits is not None:
            check_sending(state, found, limits, age_seconds, never_left=never_left)


def check_money(state: State, said: Event, found: ChosenEvent, *, never_left: bool) -> None:
    transition = TRANSITIONS[state][found.event]
    if transition.do not in MONEY:
        return
    assert said is not E.NO_ANSWER, "silence is not a no"
    is_proved = found.event is E.ABANDONED and said is E.UNDELIVERED and never_left
    has_moved = said is E.RETURNED and found.event is E.SETTLED  # what comes back had moved
    assert found.event is said or is_proved or has_moved


def check_sending(state, found: ChosenEvent, limits, age_seconds: int, *, never_left: bool) -> None:
    transition = TRANSITIONS[state][found.event]
    if state not in (S.LOCKED, S.IN_DOUBT) or transition.ask is not Ask.SEND:
        return
    assert age_seconds < VALID_SECONDS or not never_left
    if found.event is E.NOT_FOUND:
        assert limits.rail_class in (RailClass.A, RailClass.B)
        assert limits.is_not_found_definite
    is_recognised = age_seconds < limits.deduplicates_seconds
    assert (never_left and found.event is E.UNDELIVERED) or is_recognised
    assert age_seconds < VALID_SECONDS


@pytest.mark.parametrize("state", [S.LOCKED, S.IN_DOUBT, S.SENT, S.RECALLING])
@pytest.mark.parametrize("said", Event)
def test_under_all_limits_money_moves_on_evidence_and_bytes_leave_again_only_where_it_is_safe(
    state, said
):
    if said is E.ABANDONED:
        return  # nobody says that: it is chosen here
    held_back = (True, False) if said is E.UNDELIVERED else (False,)
    for limits, age_seconds, sent, is_frozen, is_held_back in product(
        RULES, AGES_SECONDS, SENT, (True, False), held_back
    ):
        holds(
            state,
            said,
            limits,
            age_seconds,
            sent,
            is_frozen=is_frozen,
            is_held_back=is_held_back,
        )


# --- a return that comes before the confirmation ------------------------------------------------------


@pytest.mark.parametrize("state", AT_RAIL_STATES)
def test_a_return_of_a_payment_at_the_rail_proves_that_it_had_settled(state):
    assert chosen(state, E.RETURNED) is E.SETTLED
    assert chosen(state, E.RETURNED, is_frozen=True) is None, "nothing is posted on a frozen one"
    assert is_return_to_come(answer(E.RETURNED), E.SETTLED)
    assert not is_return_to_come(answer(E.RETURNED), E.RETURNED)
    assert not is_return_to_come(answer(E.SETTLED), E.SETTLED)
