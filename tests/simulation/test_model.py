"""The model check finds no violation, and finds one for each safeguard that is removed."""

from __future__ import annotations

import pytest

from settlement_engine.domain import lifecycle
from settlement_engine.domain.decisions import before_the_end
from settlement_engine.domain.lifecycle import HOLDING, TRANSITIONS, Event, State
from settlement_lab.model.bank import ModelSurroundings
from settlement_lab.model.checking import check
from settlement_lab.model.engines import Engines
from settlement_lab.model.history import Belief, ModelEngine
from settlement_lab.model.mutations import MUTATIONS, removed, rows_with_other_work
from settlement_lab.model.parts import SHORT, ModelWorld
from settlement_lab.model.rails import RAILS
from settlement_lab.model.space import Space, SpaceExhausted

STATES_MIN = 250_000
SMALL = SHORT._replace(states=30_000)
"""Every mutation shows within this number of states; a search that needs more has not detected it."""

UNWALKED = {
    (State.FAILED, Event.CONTRADICTED),  # needs a database that was restored to an older state
    (State.COMPLETED, Event.CONTRADICTED),  # needs a bank that contradicts itself
    (State.RETURNED, Event.CONTRADICTED),
    (State.COMPLETED, Event.UNCOVERED),  # needs the receiver's account
    (State.COMPLETED, Event.PARTLY_UNCOVERED),
    (State.COMPLETED, Event.PARTLY_RETURNED),  # needs amounts, and the model has none
    *(
        (state, Event.AMOUNT_DIFFERED) for state in HOLDING
    ),  # needs a bank that reports another amount
    (State.COMPLETED, Event.DISPROVED),  # needs two people who were wrong
    (State.ROLLED_BACK, Event.DISPROVED),
    (State.COMPLETED, Event.DEBITED_TWICE),  # needs a bank that books a payment twice
    (State.RETURNED, Event.DEBITED_TWICE),
    *((state, Event.COVER_DUE) for state in (State.LOCKED, State.IN_DOUBT, State.SENT)),
    # needs a second bank that is sent the cover, and the model has one bank
}
"""Transitions that no correct history within the model uses."""


def test_no_order_of_events_violates_a_guarantee() -> None:
    """The rail of class A has the most paths; only it is searched here. The soak searches all rails."""
    found = check(bound=SHORT, rails=("A",))
    assert not found.violation, str(found)
    assert found.states >= STATES_MIN
    rows = {(state, event) for state, events in TRANSITIONS.items() for event in events}
    assert rows - found.walked == UNWALKED


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_removed_safeguard_is_detected(name: str) -> None:
    found = check(name, SMALL)
    assert found.violation
    assert len(found.trace) > 1
    assert found.violation in str(found)


@pytest.mark.parametrize(
    "mutation", list(rows_with_other_work()), ids=lambda mutation: str(mutation.name)
)
def test_a_transition_after_the_point_of_no_return_with_other_work_is_detected(mutation) -> None:
    found = check(mutation, SMALL)
    assert found.violation.startswith("books"), str(found)


def test_each_transition_after_the_point_of_no_return_is_changed() -> None:
    written = {place for mutation in rows_with_other_work() for place in mutation.page}
    assert written == {(state, event) for state in HOLDING for event in TRANSITIONS[state]}


def test_a_mutation_is_undone_at_the_end() -> None:
    names = ("TRANSITIONS", "ENDS", "may_send_again")
    before = [getattr(before_the_end, name) for name in names]
    with removed(MUTATIONS["ends are left again"]):
        within = [getattr(before_the_end, name) for name in names]
        assert [old is new for old, new in zip(before, within, strict=True)] == [False, False, True]
        assert lifecycle.TRANSITIONS is within[0]
    assert lifecycle.TRANSITIONS is TRANSITIONS
    assert all(
        getattr(before_the_end, name) is old for name, old in zip(names, before, strict=True)
    )


def test_a_search_beyond_its_bound_is_a_failure() -> None:
    with pytest.raises(SpaceExhausted):
        check(bound=SHORT._replace(states=100), rails=("D",))


def test_a_counter_example_is_a_possible_path() -> None:
    """Follow the sentences of the trace from the start: each event is possible where it is listed."""
    found = check("void on silence", SMALL)
    [rail] = [rail for rail in RAILS if rail.name == found.rail]
    with removed(MUTATIONS["void on silence"]):
        outside = ModelSurroundings(rail, SMALL, frozenset())
        space = Space(Engines(ModelEngine(rail), outside, SMALL, frozenset()), outside)
        here = {space.start()}
        complaints: set[str] = set()
        for sentence in found.trace:
            did = sentence.removeprefix("engine 1 ").removeprefix("engine 2 ")
            nexts = [each for state in here for each in space.following(state) if each[1] == did]
            here = {each[2] for each in nexts}
            complaints = {each[3] for each in nexts}
            assert here, sentence
    assert found.violation in complaints


@pytest.mark.parametrize("state", sorted(HOLDING))
def test_a_report_about_another_attempt_is_not_believed(state: State) -> None:
    """The state machine has one attempt: after the point of no return no transition leads to a lock."""
    engine = ModelEngine(RAILS[0])
    assert not any(engine.hears_foreign(Belief(state, 1, 0), event) for event in Event)
    for rows in (TRANSITIONS[state] for state in HOLDING):
        assert not any(row.do is lifecycle.Do.LOCK for row in rows.values())


def test_a_bank_forgets_a_payment_only_when_no_message_is_under_way() -> None:
    """An assumption of the check about a bank that does not enforce validity."""
    [rail] = [rail for rail in RAILS if rail.name == "B short"]
    outside = ModelSurroundings(rail, SHORT, frozenset())

    def phases(under_way: int, *, is_sending: bool) -> set[int]:
        world = ModelWorld.start()._replace(under_way=under_way)
        changes = outside.changes(world, is_sending=is_sending, is_ended=False)
        return {after.phase for _, after, _ in changes}

    assert phases(0, is_sending=False) == {1}
    assert phases(1, is_sending=False) == {0}
    assert phases(0, is_sending=True) == set()
