"""The model check finds nothing, and finds each safeguard that is taken away."""

from __future__ import annotations

import pytest

from settlement_engine.domain import lifecycle
from settlement_engine.domain.decisions import before_the_end
from settlement_engine.domain.lifecycle import HOLDING, LIFE, Event, State
from settlement_lab.model.bank import Outside
from settlement_lab.model.checking import check
from settlement_lab.model.engines import Engines
from settlement_lab.model.life import Belief, Engine
from settlement_lab.model.mutations import MUTATIONS, removed, rows_with_other_work
from settlement_lab.model.parts import SHORT, World
from settlement_lab.model.rails import RAILS
from settlement_lab.model.space import Space, SpaceExhausted

STATES_MIN = 250_000
SMALL = SHORT._replace(states=30_000)
"""Every mutation shows within this; a search that needs more has not seen it."""

UNWALKED = {
    (State.FAILED, Event.CONTRADICTED),  # takes a database that was restored and has forgotten
    (State.COMPLETED, Event.CONTRADICTED),  # takes a bank that contradicts itself
    (State.RETURNED, Event.CONTRADICTED),
    (State.COMPLETED, Event.UNCOVERED),  # takes the receiver's account
    (State.COMPLETED, Event.PARTLY_UNCOVERED),
    (State.COMPLETED, Event.PARTLY_RETURNED),  # takes amounts, and the model has none
    *(
        (state, Event.AMOUNT_DIFFERED) for state in HOLDING
    ),  # takes a bank that speaks of another amount
    (State.COMPLETED, Event.DISPROVED),  # takes two people who were wrong
    (State.ROLLED_BACK, Event.DISPROVED),
}
"""Rows that no honest life within the model leads over."""


def test_nothing_can_go_wrong_in_any_order() -> None:
    """The rail of class A has the most ways; it alone is large enough. All rails are in the soak."""
    found = check(bound=SHORT, rails=("A",))
    assert not found.violation, str(found)
    assert found.states >= STATES_MIN
    rows = {(state, event) for state, events in LIFE.items() for event in events}
    assert rows - found.walked == UNWALKED


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_safeguard_that_is_taken_away_is_missed(name: str) -> None:
    found = check(name, SMALL)
    assert found.violation
    assert len(found.trace) > 1
    assert found.violation in str(found)


@pytest.mark.parametrize(
    "mutation", list(rows_with_other_work()), ids=lambda mutation: str(mutation.name)
)
def test_a_row_beyond_the_line_that_moves_other_money_is_found(mutation) -> None:
    found = check(mutation, SMALL)
    assert found.violation.startswith("books"), str(found)


def test_every_row_beyond_the_line_is_written_otherwise() -> None:
    written = {place for mutation in rows_with_other_work() for place in mutation.page}
    assert written == {(state, event) for state in HOLDING for event in LIFE[state]}


def test_a_mutation_leaves_nothing_behind() -> None:
    names = ("LIFE", "ENDS", "may_send_again")
    before = [getattr(before_the_end, name) for name in names]
    with removed(MUTATIONS["ends are left again"]):
        within = [getattr(before_the_end, name) for name in names]
        assert [old is new for old, new in zip(before, within, strict=True)] == [False, False, True]
        assert lifecycle.LIFE is within[0]
    assert lifecycle.LIFE is LIFE
    assert all(
        getattr(before_the_end, name) is old for name, old in zip(names, before, strict=True)
    )


def test_a_search_that_cannot_be_finished_proves_nothing() -> None:
    with pytest.raises(SpaceExhausted):
        check(bound=SHORT._replace(states=100), rails=("D",))


def test_a_counter_example_is_a_way_that_can_be_gone() -> None:
    """Walk along the sentences, from the start: each of them is possible where it is told."""
    found = check("void on silence", SMALL)
    [rail] = [rail for rail in RAILS if rail.name == found.rail]
    with removed(MUTATIONS["void on silence"]):
        outside = Outside(rail, SMALL, frozenset())
        space = Space(Engines(Engine(rail), outside, SMALL, frozenset()), outside)
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
def test_word_of_another_attempt_is_not_believed(state: State) -> None:
    """The page knows one attempt: nothing beyond the line leads back to the lock."""
    engine = Engine(RAILS[0])
    assert not any(engine.hears_foreign(Belief(state, 1, 0), event) for event in Event)
    for rows in (LIFE[state] for state in HOLDING):
        assert not any(row.do is lifecycle.Do.LOCK for row in rows.values())


def test_a_bank_that_forgets_does_so_when_nothing_is_under_way() -> None:
    """What the check takes for granted of a bank that does not enforce validity."""
    [rail] = [rail for rail in RAILS if rail.name == "B short"]
    outside = Outside(rail, SHORT, frozenset())

    def phases(under_way: int, *, is_sending: bool) -> set[int]:
        world = World.start()._replace(under_way=under_way)
        changes = outside.changes(world, is_sending=is_sending, is_ended=False)
        return {after.phase for _, after, _ in changes}

    assert phases(0, is_sending=False) == {1}
    assert phases(1, is_sending=False) == {0}
    assert phases(0, is_sending=True) == set()
