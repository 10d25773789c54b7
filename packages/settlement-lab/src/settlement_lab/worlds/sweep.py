"""Many worlds, on several processes: what was tried, what was found, and how to see it again.

A run proves something only if every fault has happened in it: a large one in which a fault never fired has
failed, and says which.
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
from settlement_lab.mutants.surgery import without
from settlement_lab.worlds.faults import FAULTS
from settlement_lab.worlds.world import play

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from settlement_lab.worlds.chronicle import History

CHUNK: Final = 20
"""So many worlds go to a process at a time."""

COVERED_FROM: Final = 200
"""From so many worlds on, a fault that never fired is a failure of the run."""

LINES_SHOWN: Final = 60
FOUND_MAX: Final = 1_000
"""No more violated worlds are kept with their last lines."""


@dataclass(frozen=True, slots=True)
class Found:
    """A world in which a promise was broken."""

    seed: int
    violations: tuple[str, ...]
    lines: tuple[str, ...]


@dataclass(slots=True)
class Report:
    """What became of many worlds."""

    worlds: int = 0
    violated: int = 0
    wall_seconds: float = 0.0
    world_seconds: float = 0.0
    turns: int = 0
    debits: int = 0
    fired: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    found: list[Found] = field(default_factory=list)

    def take(self, other: Report) -> None:
        """Add what another part of the run has seen."""
        self.worlds += other.worlds
        self.violated += other.violated
        self.world_seconds += other.world_seconds
        self.turns += other.turns
        self.debits += other.debits
        self.fired += other.fired
        self.ends += other.ends
        self.found += other.found[: FOUND_MAX - len(self.found)]

    def note(self, history: History) -> None:
        """Add one world."""
        self.worlds += 1
        self.world_seconds += history.seconds
        self.turns += history.turns
        self.debits += history.debits
        self.fired += history.fired
        self.ends += history.ends
        if history.violations:
            self.violated += 1
            lines = tuple(history.lines[-LINES_SHOWN:])
            self.found.append(Found(history.seed, tuple(history.violations), lines))

    @property
    def never_fired(self) -> list[str]:
        """Name the faults that a run of this size must have seen, and has not."""
        if self.worlds < COVERED_FROM:
            return []
        return [name for name in FAULTS if not self.fired[name]]

    @property
    def is_good(self) -> bool:
        """Say whether every promise was kept, and put to the test."""
        return not self.violated and not self.never_fired


def replay(seed: int, mutant: str = "") -> History:
    """Play one world, whole or without one safeguard."""
    if not mutant:
        return play(seed)
    with without(MUTANTS[mutant]):
        return play(seed, emphasis=MUTANTS[mutant].emphasis)


def run_chunk(task: tuple[Sequence[int], str]) -> Report:
    """Play some worlds in this process, whole or without one safeguard."""
    seeds, mutant = task
    report = Report()
    gc.disable()  # the end of a world leaves nothing but garbage, which is better swept once a chunk
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
    """Play all these worlds on so many processes; ``tell`` hears how it stands."""
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
