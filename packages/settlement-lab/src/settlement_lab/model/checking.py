"""The model check: every order in which things can happen to one settlement.

It searches breadth first through all states of a small system: two engines (which crash, pause and resume
at any step), one database row, a bank with its network, time, and people. The state machine is not
copied: transitions are looked up in ``domain.lifecycle.TRANSITIONS`` by the real decider (``model.history``). The
search is exhaustive within its bounds: ``SENDINGS_MAX`` sends, two instructions under way, three phases
of time. A settlement has one attempt, so there is one reference; reports about another attempt are ignored
(``Engine.hears_foreign``).

Promises: a violation is reported with a shortest path to it, in words. With the name of a mutation one
safeguard is removed first: a check that then finds nothing has missed it.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from typing_extensions import override

from settlement_lab.model.bank import ModelSurroundings
from settlement_lab.model.engines import Engines
from settlement_lab.model.history import ModelEngine
from settlement_lab.model.mutations import MUTATIONS, Mutation, removed
from settlement_lab.model.parts import FULL, SearchBound
from settlement_lab.model.rails import RAILS
from settlement_lab.model.space import Space, Visited

if TYPE_CHECKING:
    from collections.abc import Sequence

    from settlement_engine.domain import lifecycle
    from settlement_lab.model.rails import ModelRail


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFinding:
    """The result of a check. ``trace`` is a shortest path to the violation, one event per line.

    ``walked`` has the transitions of the state machine that were on any path.
    """

    states: int
    transitions: int
    violation: str = ""
    rail: str = ""
    trace: Sequence[str] = ()
    walked: frozenset[tuple[lifecycle.State, lifecycle.Event]] = frozenset()

    @override
    def __str__(self) -> str:
        """Describe the result in words."""
        counted = f"{self.states:,} states, {self.transitions:,} transitions"
        if not self.violation:
            return f"{counted}: no violation"
        steps = (f"  {number:2}. {step}" for number, step in enumerate(self.trace, start=1))
        return "\n".join((f"{self.violation} (rail {self.rail}; {counted})", *steps))


def check(
    mutation: str | Mutation | None = None, bound: SearchBound = FULL, rails: Sequence[str] = ()
) -> ModelFinding:
    """Search everything within the bound, rail by rail; stops at the first violation.

    ``mutation`` removes a safeguard first; ``rails`` limits the search to rails of these names.
    """
    if isinstance(mutation, str):
        mutation = MUTATIONS[mutation]
    names = rails or (mutation.rails if mutation else ())
    chosen = [rail for rail in RAILS if not names or rail.name in names]
    faults = mutation.faults if mutation else frozenset()
    states = transitions = 0
    walked: frozenset[tuple[lifecycle.State, lifecycle.Event]] = frozenset()
    with removed(mutation) if mutation else nullcontext():
        for rail in chosen:
            found = _check_rail(rail, bound, faults)
            states += found.states
            transitions += found.transitions
            walked |= found.walked
            if found.violation:
                return ModelFinding(
                    states=states,
                    transitions=transitions,
                    violation=found.violation,
                    rail=rail.name,
                    trace=found.trace,
                )
    return ModelFinding(states=states, transitions=transitions, walked=walked)


def _check_rail(rail: ModelRail, bound: SearchBound, faults: frozenset[str]) -> ModelFinding:
    bound = bound._replace(sendings=bound.sendings + rail.sendings_more)
    outside = ModelSurroundings(rail, bound, faults)
    engines = Engines(ModelEngine(rail), outside, bound, faults)
    space = Space(engines, outside)
    visited = Visited(bound.states)
    visited.meet(space.start(), -1)
    place = 0
    violation = ""
    way: list[str] = []
    while place < len(visited.states) and not violation:
        for following in space.following(visited.states[place]):
            visited.meet(following[2], place)
            if following[3]:
                violation, way = following[3], visited.way(place, space, following)
                break
        visited.end_edges()
        place += 1
    if not violation and (stuck := visited.stuck(space)) >= 0:
        violation, way = "stuck: no final state can be reached", visited.way(stuck, space)
    walked = (engines.decisions[place] for place in engines.walked)
    return ModelFinding(
        states=len(visited.states),
        transitions=visited.transitions,
        violation=violation,
        rail=rail.name if violation else "",
        trace=way,
        walked=frozenset((each.before, each.event) for each in walked),
    )
