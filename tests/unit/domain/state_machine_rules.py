"""The rules that the transition table must keep. Each is a function that yields what breaks it.

They take the table as an argument, so that ``test_state_machine_mutations.py`` can try them on thousands of
wrong tables. On purpose the meaning of each event is written down here a second time: a transition of the
real table that differs from it must fail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from settlement_engine.domain.lifecycle import Ask, Do, Event, State, Transition

Table = Mapping[State, Mapping[Event, Transition]]
Rule = Callable[[Table], Iterator[str]]

S, E = State, Event

START: Final = S.PENDING
ENDS: Final = {S.COMPLETED, S.FAILED, S.ROLLED_BACK, S.RETURNED}
AFTER_SEND_INTENT: Final = {S.LOCKED, S.IN_DOUBT, S.SENT, S.RECALLING}
BEFORE_SEND_INTENT: Final = {S.PENDING, S.VALIDATING, S.HELD, S.QUEUED}
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
    E.COVER_DUE: S.SENT,
}
"""Events that lead to the same state from every state that accepts them."""

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
    # A cancellation ends a settlement that was not sent yet; of one that was sent it asks for a recall.
    (S.VALIDATING, E.CANCELLED): S.FAILED,
    (S.HELD, E.CANCELLED): S.FAILED,
    (S.QUEUED, E.CANCELLED): S.FAILED,
    (S.SENT, E.CANCELLED): S.RECALLING,
    # A conflicting status after the final state is recorded and changes no state.
    (S.COMPLETED, E.CONTRADICTED): S.COMPLETED,
    (S.FAILED, E.CONTRADICTED): S.FAILED,
    (S.ROLLED_BACK, E.CONTRADICTED): S.ROLLED_BACK,
    (S.RETURNED, E.CONTRADICTED): S.RETURNED,
    (S.COMPLETED, E.DISPROVED): S.COMPLETED,
    (S.ROLLED_BACK, E.DISPROVED): S.ROLLED_BACK,
    (S.COMPLETED, E.DEBITED_TWICE): S.COMPLETED,
    (S.RETURNED, E.DEBITED_TWICE): S.RETURNED,
}
"""Events that lead to another state depending on the state in which they come."""

ANSWERS: Final[Mapping[Ask, frozenset[Event]]] = {
    Ask.SCREEN: frozenset({E.CLEARED, E.PARKED, E.REFUSED, E.NO_ANSWER}),
    Ask.SEND: frozenset(
        {E.ACKNOWLEDGED, E.SETTLED, E.REJECTED, E.UNDELIVERED, E.NO_ANSWER, E.COVER_DUE}
    ),
    Ask.ENQUIRE: frozenset(
        {E.ACKNOWLEDGED, E.SETTLED, E.REJECTED, E.NOT_FOUND, E.NO_ANSWER, E.COVER_DUE}
    ),
    Ask.RECALL: frozenset(
        {E.RECALLED, E.RECALL_REFUSED, E.SETTLED, E.REJECTED, E.ACKNOWLEDGED, E.NO_ANSWER}
    ),
}
"""The possible answers to each question (``ports.SendRail`` and ``ports.Screening``)."""

ASKS: Final[Mapping[State, Ask]] = {
    S.VALIDATING: Ask.SCREEN,
    S.LOCKED: Ask.SEND,
    S.IN_DOUBT: Ask.ENQUIRE,
    S.SENT: Ask.ENQUIRE,
    S.RECALLING: Ask.RECALL,
}
"""Which question a state has open; the others wait for a person or for a time, or have ended."""

ALSO_ACCEPTS: Final[Mapping[State, frozenset[Event]]] = {
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
    S.COMPLETED: frozenset({*RETURNS, E.CONTRADICTED, E.DISPROVED, E.DEBITED_TWICE}),
    S.FAILED: frozenset({E.CONTRADICTED}),
    S.ROLLED_BACK: frozenset({E.CONTRADICTED, E.DISPROVED}),
    S.RETURNED: frozenset({E.CONTRADICTED, E.DEBITED_TWICE}),
}
"""What a state accepts besides answers to its question: requests, people's decisions, time limits, late statuses."""


def transitions(table: Table) -> Iterator[tuple[State, Event, Transition]]:
    """Yield every transition of a table, with its state and event."""
    for state, events in table.items():
        for event, transition in events.items():
            yield state, event, transition


# --- money ----------------------------------------------------------------------------------------


def holds_are_locked_once_and_resolved_once(table: Table) -> Iterator[str]:
    """On every path the hold is made once and then posted or released once; it is never made again."""
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
        ("posted", Do.SUSPEND, E.DEBITED_TWICE): "posted",
        ("reversed", Do.SUSPEND, E.DEBITED_TWICE): "reversed",
    }
    seen = {(START, "none")}
    waiting = [(START, "none")]
    while waiting:
        state, hold = waiting.pop()
        for event, transition in table[state].items():
            after = hold
            if transition.do not in (None, Do.EXCEPT, Do.COVER):
                after = follows.get((hold, transition.do)) or follows.get(
                    (hold, transition.do, event), ""
                )
                if not after:
                    yield f"{state} {event}: {transition.do} of a hold that is {hold}"
                    continue
            if (transition.state, after) not in seen:
                seen.add((transition.state, after))
                waiting.append((transition.state, after))
    belongs = {
        **dict.fromkeys(BEFORE_SEND_INTENT, "none"),
        **dict.fromkeys(AFTER_SEND_INTENT, "held"),
        S.COMPLETED: "posted",
        S.FAILED: "none",
        S.ROLLED_BACK: "released",
        S.RETURNED: "reversed",
    }
    for state, hold in seen:
        if belongs[state] != hold:
            yield f"{state} with a hold that is {hold}"


def only_a_clearance_holds_funds(table: Table) -> Iterator[str]:
    """LOCK is done by CLEARED and by nothing else."""
    for state, event, transition in transitions(table):
        if (transition.do is Do.LOCK) != (event is E.CLEARED):
            yield f"{state} {event}: {transition.do}"


def money_is_posted_when_it_moved(table: Table) -> Iterator[str]:
    """POST is done when the rail or two people say that the money moved, and never otherwise."""
    for state, event, transition in transitions(table):
        if (transition.do is Do.POST) != (event in THE_MONEY_MOVED):
            yield f"{state} {event}: {transition.do}"


def only_a_definite_no_releases(table: Table) -> Iterator[str]:
    """RELEASE is done by the four events that prove that no money moved, and never otherwise."""
    for state, event, transition in transitions(table):
        if (transition.do is Do.RELEASE) != (event in THE_MONEY_DID_NOT_MOVE):
            yield f"{state} {event}: {transition.do}"


def only_a_return_reverses(table: Table) -> Iterator[str]:
    """REVERSE is done by a return, of the whole or of a part, and by nothing else."""
    for state, event, transition in transitions(table):
        if (transition.do is Do.REVERSE) != (event in (E.RETURNED, E.PARTLY_RETURNED)):
            yield f"{state} {event}: {transition.do}"


def a_late_status_only_opens_an_exception(table: Table) -> Iterator[str]:
    """A conflicting status opens an exception and changes neither money nor state; nothing else does EXCEPT."""
    for state, event, transition in transitions(table):
        if (transition.do is Do.EXCEPT) != (event in (E.CONTRADICTED, E.AMOUNT_DIFFERED)):
            yield f"{state} {event}: {transition.do}"
        is_late = event in (E.CONTRADICTED, E.DISPROVED, E.DEBITED_TWICE)
        if is_late and transition.state is not state:
            yield f"{state} {event}: moves to {transition.state}"


def only_money_without_another_account_goes_to_suspense(table: Table) -> Iterator[str]:
    """SUSPEND is done where people were proved wrong, a return is not covered, or the bank has debited twice."""
    for state, event, transition in transitions(table):
        if (transition.do is Do.SUSPEND) != (
            event in (E.DISPROVED, E.UNCOVERED, E.PARTLY_UNCOVERED, E.DEBITED_TWICE)
        ):
            yield f"{state} {event}: {transition.do}"


def only_a_cover_that_is_due_records_its_send_intent(table: Table) -> Iterator[str]:
    """COVER is done by COVER_DUE, which is followed by an enquiry of both banks, and by nothing else."""
    for state, event, transition in transitions(table):
        if (transition.do is Do.COVER) != (event is E.COVER_DUE):
            yield f"{state} {event}: {transition.do}"


# --- silence --------------------------------------------------------------------------------------


def every_question_may_stay_unanswered(table: Table) -> Iterator[str]:
    """Exactly the states that ask a question have a transition for NO_ANSWER."""
    for state, events in table.items():
        if (state in ASKS) != (E.NO_ANSWER in events):
            yield f"{state}: asks {ASKS.get(state)}"


def silence_is_not_a_no(table: Table) -> Iterator[str]:
    """NO_ANSWER moves no money, leads to no final state, and asks again."""
    for state, event, transition in transitions(table):
        if event is E.NO_ANSWER and (
            transition.do or transition.state in ENDS or transition.ask is None
        ):
            yield f"{state}: silence does {transition.do}, leads to {transition.state}, asks {transition.ask}"


def a_cancellation_releases_nothing(table: Table) -> Iterator[str]:
    """CANCELLED ends only what was never sent; after the send intent it asks the rail for a recall."""
    for state, event, transition in transitions(table):
        if event is not E.CANCELLED:
            continue
        if transition.do is not None or (
            state in AFTER_SEND_INTENT and transition.ask is not Ask.RECALL
        ):
            yield f"{state}: a cancel does {transition.do} and asks {transition.ask}"


# --- events ---------------------------------------------------------------------------------------


def each_event_leads_to_its_state(table: Table) -> Iterator[str]:
    """Each event leads to the state of LEADS_TO, or of DEPENDS where it depends on the state before."""
    for state, event, transition in transitions(table):
        expected = LEADS_TO.get(event) or DEPENDS.get((state, event))
        if transition.state is not expected:
            yield f"{state} {event}: leads to {transition.state}, not to {expected}"


def each_state_accepts_its_events_only(table: Table) -> Iterator[str]:
    """Each state has transitions for the answers to its question and for ALSO_ACCEPTS, and no others."""
    for state in State:
        answers = ANSWERS[ASKS[state]] if state in ASKS else frozenset()
        expected = answers | ALSO_ACCEPTS[state]
        for event in expected ^ table[state].keys():
            yield f"{state} {event}: " + (
                "no transition" if event in expected else "a transition too many"
            )


def a_state_asks_one_question(table: Table) -> Iterator[str]:
    """Whatever leads to a state asks the state's question."""
    for state, event, transition in transitions(table):
        if transition.ask is not ASKS.get(transition.state):
            yield f"{state} {event}: asks {transition.ask} in {transition.state}"


# --- the whole ------------------------------------------------------------------------------------


def every_state_is_reached(table: Table) -> Iterator[str]:
    """Every state can be reached from PENDING."""
    found = {START}
    waiting = [START]
    while waiting:
        for transition in table[waiting.pop()].values():
            if transition.state not in found:
                found.add(transition.state)
                waiting.append(transition.state)
    for state in set(State) - found:
        yield f"{state} is never reached"


def every_event_and_question_is_used(table: Table) -> Iterator[str]:
    """Every event, every question and every action occurs in a transition."""
    used = {event for _, event, _ in transitions(table)}
    yield from (f"{event} has no transition" for event in set(Event) - used)
    asked = {transition.ask for _, _, transition in transitions(table)}
    yield from (f"{ask} is never asked" for ask in set(Ask) - asked)
    done = {transition.do for _, _, transition in transitions(table)}
    yield from (f"{do} is never done" for do in set(Do) - done)


def every_settlement_can_end(table: Table) -> Iterator[str]:
    """From every state a final state can be reached: nothing that was accepted is stuck for ever."""
    ending = set(ENDS)
    is_growing = True
    while is_growing:
        found = {
            state
            for state, events in table.items()
            if state not in ending
            and any(transition.state in ending for transition in events.values())
        }
        ending |= found
        is_growing = bool(found)
    for state in set(State) - ending:
        yield f"{state} cannot end"


def an_end_stays_an_end(table: Table) -> Iterator[str]:
    """Only a return, covered or not, leaves a final state, and RETURNED is final too."""
    for state, event, transition in transitions(table):
        is_return = event in THE_WHOLE and (state, transition.state) == (S.COMPLETED, S.RETURNED)
        if state in ENDS and transition.state is not state and not is_return:
            yield f"{state} {event}: leads to {transition.state}"


# --- checkpoints ----------------------------------------------------------------------------------


def checkpoints_come_once_and_in_order(table: Table) -> Iterator[str]:
    """On every path the checkpoints come in the specification's order; a completed settlement has all five."""
    start: tuple[State, tuple[str, ...]] = (START, ())
    seen = {start}
    waiting = [start]
    while waiting:
        state, reached = waiting.pop()
        for event, transition in table[state].items():
            now = reached + transition.reached
            if now != CHECKPOINTS[: len(now)]:
                yield f"{state} {event}: {now}"
            elif (transition.state, now) not in seen:
                seen.add((transition.state, now))
                waiting.append((transition.state, now))
    for state, reached in seen:
        if state in (S.COMPLETED, S.RETURNED) and reached != CHECKPOINTS:
            yield f"{state} with {reached}"
        if state in (S.FAILED, *BEFORE_SEND_INTENT) and reached:
            yield f"{state} with {reached}"


def a_checkpoint_says_what_was_done(table: Table) -> Iterator[str]:
    """``funds_locked`` comes with LOCK, ``transfer_initiated`` when the rail has it, the last two with POST."""
    for state, event, transition in transitions(table):
        if ("funds_locked" in transition.reached) != (transition.do is Do.LOCK):
            yield f"{state} {event}: {transition.do} reaches {transition.reached}"
        for name in ("transfer_confirmed", "settlement_finalized"):
            if (name in transition.reached) != (transition.do is Do.POST):
                yield f"{state} {event}: {transition.do} reaches {transition.reached}"
        is_taken = state in (S.LOCKED, S.IN_DOUBT) and transition.state in (S.SENT, S.COMPLETED)
        if ("transfer_initiated" in transition.reached) != is_taken:
            yield f"{state} {event}: leads to {transition.state} and reaches {transition.reached}"


MONEY_RULES: Final[tuple[Rule, ...]] = (
    holds_are_locked_once_and_resolved_once,
    only_a_clearance_holds_funds,
    money_is_posted_when_it_moved,
    only_a_definite_no_releases,
    only_a_return_reverses,
    a_late_status_only_opens_an_exception,
    only_money_without_another_account_goes_to_suspense,
    only_a_cover_that_is_due_records_its_send_intent,
    silence_is_not_a_no,
    a_cancellation_releases_nothing,
)

RULES: Final[tuple[Rule, ...]] = (
    *MONEY_RULES,
    every_question_may_stay_unanswered,
    each_event_leads_to_its_state,
    each_state_accepts_its_events_only,
    a_state_asks_one_question,
    every_state_is_reached,
    every_event_and_question_is_used,
    every_settlement_can_end,
    an_end_stays_an_end,
    checkpoints_come_once_and_in_order,
    a_checkpoint_says_what_was_done,
)


def is_killed(table: Table, rules: tuple[Rule, ...] = RULES) -> bool:
    """Say whether any rule finds a mistake in the table."""
    return any(next(rule(table), None) is not None for rule in rules)
