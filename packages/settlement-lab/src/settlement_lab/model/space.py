"""The state space of the model check: states packed into numbers, and the successors of each.

Promises: two states that differ only in which engine is called 1 are one state. What an engine may do
depends on the row, the world and itself; that is computed once and kept. What cannot be kept raises
``SpaceExhausted``: nothing is left out without notice.
"""

from __future__ import annotations

from array import array
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeVar

from settlement_engine.domain.lifecycle import ENDS
from settlement_lab.model.parts import (
    DEAD,
    IDLE,
    NOBODY,
    ModelRecord,
    ModelWorld,
    Worker,
    wrong,
)

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from settlement_lab.model.bank import ModelSurroundings
    from settlement_lab.model.engines import Engines
    from settlement_lab.model.parts import Effect

T = TypeVar("T", bound="Hashable")

BITS: Final = 16
"""Bits for the number of a part: there are never more than a few thousand of one kind."""

_MASK: Final = (1 << BITS) - 1
_ENGINE_1: Final = 1
_ENGINE_2: Final = 2


class SpaceExhausted(Exception):
    """The search found more states than it may keep: nothing is proved."""


class _Numbers(Generic[T]):
    """Gives a number to every part that occurs."""

    def __init__(self) -> None:
        self._numbers: dict[T, int] = {}
        self.parts: list[T] = []

    def number(self, part: T) -> int:
        found = self._numbers.get(part)
        if found is None:
            found = self._numbers[part] = len(self.parts)
            if found > _MASK:
                raise SpaceExhausted(f"more than {_MASK} different parts")
            self.parts.append(part)
        return found


class _Act(NamedTuple):
    """An action of an engine, in numbers."""

    did: str
    record: int
    world: int
    me: int
    effect: Effect
    complaint: str


class _Chance(NamedTuple):
    """An event outside the engines, in numbers."""

    did: str
    world: int
    complaint: str


Next = tuple[int, str, int, str, bool]
"""Who acted (0: the world) and how, the state after it, what is wrong, and if the engines swapped names."""


class Space:
    """All states, and the successors of each."""

    def __init__(self, engines: Engines, outside: ModelSurroundings) -> None:
        self._engines = engines
        self._outside = outside
        self._records: _Numbers[ModelRecord] = _Numbers()
        self._worlds: _Numbers[ModelWorld] = _Numbers()
        self._workers: _Numbers[Worker] = _Numbers()
        self._acts: dict[int, tuple[_Act, ...]] = {}
        self._chances: dict[tuple[int, int, bool], tuple[_Chance, ...]] = {}
        self._others: dict[tuple[int, Effect, int], int] = {}
        self._swaps: dict[int, int] = {}

    def start(self) -> int:
        """Return the state in which nothing has happened yet."""
        idle = self._workers.number(IDLE)
        record, world = (
            self._records.number(ModelRecord.start()),
            self._worlds.number(ModelWorld.start()),
        )
        return self._pack(record, world, idle, idle)[0]

    def is_ended(self, state: int) -> bool:
        """Return whether the settlement has ended in this state."""
        return self._records.parts[state >> 3 * BITS].state in ENDS

    def following(self, state: int) -> Iterator[Next]:
        """Return everything that may happen next."""
        record, world = state >> 3 * BITS, state >> 2 * BITS & _MASK
        one, two = state >> BITS & _MASK, state & _MASK
        yield from self._done(_ENGINE_1, record, world, (one, two))
        yield from self._done(_ENGINE_2, self._swapped(record), world, (two, one))
        is_sending = self._is_sending(one) or self._is_sending(two)
        for did, after, complaint in self._happening(record, world, is_sending=is_sending):
            key, is_swapped = self._pack(record, after, one, two)
            yield NOBODY, did, key, complaint, is_swapped

    def _done(self, number: int, record: int, world: int, pair: tuple[int, int]) -> Iterator[Next]:
        """Return what an engine may do; the row is seen as if that engine were called 1."""
        me, other = pair
        place = (record << BITS | world) << BITS | me
        acts = self._acts.get(place)
        if acts is None:
            acts = self._acts[place] = tuple(self._work_out(record, world, me))
        is_second = number == _ENGINE_2
        for did, after, outside, mine, effect, complaint in acts:
            seen = self._others.get((other, effect, after))
            if seen is None:
                seen = self._see(other, effect, after)
            key, is_swapped = self._pack(after, outside, mine, seen)
            yield number, did, key, complaint, is_swapped ^ is_second

    def _work_out(self, record: int, world: int, me: int) -> Iterator[_Act]:
        parts = (self._records.parts[record], self._worlds.parts[world], self._workers.parts[me])
        for did, (after, outside, mine), effect, complaint in self._engines.changes(1, parts):
            essence = self._engines.essence(_ENGINE_1, after, mine)
            yield _Act(
                did,
                self._records.number(after),
                self._worlds.number(outside),
                self._workers.number(essence),
                effect,
                complaint or wrong(after, outside.bank),
            )

    def _see(self, other: int, effect: Effect, record: int) -> int:
        after = self._engines.seen_by(self._workers.parts[other], effect)
        essence = self._engines.essence(_ENGINE_2, self._records.parts[record], after)
        seen = self._others[other, effect, record] = self._workers.number(essence)
        return seen

    def _happening(self, record: int, world: int, *, is_sending: bool) -> tuple[_Chance, ...]:
        key = (record, world, is_sending)
        found = self._chances.get(key)
        if found is None:
            transition = self._records.parts[record]
            # The bank has no message before the point of no return, and its time begins there.
            around = self._worlds.parts[world]
            is_begun = transition.sends or around != ModelWorld.start()
            is_ended = transition.state in ENDS
            changes = self._outside.changes(around, is_sending=is_sending, is_ended=is_ended)
            found = self._chances[key] = tuple(
                _Chance(did, self._worlds.number(after), complaint or wrong(transition, after.bank))
                for did, after, complaint in (changes if is_begun else ())
            )
        return found

    def _is_sending(self, worker: int) -> bool:
        return self._engines.is_sending(self._workers.parts[worker])

    def _swapped(self, record: int) -> int:
        """Return the row with the names of the engines exchanged."""
        found = self._swaps.get(record)
        if found is None:
            transition = self._records.parts[record]
            if NOBODY < transition.engine_id < DEAD:
                transition = transition._replace(engine_id=DEAD - transition.engine_id)
            found = self._swaps[record] = self._records.number(transition)
        return found

    def _pack(self, record: int, world: int, one: int, two: int) -> tuple[int, bool]:
        """Pack a state; the second value is True if the engines exchanged names."""
        is_swapped = one > two or (one == two and self._is_second_owner(record))
        if is_swapped:
            record, one, two = self._swapped(record), two, one
        return ((record << BITS | world) << BITS | one) << BITS | two, is_swapped

    def _is_second_owner(self, record: int) -> bool:
        return self._records.parts[record].engine_id == _ENGINE_2


class Visited:
    """The states that were found, in the order of their distance from the start."""

    def __init__(self, states_max: int) -> None:
        self._states_max = states_max
        self._places: dict[int, int] = {}
        self.states: list[int] = []
        self._parents = array("i")
        self._edges = array("i")
        self._ends_of_edges = array("q")

    def meet(self, state: int, parent: int) -> int:
        """Record a path to a state; returns the state's index."""
        place = self._places.get(state)
        if place is None:
            place = len(self.states)
            if place >= self._states_max:
                raise SpaceExhausted(f"more than {self._states_max} states")
            self._places[state] = place
            self.states.append(state)
            self._parents.append(parent)
        if parent >= 0:
            self._edges.append(place)
        return place

    def end_edges(self) -> None:
        """Record that all successors of the present state are known."""
        self._ends_of_edges.append(len(self._edges))

    @property
    def transitions(self) -> int:
        """Return the number of transitions from a state to a state."""
        return len(self._edges)

    def stuck(self, space: Space) -> int:
        """Return the index of a state from which no final state can be reached; -1 if there is none."""
        is_ending = bytearray(space.is_ended(state) for state in self.states)
        edges, ends = self._edges, self._ends_of_edges
        is_growing = True
        while is_growing:
            is_growing = False
            stop = len(edges)
            for place in range(len(self.states) - 1, -1, -1):
                start = ends[place - 1] if place else 0
                if not is_ending[place] and any(is_ending[to] for to in edges[start:stop]):
                    is_ending[place] = is_growing = True
                stop = start
        return is_ending.find(0)

    def way(self, place: int, space: Space, last: Next | None = None) -> list[str]:
        """Return the events on a shortest path to a state, and then ``last``.

        Each engine keeps its name on the whole path.
        """
        places = [place]
        while (parent := self._parents[places[-1]]) >= 0:
            places.append(parent)
        places.reverse()
        told = []
        is_renamed = False
        for here, following in pairwise(places):
            wanted = self.states[following]
            for number, did, state, _, is_swapped in space.following(self.states[here]):
                if state == wanted:
                    told.append(_sentence(number, did, is_renamed=is_renamed))
                    is_renamed ^= is_swapped
                    break
        if last is not None:
            told.append(_sentence(last[0], last[1], is_renamed=is_renamed))
        return told


def _sentence(number: int, did: str, *, is_renamed: bool) -> str:
    if number == NOBODY:
        return did
    return f"engine {DEAD - number if is_renamed else number} {did}"
