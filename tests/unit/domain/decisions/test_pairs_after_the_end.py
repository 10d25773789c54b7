"""What one bank of a cover payment says of its message after the pair has ended: an exception at most, and no money."""

from __future__ import annotations

import pytest

from settlement_engine.domain.decisions.after_the_end import is_booked_to_suspense, judge
from settlement_engine.domain.decisions.chosen import ChosenEvent
from settlement_engine.domain.exceptions import CaseKind
from settlement_engine.domain.lifecycle import TRANSITIONS, Do, Event, State
from settlement_engine.domain.preconditions import RefusalCode
from settlement_engine.domain.returns import StatedAmount, judge_return
from settlement_engine.domain.settlement import Attestation, Route, Settlement
from tests.support.decided import answer, attempt, settlement

E, S = Event, State
STANDS = Attestation.STANDS
PAIR = Route(rail="swift_cover", source_id=1, agent_id=2, clearing_id=3, target_id=4)
ENDED = (S.COMPLETED, S.ROLLED_BACK, S.RETURNED)
FINAL = (E.SETTLED, E.REJECTED, E.RECALLED, E.RECALL_REFUSED)
EXCEPTION = ChosenEvent(E.CONTRADICTED, CaseKind.CONTRADICTION)
LATE_DEBIT = ChosenEvent(E.CONTRADICTED, CaseKind.LATE_DEBIT)


def pair(state: State, **given) -> Settlement:
    return settlement(state, attempt=attempt(route=PAIR), **given)


def reported(event: Event, **given):
    return answer(event, report_id=7, **given)


@pytest.mark.parametrize("attestation", [Attestation.NONE, STANDS])
@pytest.mark.parametrize("event", FINAL)
@pytest.mark.parametrize("state", ENDED)
def test_one_bank_alone_moves_no_money(state, event, attestation):
    ended = pair(state, attestation=attestation)
    chosen = judge(ended, reported(event))
    assert chosen is None or TRANSITIONS[state][chosen.event].do is Do.EXCEPT
    assert not is_booked_to_suspense(ended, reported(event))


@pytest.mark.parametrize(
    ("state", "event", "expected"),
    [(S.ROLLED_BACK, E.SETTLED, LATE_DEBIT), (S.COMPLETED, E.REJECTED, EXCEPTION)],
)
def test_one_bank_alone_does_not_disprove_what_two_people_attested(state, event, expected):
    ended = pair(state, attestation=STANDS)
    assert judge(ended, reported(event)) == expected
    asked_of_both = judge(ended, answer(event, seq=ended.seq))
    assert asked_of_both == ChosenEvent(E.DISPROVED, CaseKind.DISPROVED)


def test_of_another_payment_a_report_disproves_it():
    ended = settlement(S.ROLLED_BACK, attestation=STANDS)
    assert judge(ended, reported(E.SETTLED)) == ChosenEvent(E.DISPROVED, CaseKind.DISPROVED)


@pytest.mark.parametrize("event", [E.REJECTED, E.RECALLED, E.SETTLED])
def test_where_the_money_came_back_the_refusal_of_a_message_is_no_news(event):
    assert judge(pair(S.RETURNED), reported(event)) is None
    assert judge(settlement(S.RETURNED), reported(E.REJECTED)) == EXCEPTION


def test_where_a_part_came_back_it_is_none_either():
    whole = pair(S.COMPLETED).instruction.amount
    part = judge_return(whole, (), StatedAmount(minor=whole.minor - 1))
    assert judge(pair(S.COMPLETED, returns=(part,)), reported(E.REJECTED)) is None


def test_both_banks_confirm_one_payment_with_a_reference_each():
    completed = pair(S.COMPLETED, confirmation="of FROM")
    assert judge(completed, reported(E.SETTLED, confirmation="of TO")) is None
    other = settlement(S.COMPLETED, confirmation="of FROM")
    second = judge(other, reported(E.SETTLED, confirmation="of somebody else"))
    assert second == ChosenEvent(E.CONTRADICTED, CaseKind.SECOND_DEBIT)


def test_another_amount_is_told():
    stated = StatedAmount(minor=1)
    chosen = judge(pair(S.COMPLETED), reported(E.SETTLED, stated=stated))
    assert chosen == ChosenEvent(E.CONTRADICTED, CaseKind.AMOUNT_DIFFERS)


def test_an_answer_to_an_earlier_question_is_that_of_one_bank():
    """TO's answer to the send that comes when the pair has gone on, and has ended."""
    returned = pair(S.RETURNED)
    assert judge(returned, answer(E.REJECTED, seq=returned.seq - 1)) is None
    assert judge(returned, answer(E.REJECTED, seq=returned.seq)) == EXCEPTION


def test_a_late_debit_after_the_rails_own_no_is_told():
    refused = pair(S.ROLLED_BACK, refusal_code=RefusalCode.RAIL_REJECTED.value)
    assert judge(refused, reported(E.SETTLED)) == LATE_DEBIT
    assert judge(refused, reported(E.REJECTED)) is None
