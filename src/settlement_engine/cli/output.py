"""How commands speak: lines, tables and progress for people, JSON for programs.

Promises: tables and bars only make a terminal prettier; a pipe gets plain text without colors, and
``--json`` gets JSON and nothing else on standard output. What others wrote cannot hide anything: characters
that nobody sees are shown as their codes, in JSON as JSON writes them.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import click

from settlement_engine.domain.readable import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from rich.console import Console
    from rich.progress import Progress

as_json: Final = click.option("--json", "is_json", is_flag=True, help="Print JSON.")

GOOD: Final = "✓"
WARN: Final = "!"
BAD: Final = "✗"
COLORS: Final = {GOOD: "green", WARN: "yellow", BAD: "red"}
WIDTH_MAX: Final = 1_000
"""How wide a table may be: an identifier that is cut off helps nobody, so that lines may wrap."""


@cache
def console() -> Console:
    """Return where people read. rich is imported by the first who speaks."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True)


def say(text: str = "") -> None:
    """Print a line at once; what nobody would see in it is shown as its code."""
    click.echo(shown(text))


def mark(sign: str, text: str) -> None:
    """Print a line that begins with a colored sign."""
    say_styled(f"[{COLORS[sign]}]{sign}[/] ", text)


def say_styled(markup: str, text: str = "") -> None:
    """Print markup of ours, followed by text that is taken literally."""
    from rich.markup import escape

    console().print(markup + escape(shown(text)))


def print_json(value: object) -> None:
    """Print one JSON value."""
    click.echo(shown(json.dumps(value, indent=2, ensure_ascii=False, default=str)))


def print_json_line(value: object) -> None:
    """Print one JSON value on one line, for streams."""
    click.echo(shown(json.dumps(value, ensure_ascii=False, default=str)))


def note(text: str) -> None:
    """Print a line beside the answer, for whoever watches."""
    click.echo(shown(text), err=True)


def note_json(value: object) -> None:
    """Print one JSON value beside the answer: what a program wants to know before there is one."""
    click.echo(shown(json.dumps(value, ensure_ascii=False, default=str)), err=True)


def table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[str] = ()
) -> None:
    """Print a table; the columns named in ``right`` are numbers."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        side: Any = "right" if column in right else "left"
        drawn.add_column(column, justify=side, no_wrap=True)
    for row in rows:
        drawn.add_row(*(Text(shown(cell)) for cell in row))
    Console(highlight=False, width=WIDTH_MAX).print(drawn, crop=False)


def progress() -> Progress:
    """Make a progress bar; where there is no terminal it stays silent."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        console=console(),
        disable=not console().is_terminal,
        transient=True,
    )


@contextmanager
def busy(text: str) -> Iterator[Callable[[str], None]]:
    """Tell a terminal what takes its time; what is yielded changes the text. Anywhere else it is silent."""
    if not console().is_terminal:
        yield lambda _: None
        return
    with console().status(text) as shown:
        yield shown.update


def counted(number: int, noun: str, plural: str = "") -> str:
    """Write a number with its noun."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def example(text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    r"""Add examples to a command's help."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        lines = "\n".join(f"  {line}" for line in text.strip().splitlines())
        function.__doc__ = f"{function.__doc__}\n\n\b\nExamples:\n{lines}\n"
        return function

    return add
