"""The other modes of ``simulate``: the model of the state machine, and schedules on real PostgreSQL.

Promises: it only runs the simulation and prints its result; every failure comes with the command that
reproduces it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import click

from settlement_engine.cli.output import print_json, say

if TYPE_CHECKING:
    from settlement_lab.schedules.runs import ScheduleReport

TOLD_MAX: Final = 5
"""How many failed schedules are printed in full; the seeds of all are listed."""


def check_model(mutation: str, *, is_json: bool) -> bool:
    """Check all reachable states of the model; True if every guarantee holds."""
    from settlement_lab.model.checking import check
    from settlement_lab.model.mutations import MUTATIONS

    if mutation and mutation not in MUTATIONS:
        message = f"the model has no mutant {mutation!r}; list them with --list-mutants"
        raise click.UsageError(message)
    began = time.monotonic()
    found = check(mutation or None)
    seconds = time.monotonic() - began
    if is_json:
        print_json(
            {
                "states": found.states,
                "transitions": found.transitions,
                "broken": found.violation,
                "rail": found.rail,
                "trace": list(found.trace),
                "mutation": mutation,
                "wall_seconds": round(seconds, 3),
            }
        )
    else:
        say(f"{found}, in {seconds:.0f} s" if not found.violation else str(found))
    return not found.violation


def run_schedules(seeds: range, jobs: int, *, has_statements: bool, is_json: bool) -> bool:
    """Run seeded schedules on real PostgreSQL; True if every guarantee held."""
    from settlement_lab.schedules.runs import WITH_STATEMENTS, run

    emphasis = WITH_STATEMENTS if has_statements else None
    report = run(seeds, jobs=min(jobs, len(seeds)), emphasis=emphasis)
    if is_json:
        print_json(_as_json(report, seeds, has_statements=has_statements))
    else:
        _tell(report, has_statements=has_statements)
    return report.is_good


def _tell(report: ScheduleReport, *, has_statements: bool) -> None:
    rate = report.schedules / max(report.wall_seconds, 0.001)
    say(
        f"{report.schedules:,} schedules on PostgreSQL in {report.wall_seconds:.1f} s ({rate:.1f}/s),"
        f" {report.points:,} points, {report.invariant_warnings['stale_step']:,} stale transitions refused"
    )
    ends = ", ".join(f"{count:,} {state}" for state, count in sorted(report.ends.items()))
    say(f"{sum(report.ends.values()):,} settlements: {ends}")
    say(f"{sum(report.fired.values()):,} faults of {len(report.fired)} kinds:")
    for name, count in sorted(report.fired.items()):
        say(f"  {name:<24} {count:>9,}")
    for name in report.never_fired:
        say(f"this fault never occurred: {name}")
    say(f"{len(report.broken):,} schedules violated a guarantee")
    for each in report.broken[:TOLD_MAX]:
        say(f"\nschedule {each.seed}:")
        for text in each.violations:
            say(f"  violated: {text}")
        say("  the end of its history:")
        for line in each.lines:
            say(f"  {line}")
        say(f"  reproduce it: {_command(each.seed, has_statements=has_statements)}")
    if len(report.broken) > TOLD_MAX:
        say(f"all seeds: {' '.join(str(each.seed) for each in report.broken)}")


def _command(seed: int, *, has_statements: bool) -> str:
    """Return the command that runs a schedule again."""
    option = " --statements" if has_statements else ""
    return f"settlement-engine simulate --schedules 1{option} --seed {seed}"


def _as_json(report: ScheduleReport, seeds: range, *, has_statements: bool) -> dict[str, object]:
    return {
        "schedules": report.schedules,
        "first_seed": seeds.start,
        "violated": len(report.broken),
        "wall_seconds": round(report.wall_seconds, 3),
        "points": report.points,
        "settlements": dict(sorted(report.ends.items())),
        "faults": dict(sorted(report.fired.items())),
        "never_fired": report.never_fired,
        "found": [
            {
                "seed": each.seed,
                "broken": each.violations,
                "replay": _command(each.seed, has_statements=has_statements),
            }
            for each in report.broken
        ],
    }
