"""Finds, for each mutant of the simulation, a seed whose run detects it, and writes it down.

A change of the engine's pace, or of what the simulation draws, moves what happens in a world: the seeds in
the folder ``settlement_lab/mutants`` then have to follow. `python tools/mutant_seeds.py` looks only for those whose
world has ceased to catch them; a mutant that no world catches is named, and the exit code is 1.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Final

from settlement_lab.mutants import catalogue
from settlement_lab.mutants.catalogue import MUTANTS
from settlement_lab.worlds.sweep import replay
from settlement_lab.worlds.world import play

SEEDS_MAX: Final = 4_000


def catches(seed: int, name: str) -> bool:
    """Return whether the run fails without the safeguard, and passes with it."""
    mutant = MUTANTS[name]
    if not replay(seed, name).violations:
        return False
    return not play(seed, emphasis=mutant.emphasis).violations


def find(name: str) -> int | None:
    """Return the current seed if it works, else the first other one; None if there is none."""
    known = MUTANTS[name].seed
    return next((seed for seed in (known, *range(SEEDS_MAX)) if catches(seed, name)), None)


def write(paths: list[Path], name: str, seed: int) -> None:
    """Rewrite the seed of one mutant, in the file that has it."""
    entry = re.compile(rf'("{name}": Mutant\((?:(?!": Mutant\().)*?\bseed=)\d+', re.DOTALL)
    for path in paths:
        text, count = entry.subn(rf"\g<1>{seed}", path.read_text("utf-8"), count=1)
        if count:
            path.write_text(text, "utf-8")
            return
    raise AssertionError(f"the entry of {name} has a seed")


def main() -> int:
    """Rewrite the seeds; return the exit code."""
    assert catalogue.__file__ is not None
    paths = sorted(Path(catalogue.__file__).parent.glob("*.py"))
    missed = []
    for name, mutant in MUTANTS.items():
        seed = find(name)
        if seed is None:
            missed.append(name)
        elif seed != mutant.seed:
            write(paths, name, seed)
            print(f"{name}: {mutant.seed} -> {seed}")
    for name in missed:
        print(f"{name}: no world of {SEEDS_MAX} catches it")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
