"""Reads every page of a list of the engine's API, for the demo and the bench."""

from __future__ import annotations

from typing import Any, Final

PAGE_ITEMS: Final = 1_000
PAGES_MAX: Final = 10_000
"""So many pages are read of a list; more are a fault of the list, and not of its reader."""


async def all_items(call: Any, wanted: Any, name: str, timeout_seconds: float) -> list[Any]:  # noqa: ANN401 -- any list call
    """Return the items of all pages of a list; ``name`` is the field that holds them."""
    found: list[Any] = []
    wanted.page_size = PAGE_ITEMS
    for _ in range(PAGES_MAX):
        page = await call(wanted, timeout=timeout_seconds)
        found += getattr(page, name)
        wanted.page_token = page.next_page_token
        if not page.next_page_token:
            return found
    message = f"a list of {name} has more than {PAGES_MAX:,} pages"
    raise AssertionError(message)
