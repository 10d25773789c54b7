from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settlement_engine.domain.breaks.history import (
    NEXT,
    BreakEvent,
    BreakEventKind,
    BreakStatus,
    after,
    check_event,
    fold,
)
from settlement_engine.errors import CorruptRecord, WrongState

Kind = BreakEventKind
AT = datetime(2026, 3, 2, 9, tzinfo=UTC)

ALLOWED = {
    None: {Kind.OPENED},
    BreakStatus.OPEN: {
        *(Kind.COMMENTED, Kind.ASSIGNED, Kind.ESCALATED, Kind.PROPOSED, Kind.MATCHED, Kind.CLOSED),
    },
    BreakStatus.PROPOSED: {
        *(Kind.COMMENTED, Kind.ASSIGNED, Kind.ESCALATED, Kind.PROPOSED, Kind.MATCHED, Kind.CLOSED),
        *(Kind.APPROVED, Kind.DECLINED),
    },
    BreakStatus.CLOSED: {Kind.COMMENTED, Kind.REOPENED},
}


def events(*kinds, **fields):
    made = []
    for number, kind in enumerate(kinds, start=1):
        own = fields.get(kind.name.lower(), {})
        at = AT + timedelta(hours=number)
        made.append(BreakEvent(number=number, kind=kind, at=at, who="anna", **own))
    return made


@pytest.mark.parametrize("status", ALLOWED)
@pytest.mark.parametrize("kind", Kind)
def test_each_state_allows_these_events_and_no_others(status, kind):
    if kind in ALLOWED[status]:
        assert check_event(status, kind) is NEXT[status, kind]
        return
    with pytest.raises(WrongState):
        check_event(status, kind)


def test_a_closed_break_says_how_it_is_opened_again():
    with pytest.raises(WrongState) as raised:
        check_event(BreakStatus.CLOSED, Kind.PROPOSED)
    assert "unmatch" in raised.value.todo


def test_a_break_is_assigned_proposed_and_closed_by_the_second_person():
    done = events(
        *(Kind.OPENED, Kind.ASSIGNED, Kind.COMMENTED, Kind.PROPOSED, Kind.APPROVED),
        assigned={"owner": "ben", "due_at": AT + timedelta(days=1)},
        proposed={"proposal_id": 7},
        approved={"proposal_id": 7, "match_id": 3},
    )
    before = fold(done[:4])
    assert (before.status, before.owner, before.proposal_id) == (BreakStatus.PROPOSED, "ben", 7)
    assert (before.comments, before.due_at) == (1, AT + timedelta(days=1))
    closed = fold(done)
    assert closed.is_closed
    assert (closed.proposal_id, closed.match_id, closed.owner) == (7, 3, "ben")
    assert (closed.closed_at, closed.due_at) == (AT + timedelta(hours=5), None)
    assert (closed.opened_at, closed.version) == (AT + timedelta(hours=1), 5)


def test_a_declined_proposal_leaves_the_break_open():
    work = fold(events(Kind.OPENED, Kind.PROPOSED, Kind.DECLINED, proposed={"proposal_id": 1}))
    assert (work.status, work.proposal_id) == (BreakStatus.OPEN, None)


def test_a_newer_proposal_takes_the_place_of_an_undecided_one():
    first, *_ = done = events(Kind.OPENED, Kind.PROPOSED, proposed={"proposal_id": 1})
    work = fold(done)
    newer = BreakEvent(number=3, kind=Kind.PROPOSED, at=first.at, who="ben", proposal_id=2)
    assert after(work, newer).proposal_id == 2


def test_a_break_that_is_opened_again_keeps_its_owner_and_begins_its_escalation_anew():
    work = fold(
        events(
            *(Kind.OPENED, Kind.ESCALATED, Kind.MATCHED, Kind.REOPENED),
            escalated={"owner": "operations-risk", "level": 3},
            matched={"match_id": 4},
        )
    )
    assert (work.status, work.reopened, work.match_id) == (BreakStatus.OPEN, 1, None)
    assert (work.owner, work.level, work.closed_at) == ("operations-risk", 0, None)


def test_an_escalation_never_lowers_the_level():
    work = fold(events(Kind.OPENED, Kind.ESCALATED, escalated={"owner": "risk", "level": 3}))
    lower = BreakEvent(number=3, kind=Kind.ESCALATED, at=AT, who="engine", owner="lead", level=2)
    assert after(work, lower).level == 3


@pytest.mark.parametrize("numbers", [(2,), (1, 1), (1, 3), (2, 1)])
def test_events_that_are_missing_or_doubled_are_damaged_data(numbers):
    made = [
        BreakEvent(number=each, kind=Kind.COMMENTED if place else Kind.OPENED, at=AT, who="anna")
        for place, each in enumerate(numbers)
    ]
    with pytest.raises(CorruptRecord):
        fold(made)


def test_a_break_without_events_is_damaged_data():
    with pytest.raises(CorruptRecord):
        fold([])


def test_an_event_that_was_not_allowed_is_damaged_data():
    with pytest.raises(CorruptRecord) as raised:
        fold(events(Kind.OPENED, Kind.APPROVED))
    assert "event 2" in raised.value.what


@given(st.lists(st.sampled_from(Kind), max_size=12))
def test_whatever_is_folded_follows_the_table_and_folds_step_by_step(kinds):
    made = events(Kind.OPENED, *kinds)
    status = None
    for event in made:
        status = NEXT.get((status, event.kind))
        if status is None:
            with pytest.raises(CorruptRecord):
                fold(made)
            return
    work = fold(made)
    assert work.status is status
    step = None
    for event in made:
        step = after(step, event)
    assert step == work
    assert work.is_closed == (work.closed_at is not None)
