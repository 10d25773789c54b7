"""Runs everything that takes too long for every change, one after the other, and prints one summary line.

These are the simulation's runs, its schedules and the whole model check as the CLI runs them, every mutant, and the
long tests of `tests/soak`. A failed part does not stop the others; the summary names it, and its output file.
`--short` runs the same parts with small numbers, to check that they run at all.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
OUTPUT = ROOT / ".cache" / "nightly"
PYTEST = (str(BIN / "python"), "-m", "pytest", "-q", "-n0")
SIMULATE = (str(BIN / "settlement-engine"), "simulate")


@dataclass(frozen=True, slots=True)
class Part:
    """One long run: its name, its command and its environment variables."""

    name: str
    command: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()


def parts(is_short: bool) -> list[Part]:
    """List the parts to run."""
    worlds, schedules, seconds = (200, 50, 60) if is_short else (10_000, 10_000, 1_800)
    with_statements = 10 if is_short else 1_500
    soak = ("tests/soak/test_soak.py",) if is_short else ("tests/soak",)
    simulated = ("tests/simulation/test_mutants.py", "tests/simulation/test_worlds.py")
    return [
        Part("worlds", (*SIMULATE, "--worlds", str(worlds))),
        Part("schedules", (*SIMULATE, "--schedules", str(schedules))),
        Part("statements", (*SIMULATE, "--schedules", str(with_statements), "--statements")),
        Part("model", (*SIMULATE, "--model")),
        Part("mutants", (*PYTEST, "--timeout=0", *simulated)),
        Part(
            "rails",
            (*PYTEST, "tests/contract/test_rail_rows.py"),
            () if is_short else (("SETTLEMENT_WHOLE_MATRIX", "1"),),
        ),
        Part("soak", (*PYTEST, "--timeout=0", "-s", *soak), (("SOAK_SECONDS", str(seconds)),)),
    ]


def run(part: Part) -> tuple[bool, float]:
    """Run a part with its output in a file; return whether it passed, and its duration in seconds."""
    began = time.monotonic()
    with (OUTPUT / f"{part.name}.txt").open("wb") as output:
        done = subprocess.run(
            part.command,
            cwd=ROOT,
            env={**os.environ, **dict(part.environment)},
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    return done.returncode == 0, time.monotonic() - began


def summary(results: dict[str, tuple[bool, float]]) -> str:
    """Return one line with the result of every part."""
    told = [
        f"{name} {'ok' if is_good else 'FAILED'} in {seconds / 60:.0f} min"
        for name, (is_good, seconds) in results.items()
    ]
    is_all_good = all(is_good for is_good, _ in results.values())
    return f"nightly: {'passed' if is_all_good else 'FAILED'}: {', '.join(told)}"


def main(is_short: bool) -> int:
    """Run every part; return the exit code."""
    OUTPUT.mkdir(parents=True, exist_ok=True)
    results: dict[str, tuple[bool, float]] = {}
    for part in parts(is_short):
        print(f"nightly: {part.name}, see {(OUTPUT / part.name).relative_to(ROOT)}.txt", flush=True)
        results[part.name] = run(part)
    print(summary(results))
    return not all(is_good for is_good, _ in results.values())


if __name__ == "__main__":
    raise SystemExit(main("--short" in sys.argv))
