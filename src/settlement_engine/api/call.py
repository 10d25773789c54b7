"""A call, independent of its protocol: caller, deadline, idempotency key, and the limits around its handling.

Promises: work that changes data runs to its end although its caller has disconnected; the number of calls in
progress has a limit. It must never know whether gRPC or HTTP carried the call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, TypeVar

from settlement_engine.api.bounds import SINGLE, ReadBounds
from settlement_engine.errors import Overloaded, Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from google.protobuf.message import Message

T = TypeVar("T")

LOCAL_CALLER: Final = "local"
"""The caller's name where no certificate gives one."""

NOBODYS_NAMES: Final = frozenset({LOCAL_CALLER, "engine", "nobody", "unknown"})
"""Names that the engine uses itself: no person and no certificate may have them."""

KEY_HEADER: Final = "idempotency-key"
"""The name of the metadata entry, and of the HTTP header, that carries an idempotency key."""

ACTOR_HEADER: Final = "settlement-actor"
"""The name of the metadata entry, and of the HTTP header, that names the person who acts."""

RETRY_AFTER_SECONDS: Final = 1.0

UNDISTURBED_SECONDS_MAX: Final = 10.0
"""How long shutdown waits for commits whose callers have disconnected; each statement has a shorter limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What is known of a call. ``deadline_seconds`` is the remaining time; None when there is no deadline.

    ``actor`` is the person that the caller names; it never overrides the name in a certificate.
    """

    caller: str
    deadline_seconds: float | None = None
    idempotency_key: str = ""
    actor: str = ""


Serve: TypeAlias = Callable[[Any, Call], Awaitable[Any]]


class Unary(NamedTuple):
    """A call with one request and one response: the request's type, its handler, and its limits."""

    request: type[Message]
    serve: Serve
    bounds: ReadBounds = SINGLE


Service: TypeAlias = Mapping[str, Unary]
"""The unary calls of a service by their names in the proto."""


class Drain:
    """Ends streams and waits that have no end of their own when the engine has to stop."""

    def __init__(self) -> None:
        self._scopes: set[asyncio.Timeout] = set()
        self._is_begun = False

    def begin(self) -> None:
        """End all bodies of ``until_drained``, those running now and those that start later."""
        if self._is_begun:
            return
        self._is_begun = True
        now = asyncio.get_running_loop().time()
        for scope in self._scopes:
            scope.reschedule(now)

    @asynccontextmanager
    async def until_drained(self) -> AsyncIterator[None]:
        """Run the body; raise Unavailable when draining begins in the meantime."""
        if self._is_begun:
            raise _draining()
        scope = asyncio.timeout(None)
        try:
            async with scope:
                self._scopes.add(scope)
                try:
                    yield
                finally:
                    self._scopes.discard(scope)
        except TimeoutError:
            if scope.expired():
                raise _draining() from None
            raise


def _draining() -> Unavailable:
    return Unavailable("the engine is draining", todo="Connect again to another engine.")


class CallLimit:
    """Counts operations in progress, and refuses further ones at the limit."""

    def __init__(self, what: str, limit: int) -> None:
        self._what = what
        self._limit = limit
        self._count = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def __enter__(self) -> None:
        """Count one more, or raise Overloaded."""
        if self._count >= self._limit:
            what = f"more than {self._limit} {self._what} at once"
            raise Overloaded(what, retry_after_seconds=RETRY_AFTER_SECONDS)
        self._count += 1
        self._idle.clear()

    def __exit__(self, *_: object) -> None:
        """Count one less."""
        self._count -= 1
        if self._count == 0:
            self._idle.set()

    async def idle(self) -> None:
        """Wait until nothing is in progress."""
        await self._idle.wait()


class Undisturbed:
    """Runs work to its end even if its caller has disconnected: a commit is never cancelled."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run the work in a task of its own; cancelling the caller ends the wait, not the work."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    async def finished(self, at_most_seconds: float = UNDISTURBED_SECONDS_MAX) -> bool:
        """Wait for the work in progress, up to a limit; return whether all of it has ended."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + at_most_seconds
        while self._tasks and (left_seconds := deadline - loop.time()) > 0:
            await asyncio.wait(list(self._tasks), timeout=left_seconds)
        return not self._tasks
