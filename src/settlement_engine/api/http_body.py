"""Reading the bodies of requests: each within its bound and its time, all together within theirs.

Promises: a caller who sends slowly, stops, or goes away costs a connection and no more than
``FREE_BYTES``; larger bodies are read one after the other while there is room for them, first come first
served, and what they take is given back when they were answered. Nothing of that is an error of ours.
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
"""A body up to this size is read without asking for room: a single settlement is far smaller."""


class NotRead(Exception):
    """A body that was not read, and what the caller is told."""

    def __init__(self, response: web.Response) -> None:
        super().__init__(response.status)
        self.response = response


class Bodies:
    """Reads the bodies of one port."""

    def __init__(self, bounds: HttpBounds) -> None:
        self._bounds = bounds
        self._room = Room(bounds.body_bytes_max)

    @asynccontextmanager
    async def read(self, request: web.Request, limit: int) -> AsyncIterator[bytes]:
        """Read the body up to ``limit``; the block is its handling, and its end gives the room back.

        Raises NotRead; Overloaded when no room came free in time.
        """
        share = Share(self._room)
        try:
            body = await self._arrived(request, limit, share)
            share.keep(len(body) if len(body) > FREE_BYTES else 0)
            if (connection := connection_of(request)) is not None:
                connection.serve()
            yield body
        finally:
            share.keep(0)

    async def _arrived(self, request: web.Request, limit: int, share: Share) -> bytes:
        """Wait until all of the body is there, and for room where it is larger than it may be without."""
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
            # The request keeps its error, and the error this frame: such a cycle is found late, for
            # bytes count as nothing for the collector.
            parts.clear()


def _bytes_wanted(request: web.Request, limit: int) -> int:
    """Say for how much there must be room: what the headers say, and else as much as there may be."""
    said = request.content_length
    if said is not None and said > limit:
        raise NotRead(too_large(limit))
    return limit if said is None or "Content-Encoding" in request.headers else said


class Room:
    """Counts bytes; who finds too few left waits, and the first to wait is the first to get them."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._left = limit
        self._queue: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, count: int) -> int:
        """Wait until so much is left, and take it; more than there is counts as all."""
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
        """Give back what was taken, and let those go on for whom there is room now."""
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
    """What one request has taken of the room."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self.count = 0

    async def take(self, count: int, seconds: float) -> None:
        """Take so much, or raise Overloaded when it did not come free in time."""
        try:
            async with asyncio.timeout(seconds):
                self.count = await self._room.take(count)
        except TimeoutError:
            what = "too many large requests are being read at once"
            raise Overloaded(what, retry_after_seconds=RETRY_AFTER_SECONDS) from None

    def keep(self, count: int) -> None:
        """Give back all but so much."""
        given = max(self.count - count, 0)
        self.count -= given
        self._room.give(given)
