"""Cover payments: what both banks have said, whether a cover may leave or be repaired, and its names."""

from __future__ import annotations

from datetime import timedelta
from itertools import product
from typing import Any

import msgspec
import pytest

from settlement_engine.domain.covers import (
    COVERS_MAX,
    SAID,
    Cover,
    CoverProblem,
    CoverRefusal,
    LegSays,
    check_repair,
    cover_intent,
    cover_message_id,
    family_of,
    is_pair,
    names_of_cover,
)
from settlement_engine.domain.decisions.before_the_end import decide
from settlement_engine.domain.decisions.chosen import ChosenEvent
from settlement_engine.domain.decisions.pairs import (
    PairOutcome,
    cover_outcome,
    may_send_cover,
    recall_outcome,
    recalls_cover,
)
from settlement_engine.domain.decisions.resending import RailClass
from settlement_engine.domain.exceptions import CaseKind
from settlement_engine.domain.identifiers import references
from settlement_engine.domain.lifecycle import ENDS, HOLDING, TRANSITIONS, Event, State
from settlement_engine.domain.statement_evidence import EntryEvidence, EntrySays
from settlement_engine.errors import WrongState
from settlement_engine.rails.classification import Purpose
from settlement_engine.rails.iso20022.names import message_id_of
from tests.support.decided import NOW, VALID_SECONDS, answer, attempt, rules, settlement

S, E, L = State, Event, LegSays
PAIRS = "swift_cover"
SENDS_MAX = 3

# --- what both banks have said ----------------------------------------------------------------------

COVER_SAYS = (L.UNSENT, L.SILENT, L.UNKNOWN, L.TAKEN, L.SETTLED, L.REFUSED, L.GIVEN_BACK)
"""The columns: what is known of the cover. The rows are what is known of the payment."""

NOT_SENT_NOW = {
    L.UNSENT: "unknown    -  payment!  payment!  payment!  payment!  payment!",
    L.SILENT: "-          -  -         -         -         -         -       ",
    L.UNKNOWN: "unknown   -  payment!  payment!  payment!  payment!  payment!",
    L.TAKEN: "late!       -  waits     waits     waits     cover!    cover!  ",
    L.SETTLED: "late!     -  waits     waits     settled   cover!    cover!  ",
    L.REFUSED: "rejected  -  payment!  payment!  payment!  rejected  rejected",
    L.GIVEN_BACK: "back   -  payment!  payment!  payment!  back      back    ",
}
"""The cover may not leave now. A word with ``!`` is for people, and the pair waits."""

SENT_NOW = NOT_SENT_NOW | {
    L.TAKEN: "cover     -  cover     waits     waits     cover!    cover!  ",
    L.SETTLED: "cover   -  cover     waits     settled   cover!    cover!  ",
}
"""The cover may leave now: only while TO has the payment, and FROM has no cover."""

OUTCOMES = {
    "-": PairOutcome(None),
    "unknown": PairOutcome(E.NOT_FOUND),
    "rejected": PairOutcome(E.REJECTED),
    "back": PairOutcome(E.RECALLED),
    "waits": PairOutcome(E.ACKNOWLEDGED),
    "cover": PairOutcome(E.COVER_DUE),
    "settled": PairOutcome(E.SETTLED),
    "cover!": PairOutcome(E.ACKNOWLEDGED, CoverProblem.COVER_FAILED),
    "payment!": PairOutcome(E.ACKNOWLEDGED, CoverProblem.PAYMENT_FAILED),
    "late!": PairOutcome(E.ACKNOWLEDGED, CoverProblem.COVER_TOO_LATE),
}


@pytest.mark.parametrize("may_send", [False, True])
@pytest.mark.parametrize("payment", LegSays)
def test_what_both_banks_say_is_one_event(payment: LegSays, *, may_send: bool) -> None:
    words = (SENT_NOW if may_send else NOT_SENT_NOW)[payment].split()
    expected = dict(zip(COVER_SAYS, words, strict=True))
    assert expected.keys() == set(LegSays)
    found = {cover: cover_outcome(payment, cover, may_send=may_send) for cover in LegSays}
    assert found == {cover: OUTCOMES[word] for cover, word in expected.items()}


def test_a_pair_ends_only_by_both_banks_or_while_no_cover_has_left() -> None:
    for payment, cover, may_send in product(LegSays, LegSays, (False, True)):
        event = cover_outcome(payment, cover, may_send=may_send).event
        if event is E.SETTLED:
            assert (payment, cover) == (L.SETTLED, L.SETTLED)
        if event in (E.REJECTED, E.RECALLED):
            assert payment in (L.REFUSED, L.GIVEN_BACK)
            assert cover in (L.UNSENT, L.REFUSED, L.GIVEN_BACK)
        if event is E.COVER_DUE:
            assert payment in (L.TAKEN, L.SETTLED), "the cover leaves after TO has the payment"
            assert cover in (L.UNSENT, L.UNKNOWN)
        if event is E.NOT_FOUND:
            assert cover is L.UNSENT, "what is covered is not sent again"


def test_what_an_answer_says_of_its_message() -> None:
    assert SAID == {
        E.ACKNOWLEDGED: L.TAKEN,
        E.SETTLED: L.SETTLED,
        E.REJECTED: L.REFUSED,
        E.RECALLED: L.GIVEN_BACK,
        E.NOT_FOUND: L.UNKNOWN,
    }


# --- recalls ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payment", "cover", "event"),
    [
        (E.SETTLED, None, E.RECALL_REFUSED),  # TO keeps it
        (E.RECALL_REFUSED, None, E.RECALL_REFUSED),
        (E.ACKNOWLEDGED, None, E.ACKNOWLEDGED),
        (E.NO_ANSWER, None, E.NO_ANSWER),
        (None, None, None),
        (None, E.RECALLED, None),  # FROM's answer alone says nothing
        (E.RECALLED, None, None),
        (E.RECALLED, E.ACKNOWLEDGED, E.ACKNOWLEDGED),
        (E.RECALLED, E.RECALLED, E.RECALLED),
        (E.RECALLED, E.REJECTED, E.RECALLED),
        (E.RECALLED, E.SETTLED, E.RECALL_REFUSED),  # FROM has paid: the money comes as a return
        (E.RECALLED, E.RECALL_REFUSED, E.RECALL_REFUSED),
        (E.RECALLED, E.NOT_FOUND, E.NOT_FOUND),
        (E.REJECTED, None, None),
        (E.REJECTED, E.RECALLED, E.RECALLED),
        (E.REJECTED, E.REJECTED, E.RECALLED),
        (E.REJECTED, E.SETTLED, E.RECALL_REFUSED),
    ],
)
def test_a_recall_succeeds_only_at_both_banks_once_the_cover_has_left(
    payment: Event | None, cover: Event | None, event: Event | None
) -> None:
    assert recall_outcome(payment, cover, has_left=True) is event


@pytest.mark.parametrize("payment", [*Event, None])
def test_without_a_cover_a_recall_is_what_the_bank_that_is_paid_says(payment: Event | None) -> None:
    expected = E.RECALL_REFUSED if payment is E.SETTLED else payment
    assert recall_outcome(payment, None, has_left=False) is expected
    assert not recalls_cover(payment, has_left=False)


@pytest.mark.parametrize("payment", [*Event, None])
def test_a_cover_is_recalled_only_after_its_payment_was_given_back(payment: Event | None) -> None:
    is_back = payment in (E.RECALLED, E.REJECTED)
    assert recalls_cover(payment, has_left=True) is is_back


# --- whether a cover may leave ----------------------------------------------------------------------


def cover(**given: Any) -> Cover:
    fields: dict[str, Any] = {
        "number": 1,
        "message_id": "CG",
        "content": b"bytes",
        "recorded_at": NOW,
        "valid_until": NOW + timedelta(seconds=VALID_SECONDS),
    }
    return Cover(**(fields | given))


REFUSED = CoverRefusal(code="AC04")


@pytest.mark.parametrize(
    ("given", "limits", "seconds", "may_leave"),
    [
        ({}, {}, 0, True),  # it never has
        ({}, {"rail_class": RailClass.D, "is_not_found_definite": False}, 0, True),
        ({}, {}, VALID_SECONDS - 1, True),
        ({}, {}, VALID_SECONDS, False),
        ({"refusal": REFUSED}, {}, 0, False),
        ({"sends": 2, "undelivered": 2}, {"rail_class": RailClass.D}, 0, True),
        ({"sends": 2, "undelivered": 2}, {}, VALID_SECONDS, False),
        ({"sends": 1}, {}, 0, True),  # FROM would recognise it
        ({"sends": 2, "undelivered": 1}, {}, 0, True),
        ({"sends": 1}, {"rail_class": RailClass.D}, 0, False),
        ({"sends": 1}, {"is_not_found_definite": False}, 0, False),
        ({"sends": 1}, {"deduplicates_seconds": 60.0}, 59, True),
        ({"sends": 1}, {"deduplicates_seconds": 60.0}, 60, False),
        ({"sends": 1}, {"not_found_after_seconds": 60.0}, 59, False),
        ({"sends": 1}, {"not_found_after_seconds": 60.0}, 60, True),
        ({"sends": 1}, {}, VALID_SECONDS, False),
        ({"sends": 1, "refusal": REFUSED}, {}, 0, False),
    ],
)
def test_a_cover_leaves_while_it_is_valid_and_cannot_be_paid_twice(
    given: dict[str, Any], limits: dict[str, Any], seconds: int, *, may_leave: bool
) -> None:
    now = NOW + timedelta(seconds=seconds)
    assert may_send_cover(cover(**given), rules(**limits), now) is may_leave


# --- repairs ----------------------------------------------------------------------------------------


def of_pair(state: State, rail: str = PAIRS, **given: Any) -> Any:
    made = settlement(state, **given)
    if made.attempt is not None:
        route = msgspec.structs.replace(made.attempt.route, rail=rail)
        made.attempt = msgspec.structs.replace(made.attempt, route=route)
    return made


@pytest.mark.parametrize("state", [S.SENT, S.IN_DOUBT])
@pytest.mark.parametrize("number", [1, COVERS_MAX - 1])
def test_a_cover_that_its_bank_has_refused_may_be_repaired(state: State, number: int) -> None:
    check_repair(of_pair(state), cover(number=number, refusal=REFUSED))


@pytest.mark.parametrize(
    ("made", "failed", "words"),
    [
        (settlement(S.VALIDATING), None, "no cover payment"),
        (of_pair(S.SENT, "swift"), cover(refusal=REFUSED), "no cover payment"),
        *(
            (of_pair(state), cover(refusal=REFUSED), f"that is {state.value}")
            for state in State
            if state in HOLDING | ENDS - {S.FAILED} and state not in (S.SENT, S.IN_DOUBT)
        ),
        (of_pair(S.SENT, is_frozen=True), cover(refusal=REFUSED), "that is sent"),
        (of_pair(S.SENT), None, "not refused"),
        (of_pair(S.SENT), cover(sends=1), "not refused"),
        (of_pair(S.SENT), cover(sends=1, undelivered=1), "not refused"),
        (of_pair(S.SENT), cover(number=COVERS_MAX, refusal=REFUSED), "9 times"),
    ],
)
def test_what_has_not_failed_is_not_repaired(made: Any, failed: Cover | None, words: str) -> None:
    with pytest.raises(WrongState, match=words):
        check_repair(made, failed)


# --- names ------------------------------------------------------------------------------------------


def test_a_rail_of_pairs_is_known_by_its_name() -> None:
    assert [is_pair(each) for each in (PAIRS, "swift", "mock", "cover")] == [True, *[False] * 3]
    assert [family_of(each) for each in (PAIRS, "swift")] == ["swift", "swift"]


@pytest.mark.parametrize("key", [f"key {number}" for number in range(40)])
def test_no_message_about_a_pair_has_the_name_of_another(key: str) -> None:
    names = references("caller", key, 1)
    every_name = [message_id_of(names, purpose) for purpose in Purpose]
    for number in range(1, COVERS_MAX + 1):
        message_id = cover_message_id(names.message_id, number)
        of_cover = names_of_cover(names, cover(number=number, message_id=message_id))
        assert (of_cover.uetr, of_cover.end_to_end_id) == (names.uetr, names.end_to_end_id)
        every_name += [message_id_of(of_cover, purpose) for purpose in Purpose]
    assert len(set(every_name)) == len(every_name) == len(Purpose) * (1 + COVERS_MAX)
    assert {len(each) for each in every_name} == {len(names.message_id)}
    assert all(each.isalnum() and each.isascii() for each in every_name)


def test_the_send_intent_names_the_cover_and_its_bytes() -> None:
    assert cover_intent(cover(number=3), "ab") == {"cover": "3", "cover_sha256": "ab"}
    ordered = cover(number=2, ordered_by="ada", reason="funded")
    said = {"ordered_by": "ada", "reason": "funded"}
    assert cover_intent(ordered, "ab") == {"cover": "2", "cover_sha256": "ab"} | said


# --- what one bank reports --------------------------------------------------------------------------

OPEN_AT_RAIL = (S.LOCKED, S.SENT, S.IN_DOUBT, S.RECALLING)
ASKED_NOW = ChosenEvent(E.ACKNOWLEDGED, asks_now=True)


@pytest.mark.parametrize("state", OPEN_AT_RAIL)
@pytest.mark.parametrize("said", [E.SETTLED, E.REJECTED, E.RECALLED, E.RECALL_REFUSED])
@pytest.mark.parametrize("limits", [rules(), None], ids=["rail", "removed"])
@pytest.mark.parametrize("is_frozen", [False, True])
def test_what_one_bank_reports_has_both_asked(
    state: State, said: Event, limits: Any, *, is_frozen: bool
) -> None:
    made = of_pair(state, is_frozen=is_frozen)
    for number in (0, 1):
        reported = answer(said, attempt=number, report_id=7)
        assert decide(made, reported, limits, SENDS_MAX, NOW) == ASKED_NOW
    other = answer(said, attempt=2, report_id=7)
    assert decide(made, other, limits, SENDS_MAX, NOW) is None


@pytest.mark.parametrize("state", OPEN_AT_RAIL)
@pytest.mark.parametrize("limits", [rules(), None], ids=["rail", "removed"])
def test_a_statements_debit_is_what_one_bank_says(state: State, limits: Any) -> None:
    debit = EntryEvidence(says=EntrySays.DEBIT, statement=1, entry=2)
    booked = answer(E.SETTLED, entry=debit)
    assert decide(of_pair(state), booked, limits, SENDS_MAX, NOW) == ASKED_NOW
    ordinary = decide(of_pair(state, "swift"), booked, limits, SENDS_MAX, NOW)
    assert ordinary is not None
    assert ordinary.event is E.SETTLED


@pytest.mark.parametrize("state", OPEN_AT_RAIL)
@pytest.mark.parametrize("said", [E.SETTLED, E.REJECTED])
def test_what_both_banks_say_ends_the_pair(state: State, said: Event) -> None:
    """The rail that asks both answers without a report; and a report about an ordinary payment is an answer."""
    for made, given in (
        (of_pair(state), answer(said)),
        (of_pair(state, "swift"), answer(said, report_id=7)),
    ):
        assert decide(made, given, rules(), SENDS_MAX, NOW) == ChosenEvent(said)


@pytest.mark.parametrize("state", [S.PENDING, S.VALIDATING, S.HELD, S.QUEUED])
@pytest.mark.parametrize("said", [E.SETTLED, E.REJECTED])
def test_nothing_is_reported_about_what_was_never_sent(state: State, said: Event) -> None:
    reported = answer(said, attempt=0, report_id=7)
    assert decide(of_pair(state), reported, None, SENDS_MAX, NOW) is None


# --- the cover is due -------------------------------------------------------------------------------


@pytest.mark.parametrize("state", OPEN_AT_RAIL)
@pytest.mark.parametrize("limits", [rules(), None], ids=["rail", "removed"])
@pytest.mark.parametrize("is_frozen", [False, True])
def test_no_cover_leaves_for_what_is_frozen_or_recalled(
    state: State, limits: Any, *, is_frozen: bool
) -> None:
    found = decide(of_pair(state, is_frozen=is_frozen), answer(E.COVER_DUE), limits, SENDS_MAX, NOW)
    assert found is not None
    if is_frozen:
        assert found.event is E.ACKNOWLEDGED, "TO has the payment"
    else:
        assert found.event is (E.NO_ANSWER if state is S.RECALLING else E.COVER_DUE)


def test_a_cover_that_is_due_where_it_was_asked_is_due_nowhere_else() -> None:
    before = decide(of_pair(S.SENT), answer(E.COVER_DUE, seq=2), rules(), SENDS_MAX, NOW)
    assert before is None
    assert E.COVER_DUE not in TRANSITIONS[S.RECALLING]
    assert not any(E.COVER_DUE in TRANSITIONS[state] for state in ENDS)
    assert of_pair(S.SENT, attempt=attempt()).attempt.route.rail == PAIRS


@pytest.mark.parametrize("state", sorted(OPEN_AT_RAIL))
def test_a_cover_that_is_paid_after_its_repair_freezes_what_is_open(state: State) -> None:
    paid = answer(E.SETTLED, report_id=7, is_of_earlier_cover=True)
    found = decide(of_pair(state), paid, rules(), SENDS_MAX, NOW)
    assert found == ChosenEvent(E.AMOUNT_DIFFERED, CaseKind.SECOND_DEBIT)
    frozen = decide(of_pair(state, is_frozen=True), paid, rules(), SENDS_MAX, NOW)
    assert frozen is None or frozen.event is E.ACKNOWLEDGED


@pytest.mark.parametrize("state", [S.COMPLETED, S.RETURNED, S.ROLLED_BACK])
def test_a_cover_that_is_paid_after_its_repair_is_an_exception_after_the_end(state: State) -> None:
    paid = answer(E.SETTLED, report_id=7, is_of_earlier_cover=True)
    found = decide(of_pair(state), paid, rules(), SENDS_MAX, NOW)
    assert found == ChosenEvent(E.CONTRADICTED, CaseKind.SECOND_DEBIT)
