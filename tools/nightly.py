"""Run everything that is too long for every change, one after the other, and end with one line.

Worlds, schedules and the whole model as the CLI runs them, every safeguard taken out, then the long tests of
`tests/soak`. A part that fails does not stop the others; the line names it, and where its output is. `--short`
runs the same parts with small numbers, to see that they run at all.
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
    """One long run: its name, its command and what it finds in its environment."""

    name: str
    command: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()


def parts(is_short: bool) -> list[Part]:
    """List what is run."""
    worlds, schedules, seconds = (200, 50, 60) if is_short else (10_000, 10_000, 1_800)
    soak = ("tests/soak/test_soak.py",) if is_short else ("tests/soak",)
    simulated = ("tests/simulation/test_mutants.py", "tests/simulation/test_worlds.py")
    return [
        Part("worlds", (*SIMULATE, "--worlds", str(worlds))),
        Part("schedules", (*SIMULATE, "--schedules", str(schedules))),
        Part("model", (*SIMULATE, "--model")),
        Part("mutants", (*PYTEST, "--timeout=0", *simulated)),
        Part("soak", (*PYTEST, "--timeout=0", "-s", *soak), (("SOAK_SECONDS", str(seconds)),)),
    ]


def run(part: Part) -> tuple[bool, float]:
    """Run a part with its output in a file; tell whether it went well, and how long it took."""
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
    """Say in one line what has become of every part."""
    told = [
        f"{name} {'ok' if is_good else 'FAILED'} in {seconds / 60:.0f} min"
        for name, (is_good, seconds) in results.items()
    ]
    is_all_good = all(is_good for is_good, _ in results.values())
    return f"nightly: {'passed' if is_all_good else 'FAILED'}: {', '.join(told)}"


def main(is_short: bool) -> int:
    """Run every part."""
    OUTPUT.mkdir(parents=True, exist_ok=True)
    results: dict[str, tuple[bool, float]] = {}
    for part in parts(is_short):
        print(f"nightly: {part.name}, see {(OUTPUT / part.name).relative_to(ROOT)}.txt", flush=True)
        results[part.name] = run(part)
    print(summary(results))
    return not all(is_good for is_good, _ in results.values())


if __name__ == "__main__":
    raise SystemExit(main("--short" in sys.argv))
