"""Fair turns: large pieces of work share the event loop with everybody else.

Promises: large work is done in slices, one slice at a time, in the order of who waits; between two slices the
loop belongs to others for as long as the rest says. However many large bodies are read or long answers are
written at once, together they take a bounded share of the engine's time, and a payment waits for one slice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from typing import Final, TypeAlias, TypeVar

T = TypeVar("T")

Steps: TypeAlias = Generator[None, None, T]
"""Work that stops after each step. What is small ends before its first stop."""

SLICE_SECONDS: Final = 0.003
CALLS_REST: Final = 1.0
"""Reading calls and writing answers takes half of the time at most."""

STREAMS_REST: Final = 2.0
"""Streams of events take a third: whoever follows them can wait, and a call cannot."""


class Turns:
    """Gives turns to those who share one lane. ``rest`` is how long the lane rests, in slices worked."""

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
                await asyncio.sleep(max(self._free_at - time.monotonic(), 0.0))
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
