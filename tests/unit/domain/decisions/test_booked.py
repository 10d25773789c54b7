"""What a statement's entry means: every state with everything that an entry can say."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from settlement_engine.domain.answer import Answer
from settlement_engine.domain.decisions.after_the_end import is_booked_to_suspense, needs_suspense
from settlement_engine.domain.decisions.before_the_end import decide
from settlement_engine.domain.decisions.booked import BOOKED, booked_event, booked_kind, event_said
from settlement_engine.domain.decisions.chosen import ChosenEvent
from settlement_engine.domain.exceptions import SEVERITY, SUSPENDED, CaseKind, Severity
from settlement_engine.domain.lifecycle import ENDS, HOLDING, TRANSITIONS, Do, Event, State
from settlement_engine.domain.returns import Return, StatedAmount
from settlement_engine.domain.settlement import Attestation
from settlement_engine.domain.statement_evidence import EntryEvidence, EntrySays
from tests.support.decided import settlement as made

if TYPE_CHECKING:
    from settlement_engine.domain.money import Money

E, S, Y, K = Event, State, EntrySays, CaseKind
NOW = datetime(2026, 1, 5, tzinfo=UTC)
OPEN = sorted(HOLDING)
BEFORE = [S.PENDING, S.VALIDATING, S.HELD, S.QUEUED]

EXPECTED = {
    **{(state, Y.DEBIT): E.SETTLED for state in OPEN},
    **{(state, Y.OTHER_AMOUNT): E.AMOUNT_DIFFERED for state in OPEN},
    **{
        (state, says): E.CONTRADICTED
        for state in (S.ROLLED_BACK, S.FAILED)
        for says in (Y.DEBIT, Y.OTHER_AMOUNT, Y.SECOND_DEBIT, Y.FURTHER_DEBIT)
    },
    **{
        (state, says): E.CONTRADICTED
        for state in (S.COMPLETED, S.RETURNED)
        for says in (Y.OTHER_AMOUNT, Y.FURTHER_DEBIT, Y.REVERSAL)
    },
    (S.COMPLETED, Y.SECOND_DEBIT): E.DEBITED_TWICE,
    (S.RETURNED, Y.SECOND_DEBIT): E.DEBITED_TWICE,
    (S.COMPLETED, Y.ABSENT): E.CONTRADICTED,
}
"""Everything that an entry changes; whatever is not here changes nothing."""


def entry(says: EntrySays, **fields) -> EntryEvidence:
    return EntryEvidence(**{"says": says, "statement": 7, "entry": 3, **fields})


def answer(says: EntrySays, **fields) -> Answer:
    minor = fields.pop("minor", None)
    found = entry(says, **fields)
    stated = StatedAmount(minor=minor, currency="EUR", reference=found.reference)
    return Answer(
        settlement_id=made(S.SENT).id,
        event=E.RETURNED if says is Y.RETURN else E.SETTLED,
        attempt=1,
        stated=stated,
        entry=found,
    )


def decided(settlement, said: Answer) -> ChosenEvent | None:
    return decide(settlement, said, None, 3, NOW)


@pytest.mark.parametrize("says", [each for each in Y if each is not Y.RETURN])
@pytest.mark.parametrize("state", State)
def test_the_table(state, says):
    event = EXPECTED.get((state, says))
    assert booked_event(state, says) is event
    chosen = decided(made(state), answer(says))
    assert (chosen.event if chosen else None) is event
    if event is not None:
        assert event in TRANSITIONS[state]


def test_a_return_is_not_in_the_table():
    assert not any(Y.RETURN in rows for rows in BOOKED.values())


@pytest.mark.parametrize("says", Y)
@pytest.mark.parametrize("state", OPEN)
def test_no_entry_releases_funds_or_sends_again(state, says):
    """Neither an absence nor a reversal is a no: the funds stay held, and nothing is sent a second time."""
    chosen = decided(made(state), answer(says))
    if chosen is not None:
        row = TRANSITIONS[state][chosen.event]
        assert row.do is not Do.RELEASE
        assert row.state is not S.LOCKED


@pytest.mark.parametrize("state", OPEN)
def test_only_a_debit_of_the_amount_that_was_sent_completes(state):
    completing = {
        says
        for says in Y
        if says is not Y.RETURN
        and (chosen := decided(made(state), answer(says))) is not None
        and TRANSITIONS[state][chosen.event].do is Do.POST
    }
    assert completing == {Y.DEBIT}


@pytest.mark.parametrize("state", OPEN)
def test_another_amount_is_reported_once_and_a_person_decides(state):
    assert decided(made(state), answer(Y.OTHER_AMOUNT)) == ChosenEvent(
        E.AMOUNT_DIFFERED, K.AMOUNT_DIFFERS
    )
    assert decided(replace(made(state), is_frozen=True), answer(Y.OTHER_AMOUNT)) is None
    assert decided(replace(made(state), is_frozen=True), answer(Y.DEBIT)) == ChosenEvent(E.SETTLED)


def test_an_entry_of_another_attempt_changes_nothing():
    said = replace_attempt(answer(Y.DEBIT), 2)
    assert decided(made(S.IN_DOUBT), said) is None


def replace_attempt(said: Answer, attempt: int) -> Answer:
    return Answer(
        settlement_id=said.settlement_id, event=said.event, attempt=attempt, entry=said.entry
    )


@pytest.mark.parametrize(
    ("state", "says", "kind"),
    [
        (S.ROLLED_BACK, Y.DEBIT, K.LATE_DEBIT),
        (S.ROLLED_BACK, Y.OTHER_AMOUNT, K.LATE_DEBIT),
        (S.FAILED, Y.DEBIT, K.LATE_DEBIT),
        (S.COMPLETED, Y.OTHER_AMOUNT, K.AMOUNT_DIFFERS),
        (S.COMPLETED, Y.SECOND_DEBIT, K.DEBITED_TWICE),
        (S.COMPLETED, Y.FURTHER_DEBIT, K.SECOND_DEBIT),
        (S.COMPLETED, Y.REVERSAL, K.STATEMENT_DIFFERS),
        (S.COMPLETED, Y.ABSENT, K.STATEMENT_DIFFERS),
    ],
)
def test_each_contradiction_has_its_kind_and_is_critical(state, says, kind):
    assert decided(made(state), answer(says)) == ChosenEvent(EXPECTED[state, says], kind)
    assert booked_kind(state, says) is kind
    assert SEVERITY[kind] is Severity.CRITICAL


def test_a_second_debit_needs_the_suspense_account_and_two_people():
    said = answer(Y.SECOND_DEBIT)
    assert is_booked_to_suspense(made(S.COMPLETED), said)
    assert needs_suspense(made(S.COMPLETED), said, None)
    assert not is_booked_to_suspense(made(S.COMPLETED), answer(Y.FURTHER_DEBIT))
    assert not is_booked_to_suspense(made(S.SENT), said)
    assert K.DEBITED_TWICE in SUSPENDED


# --- attestations -------------------------------------------------------------------------------------


def attested(state: State, attestation: Attestation):
    return replace(made(state), attestation=attestation)


def test_a_debit_disproves_what_two_people_attested_once():
    released = attested(S.ROLLED_BACK, Attestation.STANDS)
    assert decided(released, answer(Y.DEBIT)) == ChosenEvent(E.DISPROVED, K.DISPROVED)
    assert is_booked_to_suspense(released, answer(Y.DEBIT))
    again = attested(S.ROLLED_BACK, Attestation.DISPROVED)
    assert decided(again, answer(Y.DEBIT)) is None
    assert decided(again, answer(Y.SECOND_DEBIT)) == ChosenEvent(E.CONTRADICTED, K.LATE_DEBIT)


@pytest.mark.parametrize("says", [Y.ABSENT, Y.REVERSAL])
def test_an_absence_books_nothing_against_an_attestation(says):
    completed = attested(S.COMPLETED, Attestation.STANDS)
    assert decided(completed, answer(says)) == ChosenEvent(E.CONTRADICTED, K.STATEMENT_DIFFERS)


# --- returns ------------------------------------------------------------------------------------------


def returned(amount_minor: int, reference: str, left_minor: int, posting: int = 2) -> Return:
    return Return(
        posting=posting,
        amount_minor=amount_minor,
        charges_minor=0,
        left_minor=left_minor,
        reference=reference,
    )


def message(minor: int | None, reference: str) -> Answer:
    stated = StatedAmount(minor=minor, currency="EUR", reference=reference)
    return Answer(settlement_id=made(S.SENT).id, event=E.RETURNED, attempt=1, stated=stated)


def whole() -> Money:
    return made(S.COMPLETED).instruction.amount


@pytest.mark.parametrize("state", OPEN)
def test_a_return_from_a_statement_settles_first(state):
    assert decided(made(state), answer(Y.RETURN, minor=whole().minor)) == ChosenEvent(E.SETTLED)


def test_a_return_from_a_statement_is_booked_as_one_from_a_message():
    all_of_it = decided(made(S.COMPLETED), answer(Y.RETURN, minor=whole().minor))
    assert all_of_it is not None
    assert all_of_it.event is E.RETURNED
    assert all_of_it.back is not None
    assert all_of_it.back.reference == entry(Y.RETURN).reference
    part = decided(made(S.COMPLETED), answer(Y.RETURN, minor=whole().minor - 1))
    assert part is not None
    assert (part.event, part.back and part.back.left_minor) == (E.PARTLY_RETURNED, 1)
    assert decided(made(S.ROLLED_BACK), answer(Y.RETURN, minor=5)) is None


def test_a_return_that_a_message_brought_is_not_booked_again_by_its_entry():
    minor = whole().minor
    known = replace(made(S.RETURNED), returns=(returned(minor, "RTR-1", 0),))
    assert decided(known, answer(Y.RETURN, minor=minor)) is None
    partly = replace(made(S.COMPLETED), returns=(returned(10, "RTR-1", minor - 10),))
    assert decided(partly, answer(Y.RETURN, minor=10)) is None
    second = decided(partly, answer(Y.RETURN, minor=10, nth=2))
    assert second is not None
    assert second.event is E.PARTLY_RETURNED


def test_a_return_that_a_statement_brought_is_not_booked_again_by_its_message():
    minor, name = whole().minor, entry(Y.RETURN).reference
    partly = replace(made(S.COMPLETED), returns=(returned(10, name, minor - 10),))
    assert decided(partly, message(10, "RTR-1")) is None
    assert decided(partly, answer(Y.RETURN, minor=10)) is None
    other = decided(partly, message(20, "RTR-2"))
    assert other is not None
    assert other.event is E.PARTLY_RETURNED
    full = replace(made(S.RETURNED), returns=(returned(minor, name, 0),))
    assert decided(full, message(minor, "RTR-1")) is None


def test_more_than_is_left_is_never_booked():
    minor = whole().minor
    partly = replace(made(S.COMPLETED), returns=(returned(minor - 1, "RTR-1", 1),))
    assert decided(partly, answer(Y.RETURN, minor=2)) == ChosenEvent(
        E.CONTRADICTED, K.AMOUNT_DIFFERS
    )


@pytest.mark.parametrize("state", BEFORE + sorted(ENDS - {S.COMPLETED, S.RETURNED}))
def test_a_return_changes_nothing_where_no_money_moved(state):
    assert decided(made(state), answer(Y.RETURN, minor=whole().minor)) is None


@pytest.mark.parametrize("each", Y)
def test_every_entry_has_a_status_that_a_rail_would_report(each):
    expected = {
        Y.RETURN: E.RETURNED,
        Y.REVERSAL: E.REJECTED,
        Y.ABSENT: E.NOT_FOUND,
    }
    assert event_said(each) is expected.get(each, E.SETTLED)
