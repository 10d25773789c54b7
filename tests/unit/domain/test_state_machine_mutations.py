"""Every one-fact mutation of the page must break a rule: else the rules would not notice the mistake."""

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
from tests.unit.domain.state_machine_rules import MONEY_RULES, RULES, is_killed, rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.domain.state_machine_rules import Life

EQUIVALENT: dict[str, str] = {}
"""Mutants that no rule can notice, each with the reason why it does no harm. There are none."""


def with_row(state: State, event: Event, row: Transition | None) -> Life:
    events = {kept: TRANSITIONS[state][kept] for kept in TRANSITIONS[state] if kept is not event}
    if row is not None:
        events[event] = row
    return {**TRANSITIONS, state: events}


def deletions() -> Iterator[tuple[str, Life]]:
    for state, event, _ in rows(TRANSITIONS):
        yield f"{state} {event}: deleted", with_row(state, event, None)


def other_targets() -> Iterator[tuple[str, Life]]:
    for state, event, row in rows(TRANSITIONS):
        for target in set(State) - {row.state}:
            changed = row._replace(state=target)
            yield f"{state} {event}: to {target}", with_row(state, event, changed)


def other_work() -> Iterator[tuple[str, Life]]:
    for state, event, row in rows(TRANSITIONS):
        for do in {*Do, None} - {row.do}:
            yield f"{state} {event}: does {do}", with_row(state, event, row._replace(do=do))


def other_questions() -> Iterator[tuple[str, Life]]:
    for state, event, row in rows(TRANSITIONS):
        for ask in {*Ask, None} - {row.ask}:
            yield f"{state} {event}: asks {ask}", with_row(state, event, row._replace(ask=ask))


def other_checkpoints() -> Iterator[tuple[str, Life]]:
    parts = (READY, BEGUN, ENDED, *((name,) for name in (*READY, *ENDED)))
    lists = {(), *parts, *(one + other for one, other in permutations(parts, 2))}
    lists |= {READY[::-1], ENDED[::-1], READY + BEGUN + ENDED}
    for state, event, row in rows(TRANSITIONS):
        for reached in lists - {row.reached}:
            changed = row._replace(reached=reached)
            yield f"{state} {event}: reaches {reached}", with_row(state, event, changed)


def additions() -> Iterator[tuple[str, Life]]:
    for state in State:
        for event in set(Event) - TRANSITIONS[state].keys():
            for target in State:
                for do in (None, *Do):
                    row = Transition(target, do, None, ())
                    yield (
                        f"{state} {event}: added, to {target}, does {do}",
                        with_row(state, event, row),
                    )


def swaps() -> Iterator[tuple[str, Life]]:
    """Two events of a state trade their rows, as a slip of the hand would have it."""
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
    for name, history in mutants():
        count += 1
        if not is_killed(history):
            survivors.append(name)
    assert count >= sum(1 for _ in rows(TRANSITIONS))
    assert [name for name in survivors if name not in EQUIVALENT] == []


@pytest.mark.parametrize("mutants", [other_work])
def test_the_rules_of_money_alone_kill_every_other_work(mutants):
    survivors = [name for name, history in mutants() if not is_killed(history, MONEY_RULES)]
    assert survivors == []


def test_the_rules_of_money_alone_notice_every_way_around_them():
    """A target that crosses P, or an end, without the work that belongs there."""
    money = {
        **dict.fromkeys((State.PENDING, State.VALIDATING, State.HELD, State.QUEUED), "free"),
        **dict.fromkeys((State.LOCKED, State.SENT, State.IN_DOUBT, State.RECALLING), "held"),
        State.FAILED: "free",
        State.COMPLETED: "posted",
        State.ROLLED_BACK: "released",
        State.RETURNED: "reversed",
    }
    survivors = []
    for state, event, row in rows(TRANSITIONS):
        for target in State:
            if money[target] != money[row.state]:
                history = with_row(state, event, row._replace(state=target))
                if not is_killed(history, MONEY_RULES):
                    survivors.append(f"{state} {event}: to {target}")
    assert survivors == []


def test_no_rule_is_idle():
    """A rule that kills no mutant cannot fail, and so says nothing."""
    idle = set(RULES)
    for mutants in (deletions, other_targets, other_work, other_questions, other_checkpoints):
        for _, history in mutants():
            idle -= {rule for rule in idle if next(rule(history), None) is not None}
    assert {rule.__name__ for rule in idle} == set()


def test_every_equivalent_mutant_exists_and_still_survives():
    every = {
        name: history
        for mutants in (deletions, other_targets, other_work, other_questions, other_checkpoints)
        for name, history in mutants()
    }
    assert EQUIVALENT.keys() <= every.keys()
    assert not any(is_killed(every[name]) for name in EQUIVALENT)
