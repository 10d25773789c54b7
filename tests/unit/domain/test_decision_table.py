"""The decision table of the payments business, case by case, compared with the transition table.

Each entry is a case of the table "in doubt: never pay twice": the state, the event, and what may happen to
the money. ``NOT_YET`` lists what this version does not do yet, with the reason.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest

from settlement_engine.domain.decisions.after_the_end import contradicts
from settlement_engine.domain.lifecycle import (
    ENDS,
    HOLDING,
    TRANSITIONS,
    Ask,
    Do,
    Event,
    State,
    transition_for,
)

S, E = State, Event
KEPT, RELEASED, POSTED, REVERSED, NONE = "kept", "released", "posted", "reversed", "none"
SUSPENSE = "suspense"
MONEY = {Do.RELEASE: RELEASED, Do.POST: POSTED, Do.REVERSE: REVERSED, Do.SUSPEND: SUSPENSE}


class Case(NamedTuple):
    number: int
    text: str
    state: State
    event: Event
    to: State
    ask: Ask | None
    money: str


CASES = [
    Case(1, "compliance or a limit says no", S.VALIDATING, E.REFUSED, S.FAILED, None, NONE),
    Case(2, "window shut: queue", S.VALIDATING, E.POSTPONED, S.QUEUED, None, NONE),
    Case(2, "the queue rolls", S.QUEUED, E.RELEASED, S.VALIDATING, Ask.SCREEN, NONE),
    Case(2, "the queue rejects", S.QUEUED, E.LAPSED, S.FAILED, None, NONE),
    Case(3, "cancelled before the intent", S.VALIDATING, E.CANCELLED, S.FAILED, None, NONE),
    Case(3, "cancelled in the queue", S.QUEUED, E.CANCELLED, S.FAILED, None, NONE),
    Case(3, "cancelled while parked", S.HELD, E.CANCELLED, S.FAILED, None, NONE),
    Case(4, "crash before the intent", S.VALIDATING, E.NO_ANSWER, S.VALIDATING, Ask.SCREEN, NONE),
    Case(5, "not a byte left", S.LOCKED, E.UNDELIVERED, S.LOCKED, Ask.SEND, KEPT),
    Case(5, "and never will", S.LOCKED, E.ABANDONED, S.ROLLED_BACK, None, RELEASED),
    Case(6, "crash after the intent", S.LOCKED, E.NO_ANSWER, S.IN_DOUBT, Ask.ENQUIRE, KEPT),
    Case(6, "not known, definitely", S.IN_DOUBT, E.NOT_FOUND, S.LOCKED, Ask.SEND, KEPT),
    Case(7, "time-out after bytes", S.LOCKED, E.NO_ANSWER, S.IN_DOUBT, Ask.ENQUIRE, KEPT),
    Case(7, "and again", S.IN_DOUBT, E.NO_ANSWER, S.IN_DOUBT, Ask.ENQUIRE, KEPT),
    Case(8, "5xx is silence", S.LOCKED, E.NO_ANSWER, S.IN_DOUBT, Ask.ENQUIRE, KEPT),
    Case(9, "duplicate: its first result", S.LOCKED, E.SETTLED, S.COMPLETED, None, POSTED),
    Case(9, "duplicate: still at work", S.LOCKED, E.ACKNOWLEDGED, S.SENT, Ask.ENQUIRE, KEPT),
    Case(10, "NAK while sending", S.LOCKED, E.REJECTED, S.ROLLED_BACK, None, RELEASED),
    Case(10, "NAK when sent", S.SENT, E.REJECTED, S.ROLLED_BACK, None, RELEASED),
    Case(11, "no status in time", S.SENT, E.NO_ANSWER, S.SENT, Ask.ENQUIRE, KEPT),
    Case(12, "RJCT", S.SENT, E.REJECTED, S.ROLLED_BACK, None, RELEASED),
    Case(12, "RJCT by enquiry", S.IN_DOUBT, E.REJECTED, S.ROLLED_BACK, None, RELEASED),
    Case(13, "in process for long", S.SENT, E.ACKNOWLEDGED, S.SENT, Ask.ENQUIRE, KEPT),
    Case(14, "the caller wants it back", S.SENT, E.CANCELLED, S.RECALLING, Ask.RECALL, KEPT),
    Case(15, "CNCL", S.RECALLING, E.RECALLED, S.ROLLED_BACK, None, RELEASED),
    Case(16, "RJCR", S.RECALLING, E.RECALL_REFUSED, S.SENT, Ask.ENQUIRE, KEPT),
    Case(16, "PDCR", S.RECALLING, E.ACKNOWLEDGED, S.RECALLING, Ask.RECALL, KEPT),
    Case(16, "silence", S.RECALLING, E.NO_ANSWER, S.RECALLING, Ask.RECALL, KEPT),
    Case(17, "settled meanwhile", S.RECALLING, E.SETTLED, S.COMPLETED, None, POSTED),
    Case(18, "ACSC while in doubt", S.IN_DOUBT, E.SETTLED, S.COMPLETED, None, POSTED),
    Case(18, "a statement", S.IN_DOUBT, E.ATTESTED_SETTLED, S.COMPLETED, None, POSTED),
    Case(18, "a statement's entry", S.IN_DOUBT, E.SETTLED, S.COMPLETED, None, POSTED),
    Case(19, "two debits", S.COMPLETED, E.DEBITED_TWICE, S.COMPLETED, None, SUSPENSE),
    Case(19, "and a return", S.RETURNED, E.DEBITED_TWICE, S.RETURNED, None, SUSPENSE),
    Case(20, "cut-off passed: ask on", S.IN_DOUBT, E.NO_ANSWER, S.IN_DOUBT, Ask.ENQUIRE, KEPT),
    Case(20, "E6", S.IN_DOUBT, E.ATTESTED_NOT_SETTLED, S.ROLLED_BACK, None, RELEASED),
    Case(23, "pacs.004", S.COMPLETED, E.RETURNED, S.RETURNED, None, REVERSED),
    Case(23, "and is not covered", S.COMPLETED, E.UNCOVERED, S.RETURNED, None, SUSPENSE),
    Case(23, "a part", S.COMPLETED, E.PARTLY_RETURNED, S.COMPLETED, None, REVERSED),
    Case(23, "a part, not covered", S.COMPLETED, E.PARTLY_UNCOVERED, S.COMPLETED, None, SUSPENSE),
    Case(24, "RJCT after the end", S.COMPLETED, E.CONTRADICTED, S.COMPLETED, None, NONE),
    Case(24, "after attesting", S.COMPLETED, E.DISPROVED, S.COMPLETED, None, SUSPENSE),
    Case(25, "ACSC after release", S.ROLLED_BACK, E.CONTRADICTED, S.ROLLED_BACK, None, NONE),
    Case(25, "after attesting", S.ROLLED_BACK, E.DISPROVED, S.ROLLED_BACK, None, SUSPENSE),
    Case(26, "TO has it: the cover", S.LOCKED, E.COVER_DUE, S.SENT, Ask.ENQUIRE, KEPT),
    Case(26, "TO has it, by enquiry", S.IN_DOUBT, E.COVER_DUE, S.SENT, Ask.ENQUIRE, KEPT),
    Case(26, "the cover again, or repaired", S.SENT, E.COVER_DUE, S.SENT, Ask.ENQUIRE, KEPT),
    Case(26, "one of the two failed", S.SENT, E.ACKNOWLEDGED, S.SENT, Ask.ENQUIRE, KEPT),
    Case(26, "TO says no, no cover left", S.LOCKED, E.REJECTED, S.ROLLED_BACK, None, RELEASED),
    Case(26, "both are settled", S.SENT, E.SETTLED, S.COMPLETED, None, POSTED),
]

BY_CONSTRUCTION = {
    21: "posting, move and announcement are one transaction: there is no state between them",
    34: "the send intent is committed with the hold, so that no hold can expire before it",
    35: "no time limit decides an outcome: OVERDUE only asks for a recall",
}

NOT_YET = {
    22: "a recall or compensation after completion is a new, linked instruction: not offered yet",
    27: "linked settlements (PvP) share a group: not offered yet",
    28: "linked settlements (PvP) share a group: not offered yet",
}

PARTLY = {
    23: "a return that comes before the status `settled` counts as no answer, until the rails have returns",
    25: "after a release by a status of the rail, a late debit opens an exception and books nothing:"
    " one of the two statuses is wrong, and reconciliation finds out which",
}

OTHER_RAILS = {29, 30, 31, 32, 33}
"""Files (ACH) and payments that come in: not of this table."""


def money(case: Case) -> str:
    do = transition_for(case.state, case.event).do
    if do in MONEY:
        return MONEY[do]
    return KEPT if case.state in HOLDING else NONE


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.number}-{case.text}")
def test_each_case_has_the_transition_of_the_decision_table(case):
    found = transition_for(case.state, case.event)
    assert (found.state, found.ask, money(case)) == (case.to, case.ask, case.money)


def test_every_case_of_the_decision_table_is_mapped_or_listed_as_missing():
    mapped = {case.number for case in CASES}
    assert mapped | BY_CONSTRUCTION.keys() | NOT_YET.keys() | OTHER_RAILS == set(range(1, 36))
    assert not mapped & NOT_YET.keys()
    assert not mapped & BY_CONSTRUCTION.keys()
    assert PARTLY.keys() <= mapped


@pytest.mark.parametrize("event", [E.REJECTED, E.RECALLED, E.NOT_FOUND, E.ATTESTED_NOT_SETTLED])
@pytest.mark.parametrize("state", [S.COMPLETED, S.RETURNED])
def test_a_no_after_completion_contradicts(state, event):
    assert contradicts(state, event)


@pytest.mark.parametrize("event", [E.SETTLED, E.ATTESTED_SETTLED, E.ACKNOWLEDGED])
def test_a_yes_after_release_contradicts(event):
    assert contradicts(S.ROLLED_BACK, event)


@pytest.mark.parametrize(
    ("state", "event"),
    [
        (S.COMPLETED, E.SETTLED),
        (S.COMPLETED, E.ACKNOWLEDGED),
        (S.COMPLETED, E.RECALL_REFUSED),
        (S.COMPLETED, E.RETURNED),
        (S.ROLLED_BACK, E.REJECTED),
        (S.ROLLED_BACK, E.RECALLED),
        (S.ROLLED_BACK, E.NOT_FOUND),
        (S.RETURNED, E.SETTLED),
    ],
)
def test_a_repeat_or_a_late_echo_does_not_contradict(state, event):
    assert not contradicts(state, event)


def test_exactly_the_opposite_statuses_about_the_money_contradict():
    moved = {E.SETTLED, E.ATTESTED_SETTLED}
    did_not_move = {E.REJECTED, E.RECALLED, E.NOT_FOUND, E.ATTESTED_NOT_SETTLED}
    expected = {
        S.COMPLETED: did_not_move,
        S.RETURNED: did_not_move,
        S.FAILED: {*moved, E.ACKNOWLEDGED},
        S.ROLLED_BACK: {*moved, E.ACKNOWLEDGED},
    }
    for state in State:
        found = {event for event in Event if contradicts(state, event)}
        assert found == expected.get(state, set()), state


@pytest.mark.parametrize("state", State)
def test_silence_never_contradicts(state):
    assert not contradicts(state, E.NO_ANSWER)
    assert not contradicts(state, E.UNDELIVERED)


@pytest.mark.parametrize("state", State)
def test_what_contradicts_has_a_transition_that_records_it(state):
    contradicting = [event for event in Event if contradicts(state, event)]
    assert (E.CONTRADICTED in TRANSITIONS[state]) == bool(contradicting)
    if contradicting:
        assert state in ENDS
