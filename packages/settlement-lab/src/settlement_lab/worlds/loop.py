"""A loop without time and without an outside: one seed, one history.

Of all callbacks that could run, the seed chooses one a turn; when none can, the clock jumps to the next
timer. So hours pass in milliseconds, and every order in which tasks may run is tried sooner or later.

What runs belongs to a *process* of the world, or to none. A process that is stopped (killed or frozen) runs
nothing more: no ``finally``, no cancelled task says good-bye, as with ``kill -9``. A frozen one goes on where
it was: that is a zombie.

The loop must never let anything out: sockets, threads and signals are refused, because what comes back from
outside comes at another time in the next run.
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
"""A world that takes more turns does not come to rest."""

BURIAL_TURNS_MAX: Final = 50_000
"""So many turns are left to the tasks of a world that is over, to end."""

BURIAL_ROUNDS_MAX: Final = 10
"""What is cancelled may begin something more on its way out; that is ended in the next round."""


class Escaped(AssertionError):
    """Something in the world wanted to leave it."""


class Endless(AssertionError):
    """The world does not come to rest."""


class Stuck(AssertionError):
    """Nothing can happen any more, and the world has not ended."""


class Process:
    """What is killed or frozen as a whole: all tasks that were begun in it, and theirs."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_dead = False
        self.is_frozen = False
        self.is_stopped = False
        self.left: list[Any] = []
        self.context = copy_context()
        self.context.run(_PROCESS.set, self)

    def kill(self) -> None:
        """End it at once: nothing of it ever runs again."""
        self.is_dead = self.is_stopped = True

    def freeze(self) -> None:
        """Let it stand still, wherever each of its tasks is."""
        self.is_frozen = self.is_stopped = True


_PROCESS: ContextVar[Process | None] = ContextVar("process", default=None)

OUTSIDE: Final = Context()
"""Where runs what no engine's death can stop: the database, the bank, the bus, the roads between them."""


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
        """Return the virtual seconds since the beginning of the world."""
        return self._now

    def _run_once(self) -> None:
        """Choose what happens in this turn, and let it happen."""
        waiting = self._waiting
        if not waiting:
            self._jump()
            return
        count = len(waiting)
        if count > 1:
            place = int(self._draw() * count)
            waiting[place], waiting[-1] = waiting[-1], waiting[place]
        handle = waiting.pop()
        if handle._cancelled:  # noqa: SLF001 - a loop is what handles are made for
            return
        process = handle._context.get(_PROCESS)  # noqa: SLF001
        if process is not None and process.is_stopped:
            process.left.append(handle)
            return
        self.turns += 1
        if self.turns > self._turns_max:
            waiting.append(handle)  # its task has to be ended in an orderly way
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
            raise Stuck(message)
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
        """Set a timer; those of one instant come in any order."""
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
        """Let it run in one of the next turns."""
        handle = asyncio.Handle(callback, args, self, context)
        self._waiting.append(handle)
        return handle

    def thaw(self, process: Process) -> None:
        """Let a frozen process go on with all that came for it meanwhile."""
        process.is_frozen = False
        process.is_stopped = process.is_dead
        if not process.is_stopped:
            self._waiting.extend(process.left)
            process.left.clear()

    def later(self, seconds: float, call: Callable[..., object], *arguments: object) -> None:
        """Let something happen in the world, outside all processes."""
        self.call_at(self._now + seconds, call, *arguments, context=OUTSIDE)

    def _note_failure(self, _loop: object, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.failures.append(error or AssertionError(str(context.get("message"))))

    def _write_to_self(self) -> None:
        """Nobody has to be woken: there is one thread."""

    def _timer_handle_cancelled(self, _timer: asyncio.TimerHandle) -> None:
        """Leave it: cancelled timers fall out when their time comes."""

    def _process_events(self, _events: object) -> None:
        """Nothing comes from outside."""

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
        """End what is left of a world that is over; nothing of it may reach the books any more."""
        for process in processes:
            process.is_dead = process.is_frozen = process.is_stopped = False
            self._waiting.extend(process.left)
            process.left.clear()
        self._turns_max = self.turns + BURIAL_TURNS_MAX
        try:
            for _ in range(BURIAL_ROUNDS_MAX):
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
    """Run a world to its end. ``processes`` names all that it has made by then."""
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(main)
    finally:
        try:
            loop.dispose(processes)
        finally:
            asyncio.set_event_loop(None)
