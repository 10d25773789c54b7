"""Group commit: whatever has come while the last batch was being written is the next batch.

Promises: nobody waits for company (a single item goes at once), nobody is left behind, and the queue
has a bound. There is no timer: under load batches grow by themselves.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

T = TypeVar("T")


class Batcher(Generic[T]):
    """A bounded queue with one consumer that takes all there is, up to a bound.

    It has two lanes: what finishes begun work goes before what begins new work, so that under a burst
    settlements end one after the other instead of all together at its end.
    """

    def __init__(self, work: Callable[[list[T]], Awaitable[None]], *, batch_max: int) -> None:
        self._work = work
        self._batch_max = batch_max
        self._waiting: deque[T] = deque()
        self._finishing: deque[T] = deque()
        self._arrived = asyncio.Event()
        self._is_busy = False

    def __len__(self) -> int:
        """Count what waits."""
        return len(self._waiting) + len(self._finishing)

    @property
    def is_idle(self) -> bool:
        """Say whether nothing waits and nothing is being written."""
        return not self and not self._is_busy

    def offer(self, items: Iterable[T], *, is_finishing: bool = False) -> None:
        """Put items at the end of a lane. Whoever offers keeps the queue's bound."""
        (self._finishing if is_finishing else self._waiting).extend(items)
        if self:
            self._arrived.set()

    def drain(self) -> list[T]:
        """Take everything out, to give it up."""
        items = [*self._finishing, *self._waiting]
        self._finishing.clear()
        self._waiting.clear()
        return items

    async def run(self) -> None:
        """Work for ever; ``work`` handles its own failures."""
        while True:
            if not self:
                self._arrived.clear()
                await self._arrived.wait()
            batch = self._take()
            self._is_busy = True
            try:
                await self._work(batch)
            finally:
                self._is_busy = False

    def _take(self) -> list[T]:
        batch: list[T] = []
        for lane in (self._finishing, self._waiting):
            size = min(len(lane), self._batch_max - len(batch))
            batch += [lane.popleft() for _ in range(size)]
        return batch


class Doorbell:
    """Wakes everybody who waits for news; rings that nobody waits for are forgotten."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def ring(self) -> None:
        """Wake all who wait now."""
        self._event.set()
        self._event = asyncio.Event()

    async def wait(self, timeout_seconds: float) -> None:
        """Wait for the next ring, at most that long."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._event.wait()
        except TimeoutError:
            return
