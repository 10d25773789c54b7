"""Explanations: every transition has its text, and whole histories are explained as their golden files say.

``SETTLEMENT_WRITE_HISTORIES=1`` rewrites the golden files.
"""

from __future__ import annotations

import os
import re
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import msgspec
import pytest

from settlement_engine.domain.announcement import announcement_type
from settlement_engine.domain.lifecycle import (
    HOLDING,
    QUESTION,
    TRANSITIONS,
    Ask,
    Do,
    Event,
    State,
    is_recorded,
)
from settlement_engine.domain.settlement import Moved
from settlement_engine.evidence.dossier import ANSWERS_MAX, AnswerRecord, AnswersRecord, MoveRecord
from settlement_engine.evidence.explanation import as_text, explain
from settlement_engine.evidence.explanation_history import STORY_MAX, tell_move
from settlement_engine.evidence.sentences import clock
from settlement_engine.evidence.wording import (
    ASKED,
    ASKS,
    CONDITION,
    DID,
    HAPPENED,
    MAY_ACT,
    REPLIED,
    STANDS,
)
from tests.support.made_histories import BEGAN, HISTORIES, dossier_of, states_told

GOLDEN = Path(__file__).parent / "histories"
WRITES = "SETTLEMENT_WRITE_HISTORIES"
ROWS = [
    (state, event, transition)
    for state, rows in TRANSITIONS.items()
    for event, transition in rows.items()
]
MONEY = set(Do) - {Do.EXCEPT, Do.COVER}
BROUGHT_BY_PEOPLE = {
    Event.CANCELLED,
    Event.APPROVED,
    Event.DECLINED,
    Event.ATTESTED_SETTLED,
    Event.ATTESTED_NOT_SETTLED,
}


# --- the whole page has words ----------------------------------------------------------------------


def test_every_event_state_work_and_question_of_the_page_has_its_words():
    assert HAPPENED.keys() == set(Event)
    assert STANDS.keys() == set(State)
    assert DID.keys() == set(Do)
    assert ASKED.keys() == ASKS.keys() == set(Ask)


def test_every_answer_that_changes_nothing_has_its_words():
    quiet = {event for state, event, transition in ROWS if not is_recorded(state, transition)}
    assert REPLIED.keys() == quiet
    assert {
        state for state, _, transition in ROWS if not is_recorded(state, transition)
    } <= QUESTION.keys()


def test_every_event_that_moves_or_releases_money_is_told_as_a_condition():
    assert CONDITION.keys() == {event for _, event, transition in ROWS if transition.do in MONEY}


def test_every_event_that_a_person_brings_about_says_who_may_act():
    shown = "\n".join(MAY_ACT.values())
    assert BROUGHT_BY_PEOPLE - MAY_ACT.keys() == {Event.ATTESTED_NOT_SETTLED}  # beside the other
    for state, rows in TRANSITIONS.items():
        both = {Event.ATTESTED_SETTLED, Event.ATTESTED_NOT_SETTLED} & rows.keys()
        assert len(both) != 1, state
    assert "resolve" in shown


@pytest.mark.parametrize(
    ("state", "event", "transition"), ROWS, ids=[f"{state} {event}" for state, event, _ in ROWS]
)
def test_every_row_of_the_page_is_told(state, event, transition):
    moved = Moved(
        position=1,
        settlement_id=UUID(int=1),
        seq=1,
        from_state=state,
        event=event,
        to_state=transition.state,
        at=BEGAN,
        detail={},
    )
    move = MoveRecord(
        position=1,
        seq=1,
        from_state=state,
        event=event,
        to_state=transition.state,
        at=BEGAN,
        detail={},
        event_id="x.1",
        event_type=announcement_type(moved),
    )
    shown = tell_move(move)
    assert HAPPENED[event][1:] in shown
    assert transition.do is None or DID[transition.do][1:] in shown
    assert transition.state is state or f"The state became {transition.state.name}." in shown
    assert transition.ask is None or ASKS[transition.ask] in shown
    assert re.fullmatch(r"[A-Z].*\.", shown)


# --- whole histories -------------------------------------------------------------------------------


def test_every_final_and_every_parked_state_has_a_history():
    never = {State.PENDING}  # the move that makes a settlement leaves it at once
    assert states_told() == set(State) - never


@pytest.mark.parametrize("name", HISTORIES)
async def test_a_history_is_explained_as_it_happened(name):
    shown = as_text(explain(await dossier_of(name)))
    shown = re.sub(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\)", "NUMBER)", shown)
    path = GOLDEN / f"{name}.txt"
    if os.environ.get(WRITES):
        path.write_text(shown, "utf-8")
    assert path.read_text("utf-8") == shown


def test_no_golden_text_is_left_over():
    assert {path.stem for path in GOLDEN.glob("*.txt")} == HISTORIES.keys()


async def test_silence_is_told_in_one_line_however_often_it_was_met():
    dossier = await dossier_of("in_doubt")
    assert dossier.answers.total == 14
    lines = [line.text for line in explain(dossier).story if "no response came." in line.text]
    [line] = [text for text in lines if "times" in text]
    assert "14 times between" in line


async def test_silence_is_never_told_as_a_no():
    for name in HISTORIES:
        dossier = await dossier_of(name)
        shown = explain(dossier)
        if dossier.standing.state in HOLDING:
            assert any("never releases the funds" in sentence for sentence in shown.money), name
            assert not any("released at" in sentence for sentence in shown.money), name


async def test_the_same_dossier_gives_the_same_words():
    dossier = await dossier_of("contradicted")
    assert as_text(explain(dossier)) == as_text(explain(dossier))
    assert "It is frozen" in as_text(explain(dossier))


async def test_who_has_the_question_open_is_named():
    dossier = await dossier_of("sent")
    owned = msgspec.structs.replace(dossier.standing, owner=12)
    shown = explain(msgspec.structs.replace(dossier, standing=owned))
    assert shown.next[0] == "Engine 12 is working on it now: the rail is asked for the status."


async def test_the_rails_that_were_not_chosen_are_listed_with_their_reasons():
    dossier = await dossier_of("sent")
    assert not any("not chosen" in sentence for sentence in explain(dossier).standing)
    reasons = {
        "rail.sepa": "CURRENCY_NOT_CARRIED: it carries EUR, not USD",
        "rail.swift": "BREAKER_OPEN: its bank does not answer",
    }
    moves = tuple(
        msgspec.structs.replace(move, detail={**move.detail, **reasons})
        if move.to_state is State.LOCKED
        else move
        for move in dossier.moves
    )
    shown = explain(msgspec.structs.replace(dossier, moves=moves)).standing
    assert [sentence for sentence in shown if "not chosen" in sentence] == [
        "Rail sepa was not chosen (CURRENCY_NOT_CARRIED): it carries EUR, not USD.",
        "Rail swift was not chosen (BREAKER_OPEN): its bank does not answer.",
    ]


async def test_an_enquiry_that_nobody_will_send_is_not_announced():
    """A rail that only sends has a due time too, at which nobody is asked: the bank reports by itself."""
    shown = explain(await dossier_of("in_doubt"))
    assert shown.next[0].endswith(
        " the rail is asked for the status, if it takes enquiries; if not, it waits on for a message of"
        " the bank, or until two people attest."
    )
    [doubt] = [line.text for line in shown.story if "became IN_DOUBT" in line.text]
    assert doubt.endswith("the rail is asked for the status, if it takes enquiries.")


async def test_a_payment_without_a_due_time_is_a_fault():
    """Also one on a rail without enquiries: it is parked for a time, not without end."""
    shown = explain(await dossier_of("stuck_in_doubt"))
    assert shown.next[0] == (
        "No next action exists. This is a fault: see the alert for stuck settlements."
    )


async def test_answers_that_were_not_copied_are_mentioned():
    dossier = await dossier_of("in_doubt")
    cut = msgspec.structs.replace(dossier.answers, total=ANSWERS_MAX + 14)
    shown = explain(msgspec.structs.replace(dossier, answers=cut))
    left_out = f"{ANSWERS_MAX} earlier responses changed no state and are not listed here."
    assert left_out in [line.text for line in shown.story]


async def test_a_very_long_story_is_cut_in_the_middle_and_says_so():
    dossier = await dossier_of("sent")
    kinds = (Event.NO_ANSWER, Event.ACKNOWLEDGED)
    answers = tuple(
        AnswerRecord(
            at=BEGAN + timedelta(hours=1, seconds=number),
            state=State.SENT,
            event=kinds[number % 2],
            attempt=1,
            asked=number,
        )
        for number in range(STORY_MAX + 100)
    )
    long = msgspec.structs.replace(
        dossier, answers=AnswersRecord(total=len(answers), latest=answers)
    )
    story = explain(long).story
    assert len(story) == STORY_MAX + 1
    left_out = len(answers) + len(dossier.moves) - STORY_MAX
    assert f"… {left_out} more lines are left out here." in [line.text for line in story]
    assert story[-1].text.startswith("The rail was asked")
    assert clock(story[0].at) == clock(dossier.moves[0].at)
