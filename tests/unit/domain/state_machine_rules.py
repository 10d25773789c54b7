"""The rules that the page must keep, each a function that walks a table and says what breaks it.

They take the table as an argument, so that ``test_state_machine_mutations.py`` can walk a thousand broken ones.
What a word means is written here a second time, on purpose: a row that says otherwise must fail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from settlement_engine.domain.lifecycle import Ask, Do, Event, State, Transition

Life = Mapping[State, Mapping[Event, Transition]]
Rule = Callable[[Life], Iterator[str]]

S, E = State, Event

START: Final = S.PENDING
ENDS: Final = {S.COMPLETED, S.FAILED, S.ROLLED_BACK, S.RETURNED}
AFTER_P: Final = {S.LOCKED, S.IN_DOUBT, S.SENT, S.RECALLING}
BEFORE_P: Final = {S.PENDING, S.VALIDATING, S.HELD, S.QUEUED}
THE_MONEY_MOVED: Final = {E.SETTLED, E.ATTESTED_SETTLED}
THE_WHOLE: Final = {E.RETURNED, E.UNCOVERED}
A_PART: Final = {E.PARTLY_RETURNED, E.PARTLY_UNCOVERED}
RETURNS: Final = THE_WHOLE | A_PART
THE_MONEY_DID_NOT_MOVE: Final = {E.REJECTED, E.RECALLED, E.ABANDONED, E.ATTESTED_NOT_SETTLED}

CHECKPOINTS: Final = (
    "validation_complete",
    "funds_locked",
    "transfer_initiated",
    "transfer_confirmed",
    "settlement_finalized",
)
"""The specification's five, in its order."""

LEADS_TO: Final[Mapping[Event, State]] = {
    E.ADMITTED: S.VALIDATING,
    E.APPROVED: S.VALIDATING,
    E.RELEASED: S.VALIDATING,
    E.POSTPONED: S.QUEUED,
    E.PARKED: S.HELD,
    E.REFUSED: S.FAILED,
    E.DECLINED: S.FAILED,
    E.LAPSED: S.FAILED,
    E.CLEARED: S.LOCKED,
    E.UNDELIVERED: S.LOCKED,
    E.SETTLED: S.COMPLETED,
    E.ATTESTED_SETTLED: S.COMPLETED,
    E.REJECTED: S.ROLLED_BACK,
    E.ABANDONED: S.ROLLED_BACK,
    E.RECALLED: S.ROLLED_BACK,
    E.ATTESTED_NOT_SETTLED: S.ROLLED_BACK,
    E.OVERDUE: S.RECALLING,
    E.RECALL_REFUSED: S.SENT,
    E.RETURNED: S.RETURNED,
    E.UNCOVERED: S.RETURNED,
    E.PARTLY_RETURNED: S.COMPLETED,
    E.PARTLY_UNCOVERED: S.COMPLETED,
    E.AMOUNT_DIFFERED: S.SENT,
}
"""Words that lead to the same state wherever they are heard."""

DEPENDS: Final[Mapping[tuple[State, Event], State]] = {
    # Silence changes nothing, except that a sending without an answer is in doubt.
    (S.VALIDATING, E.NO_ANSWER): S.VALIDATING,
    (S.LOCKED, E.NO_ANSWER): S.IN_DOUBT,
    (S.IN_DOUBT, E.NO_ANSWER): S.IN_DOUBT,
    (S.SENT, E.NO_ANSWER): S.SENT,
    (S.RECALLING, E.NO_ANSWER): S.RECALLING,
    # A recall that is being worked on is still a recall.
    (S.LOCKED, E.ACKNOWLEDGED): S.SENT,
    (S.IN_DOUBT, E.ACKNOWLEDGED): S.SENT,
    (S.SENT, E.ACKNOWLEDGED): S.SENT,
    (S.RECALLING, E.ACKNOWLEDGED): S.RECALLING,
    # What was acknowledged is not sent again because of one denial.
    (S.IN_DOUBT, E.NOT_FOUND): S.LOCKED,
    (S.SENT, E.NOT_FOUND): S.SENT,
    # A wish ends what is still ours, and asks for what is not.
    (S.VALIDATING, E.CANCELLED): S.FAILED,
    (S.HELD, E.CANCELLED): S.FAILED,
    (S.QUEUED, E.CANCELLED): S.FAILED,
    (S.SENT, E.CANCELLED): S.RECALLING,
    # Late word is heard, and moves nothing.
    (S.COMPLETED, E.CONTRADICTED): S.COMPLETED,
    (S.FAILED, E.CONTRADICTED): S.FAILED,
    (S.ROLLED_BACK, E.CONTRADICTED): S.ROLLED_BACK,
    (S.RETURNED, E.CONTRADICTED): S.RETURNED,
    (S.COMPLETED, E.DISPROVED): S.COMPLETED,
    (S.ROLLED_BACK, E.DISPROVED): S.ROLLED_BACK,
}
"""Words whose meaning depends on where they are heard."""

MAY_SAY: Final[Mapping[Ask, frozenset[Event]]] = {
    Ask.SCREEN: frozenset({E.CLEARED, E.PARKED, E.REFUSED, E.NO_ANSWER}),
    Ask.SEND: frozenset({E.ACKNOWLEDGED, E.SETTLED, E.REJECTED, E.UNDELIVERED, E.NO_ANSWER}),
    Ask.ENQUIRE: frozenset({E.ACKNOWLEDGED, E.SETTLED, E.REJECTED, E.NOT_FOUND, E.NO_ANSWER}),
    Ask.RECALL: frozenset(
        {E.RECALLED, E.RECALL_REFUSED, E.SETTLED, E.REJECTED, E.ACKNOWLEDGED, E.NO_ANSWER}
    ),
}
"""What may come back for a question (``ports.SendRail`` and ``ports.Screening``)."""

ASKS: Final[Mapping[State, Ask]] = {
    S.VALIDATING: Ask.SCREEN,
    S.LOCKED: Ask.SEND,
    S.IN_DOUBT: Ask.ENQUIRE,
    S.SENT: Ask.ENQUIRE,
    S.RECALLING: Ask.RECALL,
}
"""Which question a state has open; the others wait for a person or for a time, or have ended."""

HEARS: Final[Mapping[State, frozenset[Event]]] = {
    S.PENDING: frozenset({E.ADMITTED}),
    S.VALIDATING: frozenset({E.POSTPONED, E.CANCELLED}),
    S.HELD: frozenset({E.APPROVED, E.DECLINED, E.CANCELLED}),
    S.QUEUED: frozenset({E.RELEASED, E.LAPSED, E.CANCELLED}),
    S.LOCKED: frozenset({E.ABANDONED, E.AMOUNT_DIFFERED}),
    S.IN_DOUBT: frozenset({E.AMOUNT_DIFFERED, E.ATTESTED_SETTLED, E.ATTESTED_NOT_SETTLED}),
    S.SENT: frozenset(
        {E.AMOUNT_DIFFERED, E.OVERDUE, E.CANCELLED, E.ATTESTED_SETTLED, E.ATTESTED_NOT_SETTLED}
    ),
    S.RECALLING: frozenset({E.AMOUNT_DIFFERED, E.ATTESTED_SETTLED, E.ATTESTED_NOT_SETTLED}),
    S.COMPLETED: frozenset({*RETURNS, E.CONTRADICTED, E.DISPROVED}),
    S.FAILED: frozenset({E.CONTRADICTED}),
    S.ROLLED_BACK: frozenset({E.CONTRADICTED, E.DISPROVED}),
    S.RETURNED: frozenset({E.CONTRADICTED}),
}
"""What a state hears besides the answers to its own question: wishes, people, limits, late word."""


def rows(history: Life) -> Iterator[tuple[State, Event, Transition]]:
    """Name every row of a table."""
    for state, events in history.items():
        for event, row in events.items():
            yield state, event, row


# --- money ----------------------------------------------------------------------------------------


def holds_are_locked_once_and_resolved_once(history: Life) -> Iterator[str]:
    """Walk every life with its hold: none, held, then posted or released, and no way back."""
    follows = {
        ("none", Do.LOCK): "held",
        ("held", Do.POST): "posted",
        ("held", Do.RELEASE): "released",
        ("posted", Do.REVERSE, E.RETURNED): "reversed",
        ("posted", Do.REVERSE, E.PARTLY_RETURNED): "posted",
        ("posted", Do.SUSPEND, E.UNCOVERED): "reversed",
        ("posted", Do.SUSPEND, E.PARTLY_UNCOVERED): "posted",
        ("posted", Do.SUSPEND, E.DISPROVED): "posted",
        ("released", Do.SUSPEND, E.DISPROVED): "released",
    }
    seen = {(START, "none")}
    waiting = [(START, "none")]
    while waiting:
        state, hold = waiting.pop()
        for event, row in history[state].items():
            after = hold
            if row.do not in (None, Do.EXCEPT):
                after = follows.get((hold, row.do)) or follows.get((hold, row.do, event), "")
                if not after:
                    yield f"{state} {event}: {row.do} of a hold that is {hold}"
                    continue
            if (row.state, after) not in seen:
                seen.add((row.state, after))
                waiting.append((row.state, after))
    belongs = {
        **dict.fromkeys(BEFORE_P, "none"),
        **dict.fromkeys(AFTER_P, "held"),
        S.COMPLETED: "posted",
        S.FAILED: "none",
        S.ROLLED_BACK: "released",
        S.RETURNED: "reversed",
    }
    for state, hold in seen:
        if belongs[state] != hold:
            yield f"{state} with a hold that is {hold}"


def only_screening_opens_the_lock(history: Life) -> Iterator[str]:
    """LOCK is done by CLEARED and by nothing else."""
    for state, event, row in rows(history):
        if (row.do is Do.LOCK) != (event is E.CLEARED):
            yield f"{state} {event}: {row.do}"


def money_is_posted_when_it_moved(history: Life) -> Iterator[str]:
    """POST is done when the rail or two people say that the money moved, and never otherwise."""
    for state, event, row in rows(history):
        if (row.do is Do.POST) != (event in THE_MONEY_MOVED):
            yield f"{state} {event}: {row.do}"


def only_a_definite_no_releases(history: Life) -> Iterator[str]:
    """RELEASE is done by the four definite noes, and never otherwise."""
    for state, event, row in rows(history):
        if (row.do is Do.RELEASE) != (event in THE_MONEY_DID_NOT_MOVE):
            yield f"{state} {event}: {row.do}"


def only_a_return_reverses(history: Life) -> Iterator[str]:
    """REVERSE is done by a return, of the whole or of a part, and by nothing else."""
    for state, event, row in rows(history):
        if (row.do is Do.REVERSE) != (event in (E.RETURNED, E.PARTLY_RETURNED)):
            yield f"{state} {event}: {row.do}"


def late_word_only_opens_an_exception(history: Life) -> Iterator[str]:
    """A contradiction is for a person: it touches no money and no state; nothing else does EXCEPT."""
    for state, event, row in rows(history):
        if (row.do is Do.EXCEPT) != (event in (E.CONTRADICTED, E.AMOUNT_DIFFERED)):
            yield f"{state} {event}: {row.do}"
        if event in (E.CONTRADICTED, E.DISPROVED) and row.state is not state:
            yield f"{state} {event}: moves to {row.state}"


def only_what_has_no_other_home_goes_to_suspense(history: Life) -> Iterator[str]:
    """SUSPEND is done where people were proved wrong, and where a return is not covered."""
    for state, event, row in rows(history):
        if (row.do is Do.SUSPEND) != (event in (E.DISPROVED, E.UNCOVERED, E.PARTLY_UNCOVERED)):
            yield f"{state} {event}: {row.do}"


# --- silence --------------------------------------------------------------------------------------


def every_question_may_stay_unanswered(history: Life) -> Iterator[str]:
    """A state that asks has a row for NO_ANSWER, and a state that does not has none."""
    for state, events in history.items():
        if (state in ASKS) != (E.NO_ANSWER in events):
            yield f"{state}: asks {ASKS.get(state)}"


def silence_is_not_a_no(history: Life) -> Iterator[str]:
    """NO_ANSWER moves no money, ends nothing, and asks on."""
    for state, event, row in rows(history):
        if event is E.NO_ANSWER and (row.do or row.state in ENDS or row.ask is None):
            yield f"{state}: silence does {row.do}, leads to {row.state}, asks {row.ask}"


def a_wish_releases_nothing(history: Life) -> Iterator[str]:
    """CANCELLED ends only what never left the house; beyond P it is a question to the rail."""
    for state, event, row in rows(history):
        if event is not E.CANCELLED:
            continue
        if row.do is not None or (state in AFTER_P and row.ask is not Ask.RECALL):
            yield f"{state}: a cancel does {row.do} and asks {row.ask}"


# --- words ----------------------------------------------------------------------------------------


def a_word_leads_where_it_says(history: Life) -> Iterator[str]:
    """Each event leads to one state, or to the one that is written down for where it is heard."""
    for state, event, row in rows(history):
        expected = LEADS_TO.get(event) or DEPENDS.get((state, event))
        if row.state is not expected:
            yield f"{state} {event}: leads to {row.state}, not to {expected}"


def each_state_hears_what_may_be_said(history: Life) -> Iterator[str]:
    """Each state has rows for the answers to its question and for what else it hears; no others."""
    for state in State:
        answers = MAY_SAY[ASKS[state]] if state in ASKS else frozenset()
        expected = answers | HEARS[state]
        for event in expected ^ history[state].keys():
            yield f"{state} {event}: " + ("no row" if event in expected else "a row too many")


def a_state_asks_one_question(history: Life) -> Iterator[str]:
    """Whatever leads to a state asks the state's question."""
    for state, event, row in rows(history):
        if row.ask is not ASKS.get(row.state):
            yield f"{state} {event}: asks {row.ask} in {row.state}"


# --- the whole ------------------------------------------------------------------------------------


def every_state_is_reached(history: Life) -> Iterator[str]:
    """From the beginning there is a way to every state."""
    found = {START}
    waiting = [START]
    while waiting:
        for row in history[waiting.pop()].values():
            if row.state not in found:
                found.add(row.state)
                waiting.append(row.state)
    for state in set(State) - found:
        yield f"{state} is never reached"


def every_event_and_question_is_used(history: Life) -> Iterator[str]:
    """No event is without a row, no question unput, no work undone."""
    used = {event for _, event, _ in rows(history)}
    yield from (f"{event} has no row" for event in set(Event) - used)
    asked = {row.ask for _, _, row in rows(history)}
    yield from (f"{ask} is never asked" for ask in set(Ask) - asked)
    done = {row.do for _, _, row in rows(history)}
    yield from (f"{do} is never done" for do in set(Do) - done)


def every_life_can_end(history: Life) -> Iterator[str]:
    """From every state there is a way to an end: nothing is accepted and then stuck."""
    ending = set(ENDS)
    is_growing = True
    while is_growing:
        found = {
            state
            for state, events in history.items()
            if state not in ending and any(row.state in ending for row in events.values())
        }
        ending |= found
        is_growing = bool(found)
    for state in set(State) - ending:
        yield f"{state} cannot end"


def an_end_stays_an_end(history: Life) -> Iterator[str]:
    """Only a return follows an end, covered or not; it too is an end."""
    for state, event, row in rows(history):
        is_return = event in THE_WHOLE and (state, row.state) == (S.COMPLETED, S.RETURNED)
        if state in ENDS and row.state is not state and not is_return:
            yield f"{state} {event}: leads to {row.state}"


# --- checkpoints ----------------------------------------------------------------------------------


def checkpoints_come_once_and_in_order(history: Life) -> Iterator[str]:
    """On every way they are the specification's five in its order; who completes has all of them."""
    start: tuple[State, tuple[str, ...]] = (START, ())
    seen = {start}
    waiting = [start]
    while waiting:
        state, reached = waiting.pop()
        for event, row in history[state].items():
            now = reached + row.reached
            if now != CHECKPOINTS[: len(now)]:
                yield f"{state} {event}: {now}"
            elif (row.state, now) not in seen:
                seen.add((row.state, now))
                waiting.append((row.state, now))
    for state, reached in seen:
        if state in (S.COMPLETED, S.RETURNED) and reached != CHECKPOINTS:
            yield f"{state} with {reached}"
        if state in (S.FAILED, *BEFORE_P) and reached:
            yield f"{state} with {reached}"


def a_checkpoint_says_what_was_done(history: Life) -> Iterator[str]:
    """Funds are locked with LOCK, initiated when the rail has it, confirmed with POST."""
    for state, event, row in rows(history):
        if ("funds_locked" in row.reached) != (row.do is Do.LOCK):
            yield f"{state} {event}: {row.do} reaches {row.reached}"
        for name in ("transfer_confirmed", "settlement_finalized"):
            if (name in row.reached) != (row.do is Do.POST):
                yield f"{state} {event}: {row.do} reaches {row.reached}"
        is_taken = state in (S.LOCKED, S.IN_DOUBT) and row.state in (S.SENT, S.COMPLETED)
        if ("transfer_initiated" in row.reached) != is_taken:
            yield f"{state} {event}: leads to {row.state} and reaches {row.reached}"


MONEY_RULES: Final[tuple[Rule, ...]] = (
    holds_are_locked_once_and_resolved_once,
    only_screening_opens_the_lock,
    money_is_posted_when_it_moved,
    only_a_definite_no_releases,
    only_a_return_reverses,
    late_word_only_opens_an_exception,
    only_what_has_no_other_home_goes_to_suspense,
    silence_is_not_a_no,
    a_wish_releases_nothing,
)

RULES: Final[tuple[Rule, ...]] = (
    *MONEY_RULES,
    every_question_may_stay_unanswered,
    a_word_leads_where_it_says,
    each_state_hears_what_may_be_said,
    a_state_asks_one_question,
    every_state_is_reached,
    every_event_and_question_is_used,
    every_life_can_end,
    an_end_stays_an_end,
    checkpoints_come_once_and_in_order,
    a_checkpoint_says_what_was_done,
)


def is_killed(history: Life, rules: tuple[Rule, ...] = RULES) -> bool:
    """Say whether any rule speaks up."""
    return any(next(rule(history), None) is not None for rule in rules)
