"""Cooperative scheduling: long work shares the event loop with all other tasks.

Promises: long work runs in slices, one slice at a time, in first-come order. Between two slices all other tasks
run, and while they are busy the lane stays idle for a multiple of the slice (``idle_ratio``). However many large
bodies are read or long answers are written at once, together they take a bounded share of a busy engine's time,
and a payment waits for one slice at most.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator, Iterable
from typing import Final, TypeAlias, TypeVar

T = TypeVar("T")
ItemT = TypeVar("ItemT")

Steps: TypeAlias = Generator[None, None, T]
"""Work that yields after each step. Small work ends before its first yield."""

SLICE_SECONDS: Final = 0.003
CALLS_IDLE_RATIO: Final = 1.0
"""Reading requests and writing answers takes at most half of a busy engine's time."""

STREAMS_IDLE_RATIO: Final = 2.0
"""Event streams take at most a third: followers can wait longer than calls."""

PART_ITEMS: Final = 100
"""After so many items of a list page other tasks run."""

ROUNDS: Final = 3
"""Iterations of the event loop that other tasks need to get from a finished wait to their next one."""

BUSY_SECONDS: Final = 0.0005
"""When the iterations take longer than this, other tasks are busy."""


class Turns:
    """Runs work in one lane. ``idle_ratio`` is how long the lane idles after a slice, in slice lengths."""

    def __init__(self, idle_ratio: float) -> None:
        self._idle_ratio = idle_ratio
        self._lane = asyncio.Lock()  # fair: acquired in the order of the requests
        self._free_at = 0.0

    async def run(self, steps: Steps[T]) -> T:
        """Do the work to its end; small work is done at once."""
        try:
            next(steps)
        except StopIteration as end:
            return _value(end)
        while True:
            async with self._lane:
                await self._yield_to_others()
                began = time.monotonic()
                until = began + SLICE_SECONDS
                try:
                    while time.monotonic() < until:
                        next(steps)
                except StopIteration as end:
                    return _value(end)
                finally:
                    now = time.monotonic()
                    self._free_at = now + (now - began) * self._idle_ratio

    async def _yield_to_others(self) -> None:
        """Let other tasks run; while they are busy, idle."""
        began = time.monotonic()
        for _ in range(ROUNDS):
            await asyncio.sleep(0)
        now = time.monotonic()
        if now - began > BUSY_SECONDS and now < self._free_at:
            await asyncio.sleep(self._free_at - now)


async def in_parts(items: Iterable[ItemT], write: Callable[[ItemT], T]) -> list[T]:
    """Convert each item of a list page, letting other tasks run in between."""
    written: list[T] = []
    for item in items:
        written.append(write(item))
        if len(written) % PART_ITEMS == 0:
            await asyncio.sleep(0)
    return written


def finish(steps: Steps[T]) -> T:
    """Do the work at once, where no other task is affected."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return _value(end)


def _value(end: StopIteration) -> T:  # type: ignore[type-var]
    """Return the generator's return value; typeshed does not know its type."""
    value: T = end.value
    return value
