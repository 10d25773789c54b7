"""The output of commands: lines, tables and progress bars for people, JSON for programs.

Promises: a pipe gets plain text without colors; ``--json`` prints JSON and nothing else on standard output.
Invisible characters in texts of others are shown as their codes, in JSON as JSON escapes.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from functools import cache
from inspect import cleandoc
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
"""The maximum width of a table. Identifiers must not be cut off, so the terminal may wrap lines."""


@cache
def console() -> Console:
    """Return the console for people. The library rich is imported at the first output only."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True)


def say(text: str = "") -> None:
    """Print a line at once; invisible characters are shown as their codes."""
    click.echo(shown(text))


def mark(sign: str, text: str) -> None:
    """Print a line that begins with a colored sign."""
    say_styled(f"[{COLORS[sign]}]{sign}[/] ", text)


def say_styled(markup: str, text: str = "") -> None:
    """Print our own markup, followed by literal text."""
    from rich.markup import escape

    console().print(markup + escape(shown(text)))


def print_json(value: object) -> None:
    """Print one JSON value."""
    click.echo(shown(json.dumps(value, indent=2, ensure_ascii=False, default=str)))


def print_json_line(value: object) -> None:
    """Print one JSON value on one line, for streams."""
    click.echo(shown(json.dumps(value, ensure_ascii=False, default=str)))


def note(text: str) -> None:
    """Print a line on standard error, beside the result."""
    click.echo(shown(text), err=True)


def note_json(value: object) -> None:
    """Print one JSON value on standard error: what a program needs before there is a result."""
    click.echo(shown(json.dumps(value, ensure_ascii=False, default=str)), err=True)


def table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[str] = ()
) -> None:
    """Print a table; the columns named in ``right`` are aligned to the right."""
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
    """Make a progress bar; without a terminal it prints nothing."""
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
    """Show on a terminal what is being done; the yielded function changes the text.

    Without a terminal it prints nothing.
    """
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
        # The examples are not indented, so click could not take the indentation of the text before them away.
        said = cleandoc(function.__doc__ or "")
        function.__doc__ = f"{said}\n\n\b\nExamples:\n{lines}\n"
        return function

    return add
