"""The command ``simulate``: tests whole engines with faults that a seed determines.

It needs no database and no network. Time is virtual, and the seed determines everything that happens.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from settlement_engine.cli.commands import lasting
from settlement_engine.cli.failures import ExitCode
from settlement_engine.cli.interruption import termination_interrupts
from settlement_engine.cli.output import as_json, example, print_json, say
from settlement_lab.commands.proofs import check_model, run_schedules

if TYPE_CHECKING:
    from settlement_lab.worlds.chronicle import History
    from settlement_lab.worlds.sweep import Found, Report

WORLDS: Final = 1_000
SHOWN_MAX: Final = 5
"""How many failed worlds are printed in full; the seeds of all are listed."""

SECONDS_PER_HOUR: Final = 3_600


@lasting
@click.command()
@click.option(
    "--worlds",
    type=click.IntRange(1, 10_000_000),
    default=WORLDS,
    show_default=True,
    help="How many worlds to simulate.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="The seed of the first world; the others follow.",
)
@click.option(
    "--jobs",
    type=click.IntRange(1, 256),
    help="The number of processes [default: one per core].",
)
@click.option(
    "--mutant",
    metavar="NAME",
    help="Remove one safeguard; the simulation must then fail. List them with --list-mutants.",
)
@click.option(
    "--world", type=click.IntRange(0), help="Replay only this world, and print all of it."
)
@click.option(
    "--schedules",
    type=click.IntRange(1, 10_000_000),
    metavar="N",
    help="Instead of worlds: run N schedules on real PostgreSQL servers.",
)
@click.option(
    "--statements",
    "has_statements",
    is_flag=True,
    help="With --schedules: the bank writes statements, which are imported, searched and reconciled.",
)
@click.option(
    "--model",
    "is_model",
    is_flag=True,
    help="Instead of worlds: check every reachable state of the state machine.",
)
@click.option("--list-mutants", "is_listing", is_flag=True, help="List the mutants, and exit.")
@as_json
@example("""
settlement-engine simulate --worlds 10000
settlement-engine simulate --world 4711
settlement-engine simulate --mutant silence_is_a_no --worlds 50
settlement-engine simulate --schedules 1000
settlement-engine simulate --schedules 200 --statements
settlement-engine simulate --model
settlement-engine simulate --model --mutant "void on silence"
""")
def simulate(  # noqa: PLR0913 -- each option of the command is an argument
    *,
    worlds: int,
    seed: int,
    jobs: int | None,
    mutant: str | None,
    world: int | None,
    schedules: int | None,
    has_statements: bool,
    is_model: bool,
    is_listing: bool,
    is_json: bool,
) -> None:
    """Test the engine in simulated worlds, and compare the result with the bank's ledger.

    In each world two or three whole engines share one store, and faults occur everywhere: requests and
    answers are lost, late or repeated; the outcome of a commit is unknown; engines are killed, or frozen
    and resumed later; clocks jump; NATS or the database is unreachable. Then the faults stop, and in the end
    our books must agree with the bank's ledger.

    --schedules runs smaller worlds on real PostgreSQL. At each statement and each commit another engine
    may run, or an engine may die; with --statements also inside the import of a statement, the search for
    our payments in it, and a reconciliation. --model checks every state that two engines, a bank and a caller can
    reach.

    Exit code 1 if a guarantee was violated, or if a fault never occurred in 200 worlds or more.
    """
    if is_listing:
        _list_mutants()
        return
    _require_one_mode((world is not None, bool(schedules), is_model), has_statements=has_statements)
    count = jobs or os.cpu_count() or 1
    with termination_interrupts():
        if is_model:
            is_good = check_model(mutant or "", is_json=is_json)
        elif schedules:
            _require_no_mutant(mutant)
            seeds = range(seed, seed + schedules)
            is_good = run_schedules(seeds, count, has_statements=has_statements, is_json=is_json)
        elif world is not None:
            is_good = _replay(world, _known(mutant), is_json=is_json)
        else:
            is_good = _sweep(range(seed, seed + worlds), count, _known(mutant), is_json=is_json)
    if not is_good:
        sys.exit(ExitCode.FAILED)


def _require_one_mode(modes: tuple[bool, bool, bool], *, has_statements: bool) -> None:
    """Refuse several modes at once; only schedules have the option of statements."""
    if sum(modes) > 1:
        message = "give only one of --world, --schedules and --model"
        raise click.UsageError(message)
    _, is_schedules, _ = modes
    if has_statements and not is_schedules:
        message = "--statements works with --schedules only"
        raise click.UsageError(message)


def _list_mutants() -> None:
    from settlement_lab.model.mutations import MUTATIONS
    from settlement_lab.mutants.catalogue import MUTANTS

    say("in worlds:")
    for name, each in MUTANTS.items():
        say(f"  {name}: {each.what}")
    say("in the model:")
    for name in MUTATIONS:
        say(f"  {name}")


def _known(mutant: str | None) -> str:
    from settlement_lab.mutants.catalogue import MUTANTS

    if mutant is not None and mutant not in MUTANTS:
        message = f"there is no mutant {mutant}; list them with --list-mutants"
        raise click.UsageError(message)
    return mutant or ""


def _require_no_mutant(mutant: str | None) -> None:
    if mutant is not None:
        message = "--mutant works with worlds and --model only; mutants of the SQL are in the tests"
        raise click.UsageError(message)


def _replay(seed: int, mutant: str, *, is_json: bool) -> bool:
    from settlement_lab.worlds.sweep import replay

    history = replay(seed, mutant)
    if is_json:
        print_json(_world_as_json(history))
    else:
        for line in history.lines:
            say(line)
        say(
            f"\nworld {seed}: {history.seconds:.0f} virtual seconds, {history.turns:,} turns,"
            f" digest {history.digest}"
        )
        for text in history.violations:
            say(f"  violated: {text}")
        if not history.violations:
            say("every guarantee held")
    return not history.violations


def _sweep(seeds: range, jobs: int, mutant: str, *, is_json: bool) -> bool:
    from settlement_engine.cli.output import progress
    from settlement_lab.worlds.sweep import sweep

    if is_json:
        report = sweep(seeds, jobs=jobs, mutant=mutant)
        print_json(_as_json(report, seeds, mutant))
        return report.is_good
    with progress() as bar:
        task = bar.add_task("worlds", total=len(seeds))
        report = sweep(
            seeds,
            jobs=jobs,
            mutant=mutant,
            tell=lambda so_far: bar.update(task, completed=so_far.worlds),
        )
    _tell(report, mutant)
    return report.is_good


def _tell(report: Report, mutant: str) -> None:
    """Print what was simulated and what was found."""
    rate = report.worlds / max(report.wall_seconds, 0.001)
    hours = report.world_seconds / SECONDS_PER_HOUR
    fired = sum(report.fired.values())
    say(
        f"{report.worlds:,} worlds in {report.wall_seconds:.1f} s ({rate:.1f}/s),"
        f" {hours:,.1f} virtual hours, {report.turns:,} turns"
    )
    ends = ", ".join(f"{count:,} {state}" for state, count in sorted(report.ends.items()))
    say(f"{sum(report.ends.values()):,} settlements: {ends}; {report.debits:,} debits at the bank")
    say(f"{fired:,} faults of {len(report.fired)} kinds:")
    for name, count in sorted(report.fired.items()):
        say(f"  {name:<24} {count:>9,}")
    for name in report.never_fired:
        say(f"this fault never occurred: {name}")
    say(f"{report.violated:,} worlds violated a guarantee")
    for found in report.found[:SHOWN_MAX]:
        _tell_found(found, mutant)
    if report.violated > SHOWN_MAX:
        say(f"all seeds: {' '.join(str(found.seed) for found in report.found)}")


def _tell_found(found: Found, mutant: str) -> None:
    say(f"\nworld {found.seed}:")
    for text in found.violations:
        say(f"  violated: {text}")
    say("  the end of its history:")
    for line in found.lines:
        say(f"  {line}")
    say(f"  reproduce it: {_command(found.seed, mutant)}")


def _command(seed: int, mutant: str) -> str:
    """Return the command that runs a world again."""
    option = f" --mutant {mutant}" if mutant else ""
    return f"settlement-engine simulate --world {seed}{option}"


def _as_json(report: Report, seeds: range, mutant: str) -> dict[str, Any]:
    return {
        "worlds": report.worlds,
        "first_seed": seeds.start,
        "mutant": mutant,
        "violated": report.violated,
        "wall_seconds": round(report.wall_seconds, 3),
        "worlds_per_second": round(report.worlds / max(report.wall_seconds, 0.001), 2),
        "virtual_seconds": round(report.world_seconds, 3),
        "turns": report.turns,
        "settlements": dict(sorted(report.ends.items())),
        "debits": report.debits,
        "faults": dict(sorted(report.fired.items())),
        "never_fired": report.never_fired,
        "found": [
            {
                "seed": found.seed,
                "broken": list(found.violations),
                "replay": _command(found.seed, mutant),
            }
            for found in report.found
        ],
    }


def _world_as_json(history: History) -> dict[str, Any]:
    return {
        "seed": history.seed,
        "broken": history.violations,
        "virtual_seconds": round(history.seconds, 3),
        "turns": history.turns,
        "digest": history.digest,
        "settlements": dict(sorted(history.ends.items())),
        "debits": history.debits,
        "faults": dict(sorted(history.fired.items())),
        "invariant_warnings": dict(sorted(history.invariant_warnings.items())),
        "lines": history.lines,
    }
