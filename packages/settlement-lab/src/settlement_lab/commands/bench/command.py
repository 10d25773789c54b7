"""The command ``bench``."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from settlement_engine import __version__
from settlement_engine.app.development.data_dir import make_data_dir
from settlement_engine.cli.commands import lasting
from settlement_engine.cli.development.command import DATA_DIR
from settlement_engine.cli.failures import ExitCode
from settlement_engine.cli.interruption import termination_interrupts
from settlement_engine.cli.output import as_json, example, print_json, say, table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SECONDS: Final = 10.0
QUICK_SECONDS: Final = 2.0
ENGINES_MAX: Final = 16
SPREADS: Final = ("hot", "many", "zipf")


@lasting
@click.command()
@click.option(
    "--scenario",
    "scenarios",
    multiple=True,
    metavar="NAME",
    help="Measure only this scenario; may be repeated. List them with --list.",
)
@click.option(
    "--accounts",
    "spreads",
    type=click.Choice(SPREADS),
    multiple=True,
    help="The load on accounts: one (hot), a thousand evenly (many), or zipf; may be repeated.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0.1, 3_600),
    help=f"How long each load lasts [default: {SECONDS:g}, quick {QUICK_SECONDS:g}].",
)
@click.option("--quick", is_flag=True, help="Only the most important scenarios; a few minutes.")
@click.option(
    "--engines",
    type=click.IntRange(1, ENGINES_MAX),
    default=1,
    show_default=True,
    help="How many engine processes share the work.",
)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=DATA_DIR,
    show_default=True,
    help="The parent of its data directory, which is removed at the end.",
)
@click.option("--all", "is_all", is_flag=True, help="All scenarios except growth-long and soak.")
@click.option("--markdown", "is_markdown", is_flag=True, help="Print the tables as Markdown.")
@click.option("--list", "is_listing", is_flag=True, help="List the scenarios, and exit.")
@as_json
@example("""
settlement-engine bench --quick
settlement-engine bench --scenario batch --accounts many --accounts hot --seconds 60
settlement-engine bench --scenario recovery --json
settlement-engine bench --all --seconds 60 --accounts many --accounts hot --markdown
""")
def bench(  # noqa: PLR0913 -- each option of the command is an argument
    *,
    scenarios: tuple[str, ...],
    spreads: tuple[str, ...],
    seconds: float | None,
    quick: bool,
    engines: int,
    data_dir: Path,
    is_all: bool,
    is_markdown: bool,
    is_listing: bool,
    is_json: bool,
) -> int:
    """Measure the throughput of the engine on this machine, next to the limit of the database."""
    from settlement_lab.commands.bench.sequence import BenchSequence, all_scenarios, known_scenarios

    if is_listing:
        for name, what in known_scenarios():
            say(f"{name:<14} {what}")
        return ExitCode.OK
    _refuse_unknown(scenarios, [name for name, _ in known_scenarios()])
    course = BenchSequence(
        scenarios=all_scenarios() if is_all else scenarios,
        spreads=spreads,
        seconds=seconds or (QUICK_SECONDS if quick else SECONDS),
        is_quick=quick,
        engines=engines,
        tell=_silent if is_json or is_markdown else say,
    )
    if not is_json and not is_markdown:
        say(f"settlement {__version__} · bench")
    with termination_interrupts(), _fresh_directory(data_dir.absolute()) as place:
        course.run(place)
    if is_json:
        print_json(course.document())
    elif is_markdown:
        course.print_markdown(say)
    else:
        course.print(table, say)
    return ExitCode.FAILED if course.has_faults else ExitCode.OK


def _refuse_unknown(scenarios: Sequence[str], known: Sequence[str]) -> None:
    for name in scenarios:
        if name not in known:
            message = f"there is no scenario {name}; choose one of: {', '.join(known)}"
            raise click.UsageError(message)


def _silent(_text: str = "") -> None:
    pass


@contextmanager
def _fresh_directory(data_dir: Path) -> Iterator[Path]:
    make_data_dir(data_dir)
    path = Path(tempfile.mkdtemp(prefix="bench-", dir=data_dir))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
