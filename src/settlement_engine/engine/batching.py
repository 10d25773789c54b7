"""Group commit: the items that arrive while one batch is written form the next batch.

Promises: a single item is written at once; under load a batch lingers while more items arrive, never longer than
``LINGERS_MAX`` intervals; every item is written. Must never: bound the queue; the caller of ``offer`` does.

Why it lingers under load: a commit is expensive, one more item in it is not. Callers who wait for their results come
back in the batches in which they were answered, so small batches would stay small for ever. It is measured whether
more items arrive: after an interval without a new item the batch is written. When the event loop is busy, an
interval takes longer, and then waiting saves most.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
    from uuid import UUID

    from settlement_engine.engine.settings import EngineSettings
    from settlement_engine.ports import Announcement, Stream

T = TypeVar("T")

LINGERS_MAX: Final = 8
"""The most intervals that a batch lingers, however many items keep arriving."""

SHARES: Final = 2
"""A batch with this part (one half) of all items in flight does not linger: the other part is being written."""


def _nobody() -> int:
    return 0


class Batcher(Generic[T]):
    """A queue whose consumer takes all waiting items, up to ``batch_max``.

    It has two lanes: items that continue begun work go before those that begin new work, so that in a burst
    settlements end one after the other instead of all at its end.

    ``in_flight`` counts the items in flight, those in this queue included. ``workers`` is the number of workers; while
    one works, another one starts only with a full batch. ``batch_linger_seconds`` is the length of a linger interval.
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
        """Count the waiting items."""
        return len(self._waiting) + len(self._finishing)

    @property
    def is_idle(self) -> bool:
        """Say whether nothing waits and nothing is being written."""
        return not self and not self._busy

    def offer(self, items: Iterable[T], *, is_finishing: bool = False) -> None:
        """Append items to a lane. The caller bounds the queue."""
        (self._finishing if is_finishing else self._waiting).extend(items)
        if self:
            self._arrived.set()

    def drain(self) -> list[T]:
        """Remove and return all waiting items."""
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
                continue  # the waiting items were removed meanwhile
            self._busy += 1
            try:
                await self._work(batch)
            finally:
                self._busy -= 1
                self._arrived.set()

    async def _gather(self) -> list[T]:
        """Wait for a batch: while another one is being written, only a full one is worth a commit."""
        while len(self) < (self._batch_max if self._busy else 1):
            self._arrived.clear()
            await self._arrived.wait()
        await self._linger()
        return self._take()

    async def _linger(self) -> None:
        """Linger under load, until an interval passes without a new item."""
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
    """Wakes all tasks that wait at the moment; a notification without waiting tasks has no effect."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def notify(self) -> None:
        """Wake all waiting tasks."""
        self._event.set()
        self._event = asyncio.Event()

    async def wait(self, timeout_seconds: float) -> None:
        """Wait for the next notification, at most that long."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._event.wait()
        except TimeoutError:
            return


async def followed(
    settings: EngineSettings,
    stream: Stream,
    notifier: Notifier,
    after: int,
    settlement_id: UUID | None,
) -> AsyncIterator[Sequence[Announcement]]:
    """Yield the stream's announcements after a position, without end, in bounded batches."""
    position = after
    while True:
        found = await stream.read(position, settings.stream_page_max, settlement_id)
        if found:
            position = found[-1].moved.position
            yield found
        else:
            await notifier.wait(settings.stream_poll_seconds)
