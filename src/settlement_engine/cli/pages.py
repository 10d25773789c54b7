"""Lists that come in pages: read as far as is wanted, and never cut off in silence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from settlement_engine.cli.connection import CALL_SECONDS
from settlement_engine.cli.output import busy, say

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE_MAX: Final = 1_000
LIST_MAX: Final = 100_000
"""No list is longer: it is read as a whole before it is printed."""


class Listed(NamedTuple):
    """What was read, and whether there is more of it."""

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
        help="How many at most.",
    )


def read_pages(call: Any, wanted: Any, limit: int, field: str) -> Listed:  # noqa: ANN401 -- a stub's method and its request
    """Ask for page after page, up to the limit; ``field`` of each answer holds the items."""
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
    """Say when there is nothing, or more than is shown."""
    if not listed.items:
        say(nothing)
    elif listed.has_more:
        say(f"{len(listed.items):,} are shown, and there are more; --limit shows more")
