"""Compensations: what can be compensated, how much of it, and who may release one."""

from __future__ import annotations

from uuid import UUID

import pytest

from settlement_engine.domain.compensation import (
    WITHOUT_EFFECT,
    Compensation,
    compensated_minor,
    paid_back_minor,
)
from settlement_engine.domain.compensation_checks import (
    COMPENSATIONS_MAX,
    compensable_minor,
    fault_of_compensation,
    is_own_compensation,
    is_released,
    refuse_compensation,
    why_not_compensable,
)
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.money import Money
from settlement_engine.domain.preconditions import RefusalCode
from settlement_engine.domain.returns import Return
from settlement_engine.domain.settlement import Attestation
from settlement_engine.evidence.sentences import refusal_sentence
from tests.support.decided import ID, moved, settlement
from tests.support.histories import payment_request

WHOLE = Money(10_000, "EUR")
PAID = payment_request(amount=WHOLE, from_bank="DEUTDEFF", to_bank="CHASUS33")
OTHER_ID, OWN_ID = UUID(int=7), UUID(int=8)


def completed(**given):
    state = given.pop("state", State.COMPLETED)
    return settlement(state, **{"instruction": PAID} | given)


def compensating(**given):
    fields = {"amount": WHOLE, "from_bank": "CHASUS33", "to_bank": "DEUTDEFF", "compensates": ID}
    return payment_request(**fields | given)


def compensation(amount_minor, state=State.COMPLETED, settlement_id=OTHER_ID, returned_minor=0):
    return Compensation(
        settlement_id=settlement_id,
        state=state,
        amount_minor=amount_minor,
        returned_minor=returned_minor,
    )


def part(amount_minor, charges_minor=0):
    return Return(
        posting=2,
        amount_minor=amount_minor,
        charges_minor=charges_minor,
        left_minor=0,
        reference="",
    )


@pytest.mark.parametrize("state", State)
def test_only_what_has_completed_can_be_compensated(state):
    why = why_not_compensable(settlement(state))
    assert (why == "") is (state is State.COMPLETED)
    assert state is State.COMPLETED or state.value in why


def test_what_does_not_exist_and_what_the_rail_has_disproved_cannot():
    assert why_not_compensable(None) == "there is no settlement with this id"
    assert "disproved" in why_not_compensable(completed(attestation=Attestation.DISPROVED))
    assert why_not_compensable(completed(attestation=Attestation.STANDS)) == ""
    assert why_not_compensable(completed(is_frozen=True)) == ""


@pytest.mark.parametrize("state", State)
def test_a_compensation_counts_until_it_has_ended_without_effect(state):
    is_counted = state not in {State.FAILED, State.ROLLED_BACK, State.RETURNED}
    assert compensated_minor([compensation(400, state)]) == (400 if is_counted else 0)
    assert (state in WITHOUT_EFFECT) is not is_counted


def test_what_is_left_is_less_returns_charges_and_compensations():
    assert compensable_minor(completed()) == 10_000
    assert compensable_minor(completed(returns=(part(1_000, 50),))) == 8_950
    both = completed(
        returns=(part(1_000),),
        compensations=(compensation(2_000, returned_minor=500), compensation(1_000, State.HELD)),
    )
    assert compensable_minor(both) == 6_500
    own = compensation(3_000, State.VALIDATING, OWN_ID)
    assert compensable_minor(completed(compensations=(own,)), besides=OWN_ID) == 10_000
    assert compensable_minor(completed(compensations=(own,)), besides=OTHER_ID) == 7_000


def test_a_compensation_that_fits_has_no_fault():
    assert fault_of_compensation(compensating(), completed()) is None
    spelled = compensating(from_bank="chasus33xxx", to_bank="DEUTDEFFXXX")
    assert fault_of_compensation(spelled, completed()) is None


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"from_bank": "DEUTDEFF", "to_bank": "CHASUS33"}, "from_bank"),
        ({"from_bank": "BARCGB22"}, "from_bank"),
        ({"to_bank": "BARCGB22"}, "to_bank"),
        ({"amount": Money(100, "USD")}, "currency"),
        ({"amount": Money(10_001, "EUR")}, "amount"),
    ],
)
def test_a_compensation_that_does_not_fit_names_the_field(given, field):
    found = fault_of_compensation(compensating(**given), completed())
    assert found is not None
    assert found[0] == field


def test_the_fault_of_the_amount_says_what_is_left():
    taken = completed(compensations=(compensation(9_900, State.HELD),))
    found = fault_of_compensation(compensating(amount=Money(101, "EUR")), taken)
    assert found == ("amount", "is more than what is left to compensate: 1.00 EUR")
    assert fault_of_compensation(compensating(amount=Money(100, "EUR")), taken) is None
    over = completed(returns=(part(9_000),), compensations=(compensation(2_000),))
    found = fault_of_compensation(compensating(amount=Money(1, "EUR")), over)
    assert found == ("amount", "is more than what is left to compensate: 0.00 EUR")


def test_a_settlement_has_a_bounded_number_of_compensations():
    failed = [compensation(1, State.FAILED)] * (COMPENSATIONS_MAX - 1)
    assert fault_of_compensation(compensating(), completed(compensations=tuple(failed))) is None
    full = completed(compensations=(*failed, compensation(1, State.FAILED)))
    found = fault_of_compensation(compensating(), full)
    assert found == ("compensates", "is a settlement that has 100 compensations already")
    unknown = fault_of_compensation(compensating(), None)
    assert unknown == ("compensates", "there is no settlement with this id")


def held(amount_minor=10_000):
    instruction = compensating(amount=Money(amount_minor, "EUR"))
    return settlement(State.VALIDATING, id=OWN_ID, instruction=instruction)


def test_a_released_compensation_is_refused_if_less_is_left_than_before():
    own = compensation(10_000, State.VALIDATING, OWN_ID)
    assert refuse_compensation(held(), completed(compensations=(own,))) is None
    refusal = refuse_compensation(held(), completed(returns=(part(1),), compensations=(own,)))
    assert refusal is not None
    assert refusal.code is RefusalCode.NOT_COMPENSABLE
    assert refusal_sentence(refusal.code, refusal.detail) == (
        f"100.00 EUR is more than what is left to compensate of settlement {ID}: 99.99 EUR"
    )


def test_a_released_compensation_of_what_was_returned_is_refused_with_the_reason():
    refusal = refuse_compensation(held(), completed(state=State.RETURNED))
    assert refusal is not None
    assert refusal.detail["compensates"] == str(ID)
    assert "nothing is left" in refusal_sentence(refusal.code, refusal.detail)
    assert refuse_compensation(held(), None) is not None
    disproved = completed(attestation=Attestation.DISPROVED)
    assert refuse_compensation(held(), disproved) is not None


def test_the_count_of_compensations_refuses_none_that_was_admitted():
    full = completed(compensations=(compensation(0),) * COMPENSATIONS_MAX)
    assert refuse_compensation(held(), full) is None


def test_only_two_people_release():
    parked = moved(State.VALIDATING, Event.PARKED, State.HELD)
    approved = moved(State.HELD, Event.APPROVED, State.VALIDATING)
    assert is_released([parked, approved])
    assert not is_released([parked])
    assert not is_released([])


def test_who_submits_a_compensation_does_not_release_it():
    own = settlement(State.HELD, instruction=compensating(caller="spiffe://bank/alice"))
    assert is_own_compensation(own, "SPIFFE://BANK/ALICE")
    assert not is_own_compensation(own, "spiffe://bank/bob")
    ordinary = settlement(State.HELD, instruction=payment_request(caller="alice"))
    assert not is_own_compensation(ordinary, "alice")


@pytest.mark.parametrize("state", State)
def test_one_has_paid_back_from_its_hold_on(state):
    pays = {State.LOCKED, State.SENT, State.IN_DOUBT, State.RECALLING, State.COMPLETED}
    made = compensation(60, state, returned_minor=5)
    assert made.paid_back_minor == (55 if state in pays else 0)
    assert paid_back_minor([made, compensation(1)]) == made.paid_back_minor + 1
