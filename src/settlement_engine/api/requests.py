"""Waiting for the request messages of gRPC calls.

gRPC waits for a call's message without a limit, and counts the call from its headers on: a caller who opens
calls and sends nothing would lock out others. So calls with one request are handled here as streams of one
request, which is the same on the wire. Promises: a request that does not arrive in time ends its call; when
too many calls wait, the one that has waited longest is ended; a call whose request has arrived is never ended
for this.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from settlement_engine.errors import InvalidInstruction, Unavailable

if TYPE_CHECKING:
    import grpc.aio
    from google.protobuf.message import Message

LOOK_SECONDS: Final = 1.0
"""How often overdue requests are looked for, while any call waits for one."""


class Requests:
    """The calls of one server whose request has not arrived yet."""

    def __init__(self, waiting_max: int, seconds: float) -> None:
        self._waiting_max = waiting_max
        self._seconds = seconds
        self._waiting: dict[_Waiting, None] = {}  # in order: the longest wait comes first
        self._look: asyncio.TimerHandle | None = None

    async def next_of(self, context: grpc.aio.ServicerContext[Any, Message]) -> bytes:
        """Wait for the only request of a call. Raises Unavailable, InvalidInstruction."""
        if len(self._waiting) >= self._waiting_max:
            self._give_up(next(iter(self._waiting)))
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        assert task is not None, "gRPC runs each call in a task of its own"
        waiting = _Waiting(task, loop.time() + self._seconds)
        self._waiting[waiting] = None
        if self._look is None:
            self._look_later(loop)
        try:
            request = await context.read()
        except asyncio.CancelledError:
            if not waiting.is_given_up:
                raise
            task.uncancel()
            what = "the request did not come in time, and nothing was done"
            raise Unavailable(what) from None
        finally:
            self._waiting.pop(waiting, None)
        if not isinstance(request, bytes):
            raise InvalidInstruction([("request", "is missing")])
        return request

    def give_up_all(self) -> None:
        """End all waiting calls."""
        for waiting in list(self._waiting):
            self._give_up(waiting)

    def _give_up(self, waiting: _Waiting) -> None:
        del self._waiting[waiting]
        waiting.is_given_up = True
        waiting.task.cancel()

    def _look_later(self, loop: asyncio.AbstractEventLoop) -> None:
        self._look = loop.call_later(min(LOOK_SECONDS, self._seconds), self._end_overdue, loop)

    def _end_overdue(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        while self._waiting and (oldest := next(iter(self._waiting))).deadline <= now:
            self._give_up(oldest)
        self._look = None
        if self._waiting:
            self._look_later(loop)


class _Waiting:
    """One call that waits."""

    __slots__ = ("deadline", "is_given_up", "task")

    def __init__(self, task: asyncio.Task[Any], deadline: float) -> None:
        self.task = task
        self.deadline = deadline
        self.is_given_up = False
