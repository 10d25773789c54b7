"""What the ledger's guards turned down: every result, before the end and after it."""

from __future__ import annotations

import pytest

from settlement_engine.domain.decisions.chosen import ChosenEvent
from settlement_engine.domain.decisions.turned_down import (
    GUARD_REPEATS_MAX,
    Result,
    decide_turned_down,
)
from settlement_engine.domain.exceptions import CaseKind
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.money import Money
from settlement_engine.domain.preconditions import RefusalCode, refuse_funds
from settlement_engine.domain.returns import StatedAmount
from settlement_engine.domain.settlement import Attestation
from settlement_engine.domain.statement_evidence import EntryEvidence, EntrySays
from tests.support.decided import answer, settlement

CLEARED = answer(Event.CLEARED, attempt=0)


@pytest.mark.parametrize(("available_minor", "shown_minor"), [(40, 40), (0, 0), (-5, 0)])
def test_what_is_not_covered_is_refused_with_what_there_was(available_minor, shown_minor):
    validating = settlement(State.VALIDATING)
    found = decide_turned_down(validating, CLEARED, Result.SHORT, available_minor, 0)
    required = validating.instruction.amount
    assert found
    assert found.event is Event.REFUSED
    assert found.refusal == refuse_funds(required, Money(shown_minor, required.currency))


def test_a_full_account_is_refused_at_once():
    found = decide_turned_down(settlement(State.VALIDATING), CLEARED, Result.FULL, 0, 0)
    assert found
    assert found.event is Event.REFUSED
    assert found.refusal
    assert found.refusal.code is RefusalCode.ACCOUNT_FULL


@pytest.mark.parametrize(
    ("result", "code"),
    [
        (Result.INACTIVE, RefusalCode.INACTIVE_ACCOUNT),
        (Result.SHUT, RefusalCode.SETTLEMENT_WINDOW_CLOSED),
        (Result.LESS_LEFT, RefusalCode.NOT_COMPENSABLE),
    ],
)
def test_accounts_and_windows_are_read_again_before_they_are_a_reason(result, code):
    validating = settlement(State.VALIDATING)
    for repeats in range(GUARD_REPEATS_MAX):
        assert decide_turned_down(validating, CLEARED, result, 0, repeats) is None
    found = decide_turned_down(validating, CLEARED, result, 0, GUARD_REPEATS_MAX)
    assert found
    assert found.event is Event.REFUSED
    assert found.refusal
    assert found.refusal.code is code


@pytest.mark.parametrize(
    ("stated", "event"),
    [
        (StatedAmount(), Event.UNCOVERED),
        (StatedAmount(minor=1), Event.PARTLY_UNCOVERED),
    ],
)
def test_a_return_that_is_not_covered_is_taken_from_suspense(stated, event):
    completed = settlement(State.COMPLETED)
    said = answer(Event.RETURNED, stated=stated)
    found = decide_turned_down(completed, said, Result.SHORT, 0, 0)
    assert found
    assert (found.event, found.kind) == (event, CaseKind.UNCOVERED_RETURN)
    assert found.back is not None


def test_what_else_is_said_after_the_end_stays_what_it_was():
    attested = settlement(State.ROLLED_BACK, attestation=Attestation.STANDS)
    found = decide_turned_down(attested, answer(Event.SETTLED), Result.SHORT, 0, 0)
    assert found
    assert found.event is Event.DISPROVED


def test_what_is_left_is_read_again_before_a_return_is_an_exception():
    completed, said = settlement(State.COMPLETED), answer(Event.RETURNED)
    for repeats in range(GUARD_REPEATS_MAX):
        assert decide_turned_down(completed, said, Result.LESS_LEFT, 0, repeats) is None
    found = decide_turned_down(completed, said, Result.LESS_LEFT, 0, GUARD_REPEATS_MAX)
    assert found == ChosenEvent(Event.CONTRADICTED, CaseKind.AMOUNT_DIFFERS)


@pytest.mark.parametrize("state", [State.COMPLETED, State.RETURNED])
def test_a_second_debit_that_is_not_covered_is_an_exception_at_once(state):
    entry = EntryEvidence(says=EntrySays.SECOND_DEBIT, statement=1, entry=2, nth=2)
    said = answer(Event.SETTLED, entry=entry)
    found = decide_turned_down(settlement(state), said, Result.SHORT, 0, 0)
    assert found == ChosenEvent(Event.CONTRADICTED, CaseKind.SECOND_DEBIT)


@pytest.mark.parametrize("state", [State.LOCKED, State.IN_DOUBT, State.SENT])
def test_a_cover_that_was_refused_meanwhile_does_not_leave_and_both_banks_are_asked_again(state):
    due = answer(Event.COVER_DUE)
    found = decide_turned_down(settlement(state), due, Result.NOT_DUE, 0, 0)
    assert found == ChosenEvent(Event.ACKNOWLEDGED)
