"""Waits for a condition: the only module, outside of ``failure``, ``soak`` and ``e2e``, where real time passes.

A test that waits for a fixed time is slow on a fast machine and fails on a busy one. So a test either runs on a
virtual clock (``jumpingloop``, or the lab's loop) or waits here for what it needs. ``test_tidy`` checks that no
other test calls ``sleep``.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

TIMEOUT_SECONDS = 60.0
LOOK_SECONDS = 0.005
STILL_SECONDS = 0.1
LATE = "it did not happen in time"


async def until(
    truth: Callable[..., Any], what: str = LATE, *, seconds: float = TIMEOUT_SECONDS
) -> Any:
    """Wait until a condition is true, and return its value; the condition may be a coroutine function."""
    deadline = time.monotonic() + seconds
    while True:
        found = truth()
        if inspect.isawaitable(found):
            found = await found
        if found:
            return found
        assert time.monotonic() < deadline, what
        await asyncio.sleep(LOOK_SECONDS)


async def until_still(value: Callable[..., Any]) -> Any:
    """Wait until a value is true and no longer changes, and return it."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    before = None
    while not (now := value()) or now != before:
        assert time.monotonic() < deadline, "it did not come to a standstill in time"
        before = now
        await asyncio.sleep(STILL_SECONDS)
    return now


async def turns(count: int = 100) -> None:
    """Let everything run that is ready, and what it makes ready: no time passes."""
    for _ in range(count):
        await asyncio.sleep(0)


def until_blocking(
    truth: Callable[..., Any], what: str = LATE, *, seconds: float = TIMEOUT_SECONDS
) -> None:
    """Wait until a condition is true, for tests without an event loop."""
    deadline = time.monotonic() + seconds
    while not truth():
        assert time.monotonic() < deadline, what
        time.sleep(LOOK_SECONDS)
