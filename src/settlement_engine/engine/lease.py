"""The lease of this engine: its engine id, its clock, its background tasks.

The engine id is held by a database session and by a lease. Promises: when another engine has declared this one
gone, it takes a new id and discards the settlements in memory; they are claimed again, by itself or by others, with
the event NO_ANSWER. Must never: continue under an id that another engine has declared gone.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from settlement_engine.errors import Broken, Contention, Misconfigured, Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from datetime import datetime

    from settlement_engine.engine.settings import EngineSettings
    from settlement_engine.ports import Clock, EngineRegistry, Meter

log = structlog.get_logger(__name__)

T = TypeVar("T")


class EngineLease:
    """Has the engine id and the database's time."""

    def __init__(
        self, settings: EngineSettings, registry: EngineRegistry, clock: Clock, meter: Meter
    ) -> None:
        self._settings = settings
        self._registry = registry
        self._clock = clock
        self._meter = meter
        self._tasks: set[asyncio.Task[None]] = set()
        self._seen: tuple[datetime, float] | None = None
        self._failure: asyncio.Future[None] | None = None
        self._is_renounced = False
        self._renew_requested = asyncio.Event()
        self._renewed_at = float("-inf")
        self.engine_id = 0

    async def join(self) -> None:
        """Take an engine id; waits for the database without a limit.

        Raises Misconfigured at the start if the database is unsuitable; later that is waited out. The time is
        read first: claimed settlements may have to be decided before anything is written.
        """
        while True:
            try:
                self.saw(await self._registry.now())
                asked_at = self.monotonic()
                self.engine_id = await self._registry.join(self._settings.lease_seconds)
            except (Unavailable, Contention, Broken, Misconfigured) as error:
                if isinstance(error, Misconfigured) and not self.engine_id:
                    raise
                log.warning("database_unreachable", why=error.why or error.what)
                await self.pause()
                continue
            self._renewed_at = asked_at
            log.info("engine_joined", engine_id=self.engine_id)
            return

    def renounce(self) -> None:
        """Take a new id at the next heartbeat: the old one may own settlements unknown here."""
        self._is_renounced = True

    def renew_now(self) -> None:
        """Renew the lease now, to find out whether this engine was declared gone."""
        self._renew_requested.set()

    async def _until_renewal(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.heartbeat_seconds):
                await self._renew_requested.wait()
        self._renew_requested.clear()

    async def run(self, forget: Callable[[], None]) -> None:
        """Renew the lease for ever; ``forget`` is called when this engine was declared gone."""
        while True:
            await self._until_renewal()
            asked_at = self.monotonic()
            try:
                if self._is_renounced:
                    await self._registry.leave(self.engine_id)
                    self._is_renounced = False
                is_alive = await self._registry.renew(self.engine_id, self._settings.lease_seconds)
            except (Unavailable, Contention, Broken):
                self._meter.invariant_warning("heartbeat_missed")
                continue
            if is_alive:
                self._renewed_at = asked_at
            else:
                self._meter.invariant_warning("declared_gone")
                log.warning("engine_declared_gone", engine_id=self.engine_id)
                forget()
                with suppress(Unavailable, Contention, Broken):
                    await self._registry.leave(self.engine_id)  # nobody needs to wait for its lease
                await self.join()

    @property
    def holds_lease(self) -> bool:
        """Say whether no other engine can have claimed this one's settlements.

        If not, settlements that have waited here may belong to another engine by now. A process that was
        suspended a moment ago may still be wrong.
        """
        return self.monotonic() - self._renewed_at < self._settings.lease_seconds

    async def leave(self) -> None:
        """Give the engine id back."""
        if self.engine_id:
            await self._registry.leave(self.engine_id)

    # --- time -----------------------------------------------------------------------------------

    def monotonic(self) -> float:
        """Return monotonic seconds for measuring durations."""
        return asyncio.get_running_loop().time()

    def saw(self, at: datetime) -> None:
        """Remember the database's time."""
        self._seen = (at, self.monotonic())

    def now(self) -> datetime:
        """Return the database's time, as estimated: our own clock may be wrong or jump."""
        if self._seen is None:
            return self._clock.now()
        at, then = self._seen
        return at + timedelta(seconds=self.monotonic() - then)

    async def pause(self) -> None:
        """Wait a little before a retry."""
        await asyncio.sleep(self._settings.retry_pause_seconds)

    async def until_reached(self, call: Callable[[], Awaitable[T]]) -> T:
        """Repeat a call until the database answers."""
        while True:
            try:
                return await call()
            except (Unavailable, Contention):
                await self.pause()

    # --- background -----------------------------------------------------------------------------

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Start a background task; its failure is the engine's failure."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or task.exception() is None:
            return
        error = task.exception()
        log.error("background_task_failed", error=repr(error), exc_info=error)
        if self._failure is not None and not self._failure.done():
            assert error is not None
            self._failure.set_exception(error)

    async def watch_tasks(self) -> None:
        """Raise when a background task has failed, so that a bug is noticed."""
        self._failure = asyncio.get_running_loop().create_future()
        await self._failure

    def cancel_tasks(self) -> None:
        """Cancel the background tasks."""
        for task in list(self._tasks):
            task.cancel()
