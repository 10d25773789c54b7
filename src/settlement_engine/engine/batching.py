"""Group commit: whatever has come while the last batch was being written is the next batch.

Promises: who is alone goes at once; in a crowd a batch waits while others keep coming, never longer than
``LINGERS_MAX`` gaps; nobody is left behind, and whoever offers keeps the queue's bound.

Why a crowd waits at all: a commit costs much and one more in it hardly anything, and callers who wait for
their ends come back in the batches in which they were answered, so that small batches stay small for ever.
Whether others come is seen, not guessed: after a gap in which nobody came there is nothing to wait for. When
the event loop is busy its next turn comes late, and that is when the wait is longest and worth most.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

T = TypeVar("T")

LINGERS_MAX: Final = 8
"""A batch waits no longer than so many gaps, however many keep coming."""

SHARES: Final = 2
"""When one of so many shares of the crowd is there, it goes: the others are elsewhere, being written."""


def _nobody() -> int:
    return 0


class Batcher(Generic[T]):
    """A bounded queue with a consumer that takes all there is, up to a bound.

    It has two lanes: what finishes begun work goes before what begins new work, so that under a burst
    settlements end one after the other instead of all together at its end.

    ``in_flight`` counts who is under way and may come here soon, those who wait here included. ``workers`` is how
    many batches may be worked on at once; beside another one only a full batch is begun.
    """

    def __init__(
        self,
        work: Callable[[list[T]], Awaitable[None]],
        *,
        batch_max: int,
        batch_linger_seconds: float = 0.0,
        in_flight: Callable[[], int] = _nobody,
        workers: int = 1,
    ) -> None:
        self._work = work
        self._batch_max = batch_max
        self._batch_linger_seconds = batch_linger_seconds
        self._in_flight = in_flight
        self._workers = workers
        self._waiting: deque[T] = deque()
        self._finishing: deque[T] = deque()
        self._arrived = asyncio.Event()
        self._turn = asyncio.Lock()
        self._busy = 0

    def __len__(self) -> int:
        """Count what waits."""
        return len(self._waiting) + len(self._finishing)

    @property
    def is_idle(self) -> bool:
        """Say whether nothing waits and nothing is being written."""
        return not self and not self._busy

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
        async with asyncio.TaskGroup() as group:
            for _ in range(self._workers):
                group.create_task(self._serve())

    async def _serve(self) -> None:
        while True:
            async with self._turn:
                batch = await self._gather()
            if not batch:
                continue  # what waited was given up meanwhile
            self._busy += 1
            try:
                await self._work(batch)
            finally:
                self._busy -= 1
                self._arrived.set()

    async def _gather(self) -> list[T]:
        """Wait for a batch: beside one that is being written only a full one is worth a commit."""
        while len(self) < (self._batch_max if self._busy else 1):
            self._arrived.clear()
            await self._arrived.wait()
        await self._linger()
        return self._take()

    async def _linger(self) -> None:
        """In a crowd, let those come who are near; when nobody came in a gap, go."""
        if not self._batch_linger_seconds:
            return
        enough = min(self._in_flight() // SHARES, self._batch_max)
        for _ in range(LINGERS_MAX):
            count = len(self)
            if count >= enough:
                return
            await asyncio.sleep(self._batch_linger_seconds)
            if len(self) == count:
                return

    def _take(self) -> list[T]:
        batch: list[T] = []
        for lane in (self._finishing, self._waiting):
            size = min(len(lane), self._batch_max - len(batch))
            batch += [lane.popleft() for _ in range(size)]
        return batch


class Notifier:
    """Wakes everybody who waits for news; rings that nobody waits for are forgotten."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def notify(self) -> None:
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
