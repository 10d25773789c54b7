"""Statuses after a final state: every event in every final state, with and without an attestation."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from uuid import UUID

import pytest

from settlement_engine.domain.answer import Answer
from settlement_engine.domain.compensation import Compensation
from settlement_engine.domain.decisions.after_the_end import contradicts
from settlement_engine.domain.decisions.after_the_end import judge as judged
from settlement_engine.domain.decisions.chosen import ChosenEvent
from settlement_engine.domain.exceptions import CaseKind
from settlement_engine.domain.lifecycle import ENDS, TRANSITIONS, Do, Event, State
from settlement_engine.domain.payment import PaymentDetails
from settlement_engine.domain.returns import StatedAmount, read_return
from settlement_engine.domain.settlement import Attestation, Settlement
from tests.support.histories import payment_request

E, S = Event, State
STANDS, DISPROVED = Attestation.STANDS, Attestation.DISPROVED
NOW = datetime(2026, 1, 5, tzinfo=UTC)


def ended(state: State, attestation: Attestation = Attestation.NONE, **fields) -> Settlement:
    settlement = Settlement(
        id=UUID(int=1),
        instruction=payment_request(),
        state=state,
        seq=5,
        fencing_token=0,
        created_at=NOW,
        value_date=date(2026, 1, 5),
        ended_at=NOW,
        attestation=attestation,
    )
    return replace(settlement, **fields)


def judge(settlement: Settlement, event: Event, confirmation: str = "") -> ChosenEvent | None:
    answer = Answer(settlement_id=settlement.id, event=event, confirmation=confirmation)
    return judged(settlement, answer)


@pytest.mark.parametrize("state", sorted(ENDS))
@pytest.mark.parametrize("attestation", Attestation)
@pytest.mark.parametrize("event", Event)
def test_every_chosen_event_has_a_transition(state, attestation, event):
    chosen = judge(ended(state, attestation), event)
    if chosen is not None:
        assert chosen.event in TRANSITIONS[state]


@pytest.mark.parametrize("state", sorted(ENDS))
@pytest.mark.parametrize("event", Event)
def test_without_an_attestation_only_a_return_moves_money(state, event):
    chosen = judge(ended(state), event)
    if event is E.RETURNED:
        assert (chosen and chosen.event) == (E.RETURNED if state is S.COMPLETED else None)
    elif event is not E.NOT_FOUND and contradicts(state, event):
        assert chosen is not None
        assert TRANSITIONS[state][chosen.event].do is Do.EXCEPT
    else:
        assert chosen is None


@pytest.mark.parametrize(
    ("state", "event", "expected"),
    [
        (S.ROLLED_BACK, E.SETTLED, E.DISPROVED),
        (S.ROLLED_BACK, E.ACKNOWLEDGED, E.CONTRADICTED),  # not final: nothing is booked on it
        (S.ROLLED_BACK, E.REJECTED, None),
        (S.COMPLETED, E.REJECTED, E.DISPROVED),
        (S.COMPLETED, E.RECALLED, E.DISPROVED),
        (S.COMPLETED, E.NOT_FOUND, E.CONTRADICTED),  # it may still arrive
        (S.COMPLETED, E.SETTLED, None),
        (S.COMPLETED, E.RETURNED, E.RETURNED),
        (S.RETURNED, E.REJECTED, E.CONTRADICTED),
    ],
)
def test_only_a_definite_status_disproves_an_attestation(state, event, expected):
    chosen = judge(ended(state, STANDS), event)
    assert (chosen.event if chosen else None) == expected


@pytest.mark.parametrize(
    ("state", "event", "is_recorded"),
    [
        (S.ROLLED_BACK, E.SETTLED, False),
        (S.ROLLED_BACK, E.ACKNOWLEDGED, False),
        (S.ROLLED_BACK, E.REJECTED, True),
        (S.ROLLED_BACK, E.RETURNED, True),
        (S.COMPLETED, E.REJECTED, False),
        (S.COMPLETED, E.RECALLED, False),
        (S.COMPLETED, E.NOT_FOUND, False),
        (S.COMPLETED, E.SETTLED, True),
        (S.COMPLETED, E.RETURNED, True),
    ],
)
def test_a_repeated_disproof_is_ignored_and_nothing_is_booked_again(state, event, is_recorded):
    chosen = judge(ended(state, DISPROVED), event)
    assert chosen == (ChosenEvent(E.CONTRADICTED, CaseKind.CONTRADICTION) if is_recorded else None)


@pytest.mark.parametrize("event", Event)
@pytest.mark.parametrize("state", sorted(ENDS))
def test_suspense_is_booked_only_against_an_attestation_that_stands(state, event):
    for attestation in Attestation:
        chosen = judge(ended(state, attestation), event)
        if chosen is not None and chosen.event is E.DISPROVED:
            assert attestation is STANDS


def test_a_second_confirmation_is_a_second_debit():
    completed = ended(S.COMPLETED, confirmation="C-1")
    assert judge(completed, E.SETTLED, "C-1") is None
    assert judge(completed, E.SETTLED, "") is None
    assert judge(ended(S.COMPLETED), E.SETTLED, "C-2") is None
    assert judge(completed, E.SETTLED, "C-2") == ChosenEvent(E.CONTRADICTED, CaseKind.SECOND_DEBIT)
    returned = ended(S.RETURNED, confirmation="C-1")
    assert judge(returned, E.SETTLED, "C-2") == ChosenEvent(E.CONTRADICTED, CaseKind.SECOND_DEBIT)


def test_a_late_debit_is_told_from_a_late_no():
    kinds = {
        (S.ROLLED_BACK, E.SETTLED): CaseKind.LATE_DEBIT,
        (S.FAILED, E.SETTLED): CaseKind.LATE_DEBIT,
        (S.COMPLETED, E.REJECTED): CaseKind.CONTRADICTION,
    }
    for (state, event), kind in kinds.items():
        assert judge(ended(state), event) == ChosenEvent(E.CONTRADICTED, kind)


@pytest.mark.parametrize("code", ["RAIL_REJECTED", "CANCELLED_BY_CALLER"])
def test_received_is_ignored_after_the_rails_rejection_but_recorded_after_an_attestation(code):
    """The rail says that it has the payment, and two people attested that it has not."""
    rails_own = ended(S.ROLLED_BACK, refusal_code=code)
    assert judge(rails_own, E.ACKNOWLEDGED) is None
    peoples = ended(S.ROLLED_BACK, STANDS, refusal_code=code)
    told = judge(peoples, E.ACKNOWLEDGED)
    assert told == ChosenEvent(E.CONTRADICTED, CaseKind.CONTRADICTION)


def test_not_found_is_ignored_after_the_rail_has_settled():
    # Found by the simulation: asked before the payment had arrived, answered after it was settled.
    assert judge(ended(State.COMPLETED), Event.NOT_FOUND) is None
    assert judge(ended(State.COMPLETED), Event.REJECTED) is not None


def test_not_found_is_recorded_where_people_attested_that_it_had_settled():
    attested = ended(State.COMPLETED, attestation=Attestation.STANDS)
    assert judge(attested, Event.NOT_FOUND) is not None


@pytest.mark.parametrize(("state", "is_booked"), [(S.LOCKED, False), (S.HELD, True)])
def test_a_return_of_what_a_compensation_pays_back_is_an_exception(state, is_booked):
    whole = payment_request().amount.minor
    made = Compensation(settlement_id=UUID(int=2), state=state, amount_minor=whole)
    found = judge(ended(S.COMPLETED, compensations=(made,)), E.RETURNED)
    assert found
    if is_booked:
        assert found.event is E.RETURNED
    else:
        assert found == ChosenEvent(E.CONTRADICTED, CaseKind.AMOUNT_DIFFERS)


@pytest.mark.parametrize(("bearer", "billed"), [("DEBT", 7), ("SHAR", 2), ("CRED", 0), (None, 0)])
def test_a_return_less_charges_bills_from_as_the_payment_says(bearer, billed):
    payment = None if bearer is None else PaymentDetails(charge_bearer=bearer)
    request = payment_request(from_bank="DEUTDEFF", to_bank="CHASUS33", payment=payment)
    stated = StatedAmount(
        minor=1, charges_minor=7, reference="R", charged_by=(("DEUTDEFF", 2), ("CHASUS33", 5))
    )
    completed = ended(S.COMPLETED, instruction=request)
    found = judged(completed, Answer(settlement_id=completed.id, event=E.RETURNED, stated=stated))
    assert found
    assert found.back
    assert found.back.rebilled_minor == billed
    assert read_return(found.back.words(), 100) == found.back
