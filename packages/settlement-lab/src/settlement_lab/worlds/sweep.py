"""Many worlds on several processes: what was tested, what was found, and how to reproduce it.

A run proves something only if every fault has occurred in it: a large run in which a fault never occurred
has failed, and reports which.
"""

from __future__ import annotations

import gc
import multiprocessing
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Final

from settlement_lab.mutants.catalogue import MUTANTS
from settlement_lab.mutants.patching import without
from settlement_lab.worlds.faults import FAULTS
from settlement_lab.worlds.world import play

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from settlement_lab.worlds.chronicle import History

CHUNK: Final = 20
"""How many worlds a process gets at a time."""

COVERED_FROM: Final = 200
"""From this number of worlds on, a fault that never occurred is a failure of the run."""

LINES_SHOWN: Final = 60
FOUND_MAX: Final = 1_000
"""For at most so many violated worlds the last lines are kept."""


@dataclass(frozen=True, slots=True)
class Found:
    """A world in which a guarantee was violated."""

    seed: int
    violations: tuple[str, ...]
    lines: tuple[str, ...]


@dataclass(slots=True)
class Report:
    """The result of many worlds.

    ``fired`` counts the occurrences of each fault, ``seen_in`` the worlds in which it occurred.
    """

    worlds: int = 0
    violated: int = 0
    wall_seconds: float = 0.0
    world_seconds: float = 0.0
    turns: int = 0
    debits: int = 0
    fired: Counter[str] = field(default_factory=Counter)
    seen_in: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    found: list[Found] = field(default_factory=list)

    def take(self, other: Report) -> None:
        """Add the result of another part of the run."""
        self.worlds += other.worlds
        self.violated += other.violated
        self.world_seconds += other.world_seconds
        self.turns += other.turns
        self.debits += other.debits
        self.fired += other.fired
        self.seen_in += other.seen_in
        self.ends += other.ends
        self.found += other.found[: FOUND_MAX - len(self.found)]

    def note(self, history: History) -> None:
        """Add one world."""
        self.worlds += 1
        self.world_seconds += history.seconds
        self.turns += history.turns
        self.debits += history.debits
        self.fired += history.fired
        self.seen_in.update(name for name, count in history.fired.items() if count)
        self.ends += history.ends
        if history.violations:
            self.violated += 1
            lines = tuple(history.lines[-LINES_SHOWN:])
            self.found.append(Found(history.seed, tuple(history.violations), lines))

    @property
    def never_fired(self) -> list[str]:
        """Return the faults that should have occurred in a run of this size, and did not."""
        if self.worlds < COVERED_FROM:
            return []
        return [name for name in FAULTS if not self.fired[name]]

    @property
    def is_good(self) -> bool:
        """Return whether every guarantee held and every fault occurred."""
        return not self.violated and not self.never_fired


def replay(seed: int, mutant: str = "") -> History:
    """Run one world, with all safeguards or without one."""
    if not mutant:
        return play(seed)
    with without(MUTANTS[mutant]):
        return play(seed, emphasis=MUTANTS[mutant].emphasis)


def run_chunk(task: tuple[Sequence[int], str]) -> Report:
    """Run some worlds in this process, with all safeguards or without one."""
    seeds, mutant = task
    report = Report()
    gc.disable()  # a finished world leaves only garbage, which is collected faster once per chunk
    try:
        for seed in seeds:
            report.note(replay(seed, mutant))
    finally:
        gc.enable()
        gc.collect()
    return report


def sweep(
    seeds: Iterable[int],
    *,
    jobs: int,
    mutant: str = "",
    tell: Callable[[Report], None] = lambda _: None,
) -> Report:
    """Run all these worlds on ``jobs`` processes; ``tell`` is called with the results so far."""
    started_at = time.monotonic()
    report = Report()
    tasks = ((chunk, mutant) for chunk in _chunks(seeds))
    if jobs == 1:
        parts: Iterable[Report] = map(run_chunk, tasks)
        for part in parts:
            report.take(part)
            tell(report)
    else:
        with multiprocessing.get_context("spawn").Pool(jobs) as pool:
            for part in pool.imap_unordered(run_chunk, tasks):
                report.take(part)
                tell(report)
    report.found.sort(key=lambda each: each.seed)
    report.wall_seconds = time.monotonic() - started_at
    return report


def _chunks(seeds: Iterable[int]) -> Iterator[list[int]]:
    rest = iter(seeds)
    while chunk := list(islice(rest, CHUNK)):
        yield chunk
