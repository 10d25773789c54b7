"""Lists that the API returns in pages. A list that is cut off by the limit always says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from settlement_engine.cli.connection import CALL_SECONDS
from settlement_engine.cli.output import busy, say

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE_MAX: Final = 1_000
LIST_MAX: Final = 100_000
"""The maximum length of a list, because it is read completely before it is printed."""


class Listed(NamedTuple):
    """The items that were read, and whether there are more."""

    items: list[Any]
    has_more: bool
    total: int


def limit_option(default: int = 100) -> Callable[[Any], Any]:
    """Give a command ``--limit``."""
    return click.option(
        "--limit",
        type=click.IntRange(1, LIST_MAX),
        default=default,
        show_default=True,
        help="The maximum number of rows.",
    )


def read_pages(call: Any, wanted: Any, limit: int, field: str) -> Listed:  # noqa: ANN401 -- a stub's method and its request
    """Read page after page up to the limit; the items are in ``field`` of each response."""
    found: list[Any] = []
    total = 0
    with busy(f"reading {field}") as tell:
        while True:
            wanted.page_size = min(limit - len(found), PAGE_MAX)
            page = call(wanted, timeout=CALL_SECONDS)
            found += getattr(page, field)
            total = max(total, getattr(page, "total", 0))
            if total:
                wanted.with_total = False  # it is counted once
            wanted.page_token = page.next_page_token
            if not page.next_page_token or len(found) >= limit:
                return Listed(found, bool(page.next_page_token), total)
            tell(f"reading {field}: {len(found):,} so far")


def say_how_much(listed: Listed, nothing: str = "nothing found") -> None:
    """Print a line if the list is empty, or if there are more items than shown."""
    if not listed.items:
        say(nothing)
    elif listed.has_more:
        say(f"{len(listed.items):,} shown, and there are more; see more with --limit")
