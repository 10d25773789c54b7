"""Reads the bodies of requests: each within its size and time limit, all together within a memory limit.

Promises: a caller that sends slowly, stops, or disconnects costs a connection and no more than
``FREE_BYTES`` of memory. Larger bodies reserve memory first, in the order of their arrival, and return it
when they are answered. None of these cases is reported as an error of the engine.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from aiohttp import web

from settlement_engine.api.call import RETRY_AFTER_SECONDS
from settlement_engine.api.http_answers import broken_off, too_large, too_slow
from settlement_engine.api.http_connections import connection_of
from settlement_engine.errors import Overloaded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from settlement_engine.api.settings import HttpBounds

FREE_BYTES: Final = 16 * 1024
"""A body up to this size needs no reservation: a single settlement is far smaller."""


class NotRead(Exception):
    """A body that was not read, and the response to the caller."""

    def __init__(self, response: web.Response) -> None:
        super().__init__(response.status)
        self.response = response


class Bodies:
    """Reads the bodies of one port within their limits."""

    def __init__(self, bounds: HttpBounds) -> None:
        self._bounds = bounds
        self._budget = BodyBudget(bounds.body_bytes_max)

    @asynccontextmanager
    async def read(self, request: web.Request, limit: int) -> AsyncIterator[bytes]:
        """Read the body up to ``limit`` bytes; leaving the block returns the reserved memory.

        Raises NotRead; Overloaded when not enough memory became free in time.
        """
        share = Share(self._budget)
        try:
            body = await self._arrived(request, limit, share)
            share.keep(len(body) if len(body) > FREE_BYTES else 0)
            if (connection := connection_of(request)) is not None:
                connection.serve()
            yield body
        finally:
            share.keep(0)

    async def _arrived(self, request: web.Request, limit: int, share: Share) -> bytes:
        """Wait for the whole body; above ``FREE_BYTES``, first wait for a memory reservation."""
        wanted = _bytes_wanted(request, limit)
        loop, seconds = asyncio.get_running_loop(), self._bounds.body_seconds
        scope = asyncio.timeout(seconds)
        parts: list[bytes] = []
        size = 0
        try:
            async with scope:
                async for part in request.content.iter_any():
                    parts.append(part)
                    size += len(part)
                    del part
                    if size > limit:
                        raise NotRead(too_large(limit))
                    if size > FREE_BYTES and not share.count:
                        scope.reschedule(None)
                        await share.take(wanted, seconds)
                        scope.reschedule(loop.time() + seconds)
            return b"".join(parts)
        except (OSError, web.RequestPayloadError) as error:
            if scope.expired():
                raise NotRead(too_slow(seconds)) from None
            raise NotRead(broken_off()) from error
        finally:
            # The request keeps its error, and the error keeps this frame. The garbage collector finds such
            # a cycle late, because it does not count bytes: so the parts are released here.
            parts.clear()


def _bytes_wanted(request: web.Request, limit: int) -> int:
    """Return how many bytes to reserve: the declared length, or the limit when none is declared."""
    said = request.content_length
    if said is not None and said > limit:
        raise NotRead(too_large(limit))
    return limit if said is None or "Content-Encoding" in request.headers else said


class BodyBudget:
    """A memory budget in bytes; requests that exceed what is left wait in order (first in, first out)."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._left = limit
        self._queue: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, count: int) -> int:
        """Reserve ``count`` bytes, waiting until they are free; more than the budget counts as all of it."""
        count = min(count, self._limit)
        if not self._queue and count <= self._left:
            self._left -= count
            return count
        turn = asyncio.get_running_loop().create_future()
        self._queue.append((count, turn))
        try:
            await turn
        except asyncio.CancelledError:
            self.give(0 if turn.cancelled() else count)
            raise
        return count

    def give(self, count: int) -> None:
        """Return reserved bytes, and resume waiting requests that fit now."""
        self._left += count
        while self._queue:
            wanted, turn = self._queue[0]
            if not turn.cancelled() and wanted > self._left:
                return
            self._queue.popleft()
            if not turn.cancelled():
                self._left -= wanted
                turn.set_result(None)


class Share:
    """The bytes that one request has reserved."""

    def __init__(self, budget: BodyBudget) -> None:
        self._budget = budget
        self.count = 0

    async def take(self, count: int, seconds: float) -> None:
        """Reserve bytes, or raise Overloaded when they did not become free within ``seconds``."""
        try:
            async with asyncio.timeout(seconds):
                self.count = await self._budget.take(count)
        except TimeoutError:
            what = "too many large requests are being read at once"
            raise Overloaded(what, retry_after_seconds=RETRY_AFTER_SECONDS) from None

    def keep(self, count: int) -> None:
        """Return all reserved bytes except ``count``."""
        given = max(self.count - count, 0)
        self.count -= given
        self._budget.give(given)
