"""Every mutation of one fact of the transition table breaks a rule: so the rules notice such a mistake."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING

import pytest

from settlement_engine.domain.lifecycle import (
    BEGUN,
    ENDED,
    READY,
    TRANSITIONS,
    Ask,
    Do,
    Event,
    State,
    Transition,
)
from tests.unit.domain.state_machine_rules import MONEY_RULES, RULES, is_killed, transitions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.domain.state_machine_rules import Table

EQUIVALENT: dict[str, str] = {}
"""Mutants that no rule can notice, each with the reason why it does no harm. There are none."""


def with_transition(state: State, event: Event, transition: Transition | None) -> Table:
    events = {kept: TRANSITIONS[state][kept] for kept in TRANSITIONS[state] if kept is not event}
    if transition is not None:
        events[event] = transition
    return {**TRANSITIONS, state: events}


def deletions() -> Iterator[tuple[str, Table]]:
    for state, event, _ in transitions(TRANSITIONS):
        yield f"{state} {event}: deleted", with_transition(state, event, None)


def other_targets() -> Iterator[tuple[str, Table]]:
    for state, event, transition in transitions(TRANSITIONS):
        for target in set(State) - {transition.state}:
            changed = transition._replace(state=target)
            yield f"{state} {event}: to {target}", with_transition(state, event, changed)


def other_work() -> Iterator[tuple[str, Table]]:
    for state, event, transition in transitions(TRANSITIONS):
        for do in {*Do, None} - {transition.do}:
            yield (
                f"{state} {event}: does {do}",
                with_transition(state, event, transition._replace(do=do)),
            )


def other_questions() -> Iterator[tuple[str, Table]]:
    for state, event, transition in transitions(TRANSITIONS):
        for ask in {*Ask, None} - {transition.ask}:
            yield (
                f"{state} {event}: asks {ask}",
                with_transition(state, event, transition._replace(ask=ask)),
            )


def other_checkpoints() -> Iterator[tuple[str, Table]]:
    parts = (READY, BEGUN, ENDED, *((name,) for name in (*READY, *ENDED)))
    lists = {(), *parts, *(one + other for one, other in permutations(parts, 2))}
    lists |= {READY[::-1], ENDED[::-1], READY + BEGUN + ENDED}
    for state, event, transition in transitions(TRANSITIONS):
        for reached in lists - {transition.reached}:
            changed = transition._replace(reached=reached)
            yield f"{state} {event}: reaches {reached}", with_transition(state, event, changed)


def additions() -> Iterator[tuple[str, Table]]:
    for state in State:
        for event in set(Event) - TRANSITIONS[state].keys():
            for target in State:
                for do in (None, *Do):
                    transition = Transition(target, do, None, ())
                    yield (
                        f"{state} {event}: added, to {target}, does {do}",
                        with_transition(state, event, transition),
                    )


def swaps() -> Iterator[tuple[str, Table]]:
    """Two events of a state have each other's transitions, as a mistake in editing would do it."""
    for state, events in TRANSITIONS.items():
        for one, other in permutations(events, 2):
            if one < other and events[one] != events[other]:
                traded = {**events, one: events[other], other: events[one]}
                yield f"{state}: {one} and {other} traded", {**TRANSITIONS, state: traded}


@pytest.mark.parametrize(
    "mutants",
    [deletions, other_targets, other_work, other_questions, other_checkpoints, additions, swaps],
)
def test_every_mutant_is_killed(mutants):
    count = 0
    survivors = []
    for name, table in mutants():
        count += 1
        if not is_killed(table):
            survivors.append(name)
    assert count >= sum(1 for _ in transitions(TRANSITIONS))
    assert [name for name in survivors if name not in EQUIVALENT] == []


@pytest.mark.parametrize("mutants", [other_work])
def test_the_rules_of_money_alone_kill_every_other_work(mutants):
    survivors = [name for name, table in mutants() if not is_killed(table, MONEY_RULES)]
    assert survivors == []


def test_the_rules_of_money_alone_notice_every_way_around_them():
    """A transition over the send intent, or to a final state, without its action."""
    money = {
        **dict.fromkeys((State.PENDING, State.VALIDATING, State.HELD, State.QUEUED), "free"),
        **dict.fromkeys((State.LOCKED, State.SENT, State.IN_DOUBT, State.RECALLING), "held"),
        State.FAILED: "free",
        State.COMPLETED: "posted",
        State.ROLLED_BACK: "released",
        State.RETURNED: "reversed",
    }
    survivors = []
    for state, event, transition in transitions(TRANSITIONS):
        for target in State:
            if money[target] != money[transition.state]:
                table = with_transition(state, event, transition._replace(state=target))
                if not is_killed(table, MONEY_RULES):
                    survivors.append(f"{state} {event}: to {target}")
    assert survivors == []


def test_no_rule_is_idle():
    """A rule that kills no mutant cannot fail, and so says nothing."""
    idle = set(RULES)
    for mutants in (deletions, other_targets, other_work, other_questions, other_checkpoints):
        for _, table in mutants():
            idle -= {rule for rule in idle if next(rule(table), None) is not None}
    assert {rule.__name__ for rule in idle} == set()


def test_every_equivalent_mutant_exists_and_still_survives():
    every = {
        name: table
        for mutants in (deletions, other_targets, other_work, other_questions, other_checkpoints)
        for name, table in mutants()
    }
    assert EQUIVALENT.keys() <= every.keys()
    assert not any(is_killed(every[name]) for name in EQUIVALENT)
