"""The call boundary between one engine and the database: all its database calls pass through it.

A call may be slow, may never reach the database, may reach it and lose its answer, or be refused. A call
that has left the process is carried out by the database even if the engine is frozen or dead by then. So
a commit may happen much later than the engine expects, and the guards must handle that.

Behind the boundary is the real store, in memory or PostgreSQL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from settlement_engine.errors import Contention, SettlementEngineError, Unavailable

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Coroutine

    from settlement_lab.worlds.faults import Faults
    from settlement_lab.worlds.loop import Process, VirtualLoop

LOST_SECONDS: Final = (0.2, 1.0)
CUT_SECONDS: Final = (2.0, 10.0, 40.0)
QUICK: Final = (0.001, 0.003)
SLOW: Final = (1.0, 4.0, 12.0)
"""The slowest call takes longer than a lease lasts: it commits after the engine has lost its lease."""

WRITING: Final = frozenset(
    {
        *("admit", "apply", "claim", "reclaim", "join", "renew", "record", "close_reports"),
        *("note", "open_failed", "order"),  # covers
    }
)
"""The calls that change records, so that another engine may be first."""


class CallBoundary:
    """See the module."""

    def __init__(self, loop: VirtualLoop, process: Process, faults: Faults) -> None:
        self._loop = loop
        self._faults = faults
        self.process = process
        self.is_cut = False
        self.is_instant = True
        self.is_over = False
        self.dies: Callable[[], None] = lambda: None
        self.reached: Callable[[str, object], None] = lambda _name, _found: None

    @property
    def is_dead(self) -> bool:
        """Return whether the engine was killed."""
        return self.process.is_dead

    @property
    def is_frozen(self) -> bool:
        """Return whether the engine is frozen."""
        return self.process.is_frozen

    def cut(self) -> None:
        """Interrupt the connection to the database for a while."""
        self.is_cut = True
        self._loop.later(self._faults.seconds(CUT_SECONDS), self._mend)

    def _mend(self) -> None:
        self.is_cut = False

    async def call(self, name: str, call: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """Make one call to the database and return its answer."""
        faults = self._faults
        seconds = faults.seconds(QUICK)
        if faults.happens("database_slow", 0.3):
            seconds += faults.seconds(SLOW)
        reply: asyncio.Future[Any] = self._loop.create_future()
        self._die_perhaps()
        self._loop.later(seconds, self._arrive, name, call, reply)
        return await reply

    def _arrive(
        self, name: str, call: Callable[[], Coroutine[Any, Any, Any]], reply: asyncio.Future[Any]
    ) -> None:
        """Process a call that has arrived at the database."""
        faults = self._faults
        if self.is_over or self.is_cut or faults.happens("commit_never_came", 0.4):
            self._answer_later(reply, Unavailable("simulated: lost before the commit"))
        elif name in WRITING and faults.happens("contention", 0.3):
            self._answer_later(reply, Contention("simulated: another engine was first"))
        elif self.is_instant:
            try:
                self._carried_out(name, reply, finish(call()))
            except SettlementEngineError as error:
                self._answer_later(reply, error)
        else:
            task = self._loop.create_task(self._carry_out(name, call, reply))
            task.add_done_callback(_raise_no_more)

    async def _carry_out(
        self, name: str, call: Callable[[], Awaitable[Any]], reply: asyncio.Future[Any]
    ) -> None:
        try:
            self._carried_out(name, reply, await call())
        except SettlementEngineError as error:
            self._answer_later(reply, error)

    def _carried_out(self, name: str, reply: asyncio.Future[Any], found: object) -> None:
        """Bring the answer back, or lose it."""
        self.reached(name, found)
        self._die_perhaps()
        if self.is_cut or self._faults.happens("commit_answer_lost", 0.4):
            self._answer_later(reply, Unavailable("simulated: lost after the commit"))
        else:
            self._loop.later(self._faults.seconds(QUICK), _answer, reply, found)

    def _answer_later(self, reply: asyncio.Future[Any], error: Exception) -> None:
        self._loop.later(self._faults.seconds(LOST_SECONDS), _answer, reply, error)

    def _die_perhaps(self) -> None:
        """Perhaps kill the engine at the worst moment: next to a commit."""
        if self._faults.happens("crash_in_a_call", 0.02):
            self.dies()


def _answer(reply: asyncio.Future[Any], found: object) -> None:
    if reply.done():
        return  # the caller no longer waits
    if isinstance(found, Exception):
        reply.set_exception(found)
    else:
        reply.set_result(found)


def _raise_no_more(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        error = task.exception()
        assert error is not None
        task.get_loop().call_exception_handler({"message": str(error), "exception": error})


def finish(call: Coroutine[Any, Any, Any]) -> Any:
    """Run a call that never waits to its end."""
    try:
        call.send(None)
    except StopIteration as done:
        return done.value
    call.close()
    message = "the store in memory must not wait"
    raise AssertionError(message)


class Gated:
    """A port of the store, called through the boundary."""

    def __init__(self, port: Any, boundary: CallBoundary) -> None:
        self._port = port
        self._boundary = boundary

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        """Return the port's method, called through the boundary."""
        call = getattr(self._port, name)

        async def through(*arguments: Any, **named: Any) -> Any:
            return await self._boundary.call(name, lambda: call(*arguments, **named))

        object.__setattr__(self, name, through)
        return through
