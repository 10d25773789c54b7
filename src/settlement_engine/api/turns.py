"""Fair turns: large pieces of work share the event loop with everybody else.

Promises: large work is done in slices, one slice at a time, in the order of who waits; between two slices
everybody else has a turn, and where that takes time the loop stays theirs for as long as the rest says.
However many large bodies are read or long answers are written at once, together they take a bounded share of
a busy engine's time, and a payment waits for one slice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator, Iterable
from typing import Final, TypeAlias, TypeVar

T = TypeVar("T")
ItemT = TypeVar("ItemT")

Steps: TypeAlias = Generator[None, None, T]
"""Work that stops after each step. What is small ends before its first stop."""

SLICE_SECONDS: Final = 0.003
CALLS_REST: Final = 1.0
"""Reading calls and writing answers takes half of a busy engine's time at most."""

STREAMS_REST: Final = 2.0
"""Streams of events take a third: whoever follows them can wait, and a call cannot."""

PART_ITEMS: Final = 100
"""After so many items of a page others get their turn."""

ROUNDS: Final = 3
"""So many rounds of the loop bring others from what they waited for to what they do next."""

BUSY_SECONDS: Final = 0.0005
"""Others who take longer for their rounds are at work."""


class Turns:
    """Gives turns to those who share one lane. ``rest`` is how long it rests for others, in slices worked."""

    def __init__(self, rest: float) -> None:
        self._rest = rest
        self._lane = asyncio.Lock()  # it is given in the order of the asking
        self._free_at = 0.0

    async def run(self, steps: Steps[T]) -> T:
        """Do the work to its end; what is small is done at once."""
        try:
            next(steps)
        except StopIteration as end:
            return _value(end)
        while True:
            async with self._lane:
                await self._give_way()
                began = time.monotonic()
                until = began + SLICE_SECONDS
                try:
                    while time.monotonic() < until:
                        next(steps)
                except StopIteration as end:
                    return _value(end)
                finally:
                    now = time.monotonic()
                    self._free_at = now + (now - began) * self._rest

    async def _give_way(self) -> None:
        """Let others have their turn; where they are at work, rest."""
        began = time.monotonic()
        for _ in range(ROUNDS):
            await asyncio.sleep(0)
        now = time.monotonic()
        if now - began > BUSY_SECONDS and now < self._free_at:
            await asyncio.sleep(self._free_at - now)


async def in_parts(items: Iterable[ItemT], write: Callable[[ItemT], T]) -> list[T]:
    """Write each item of a page; however many they are, others get their turn."""
    written: list[T] = []
    for item in items:
        written.append(write(item))
        if len(written) % PART_ITEMS == 0:
            await asyncio.sleep(0)
    return written


def finish(steps: Steps[T]) -> T:
    """Do the work at once, where nobody else waits."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return _value(end)


def _value(end: StopIteration) -> T:  # type: ignore[type-var]
    """Return what the steps returned; typeshed does not know that it is a T."""
    value: T = end.value
    return value
