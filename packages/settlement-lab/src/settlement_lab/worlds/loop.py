"""An event loop with virtual time and without input or output: one seed gives one history.

In each turn the seed chooses one of the callbacks that are ready. When none is ready, the clock jumps to
the next timer. So hours pass in milliseconds, and every order in which tasks may run is tried sooner or
later.

A callback belongs to a *process* of the world, or to none. A process that is stopped (killed or frozen)
runs nothing more, not even a ``finally`` or the clean-up of a cancelled task, as with ``kill -9``. A
frozen process continues later where it stopped: it then acts on an expired lease.

The loop must never have effects outside: sockets, threads and signals are refused, because their results
would come at another time in the next run.
"""

from __future__ import annotations

import asyncio
import heapq
from contextvars import Context, ContextVar, copy_context
from typing import TYPE_CHECKING, Any, Final, TypeVar

from typing_extensions import TypeVarTuple, Unpack, override

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from random import Random

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

TURNS_MAX: Final = 200_000
"""A world that takes more turns is taken to run for ever."""

CLEANUP_TURNS_MAX: Final = 50_000
"""How many turns the tasks of a finished world get in order to end."""

CLEANUP_ROUNDS_MAX: Final = 10
"""A cancelled task may start another one while it ends; that one is ended in the next round."""


class Escaped(AssertionError):
    """The simulated code tried to use a thread, a socket or a signal."""


class Endless(AssertionError):
    """The world does not become quiescent."""


class StuckLoop(AssertionError):
    """Nothing is left to run, and the world has not ended."""


class Process:
    """What is killed or frozen as a whole: all tasks started in it, and the tasks started by them."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_dead = False
        self.is_frozen = False
        self.is_stopped = False
        self.left: list[Any] = []
        self.context = copy_context()
        self.context.run(_PROCESS.set, self)

    def kill(self) -> None:
        """End the process at once: no code of it ever runs again."""
        self.is_dead = self.is_stopped = True

    def freeze(self) -> None:
        """Stop the process, wherever each of its tasks is."""
        self.is_frozen = self.is_stopped = True


_PROCESS: ContextVar[Process | None] = ContextVar("process", default=None)

OUTSIDE: Final = Context()
"""The context of what no engine's crash can stop: the database, the bank, the bus and the networks."""


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop on a clock that only it moves."""

    def __init__(self, chance: Random) -> None:
        super().__init__()
        self._draw = chance.random
        self._now = 0.0
        self._waiting: list[Any] = []
        self._timers: list[tuple[float, int, Any]] = []
        self._count = 0
        self._turns_max = TURNS_MAX
        self.failures: list[BaseException] = []
        self.turns = 0
        self.set_exception_handler(self._note_failure)

    @override
    def time(self) -> float:
        """Return the virtual seconds since the start of the world."""
        return self._now

    def _run_once(self) -> None:
        """Choose one callback for this turn, and run it."""
        waiting = self._waiting
        if not waiting:
            self._jump()
            return
        count = len(waiting)
        if count > 1:
            place = int(self._draw() * count)
            waiting[place], waiting[-1] = waiting[-1], waiting[place]
        handle = waiting.pop()
        if handle._cancelled:  # noqa: SLF001 - an event loop has to read its handles
            return
        process = handle._context.get(_PROCESS)  # noqa: SLF001
        if process is not None and process.is_stopped:
            process.left.append(handle)
            return
        self.turns += 1
        if self.turns > self._turns_max:
            waiting.append(handle)  # its task must be ended in order
            message = f"more than {self._turns_max} turns"
            raise Endless(message)
        handle._run()  # noqa: SLF001

    def _jump(self) -> None:
        """Move the clock to the next timer."""
        timers = self._timers
        while timers:
            at, _, timer = heapq.heappop(timers)
            if not timer._cancelled:  # noqa: SLF001
                self._now = max(self._now, at)
                self._waiting.append(timer)
                break
        else:
            message = "no callback and no timer is left"
            raise StuckLoop(message)
        while timers and timers[0][0] <= self._now:
            self._waiting.append(heapq.heappop(timers)[2])

    @override
    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Set a timer; timers of one instant run in any order."""
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        self._count += 1
        heapq.heappush(self._timers, (when, self._count, timer))
        return timer

    @override
    def call_later(
        self,
        delay: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Set a timer."""
        return self.call_at(self._now + delay, callback, *args, context=context)

    @override
    def call_soon(
        self,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.Handle:
        """Run the callback in one of the next turns."""
        handle = asyncio.Handle(callback, args, self, context)
        self._waiting.append(handle)
        return handle

    def thaw(self, process: Process) -> None:
        """Let a frozen process continue, with everything that was scheduled for it meanwhile."""
        process.is_frozen = False
        process.is_stopped = process.is_dead
        if not process.is_stopped:
            self._waiting.extend(process.left)
            process.left.clear()

    def later(self, seconds: float, call: Callable[..., object], *arguments: object) -> None:
        """Run something after a delay, outside all processes."""
        self.call_at(self._now + seconds, call, *arguments, context=OUTSIDE)

    def _note_failure(self, _loop: object, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.failures.append(error or AssertionError(str(context.get("message"))))

    def _write_to_self(self) -> None:
        """Do nothing: there is one thread, so that nobody has to be woken."""

    def _timer_handle_cancelled(self, _timer: asyncio.TimerHandle) -> None:
        """Do nothing: a cancelled timer is removed when its time comes."""

    def _process_events(self, _events: object) -> None:
        """Do nothing: no events come from outside."""

    def _refuse(self, *_: object, **__: object) -> Any:
        message = "the world is closed: no threads, no sockets, no signals"
        raise Escaped(message)

    run_in_executor = _refuse
    call_soon_threadsafe = _refuse
    create_connection = _refuse
    create_server = _refuse
    create_datagram_endpoint = _refuse
    getaddrinfo = _refuse
    getnameinfo = _refuse
    sock_connect = _refuse
    sock_recv = _refuse
    sock_sendall = _refuse
    add_reader = _refuse
    add_writer = _refuse
    add_signal_handler = _refuse
    subprocess_exec = _refuse
    subprocess_shell = _refuse

    def dispose(self, processes: list[Process]) -> None:
        """End what is left of a finished world; none of it may change the records any more."""
        for process in processes:
            process.is_dead = process.is_frozen = process.is_stopped = False
            self._waiting.extend(process.left)
            process.left.clear()
        self._turns_max = self.turns + CLEANUP_TURNS_MAX
        try:
            for _ in range(CLEANUP_ROUNDS_MAX):
                tasks = asyncio.all_tasks(self)
                if not tasks:
                    break
                for task in tasks:
                    task.cancel()
                self.run_until_complete(_all_done(tasks))
        finally:
            for task in asyncio.all_tasks(self):
                task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001
            self._waiting.clear()
            self._timers.clear()
            self.close()


async def _all_done(tasks: set[asyncio.Task[Any]]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)


def run(loop: VirtualLoop, main: Coroutine[Any, Any, T], processes: list[Process]) -> T:
    """Run a world to its end. ``processes`` is filled with all processes that the world starts."""
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(main)
    finally:
        try:
            loop.dispose(processes)
        finally:
            asyncio.set_event_loop(None)
