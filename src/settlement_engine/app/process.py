"""The lifecycle of one engine process: start, run, drain, end.

Promises: the engine registers and recovers open settlements before it listens; at a stop signal it drains
before it exits; a background task that ends by itself ends the process, so that no half of it keeps running.
"""

from __future__ import annotations

import asyncio
import gc
import signal
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog
import uvloop

from settlement_engine.api.server import GrpcServer
from settlement_engine.app.application import Application
from settlement_engine.app.http import HttpPorts
from settlement_engine.domain.announcement import waiting
from settlement_engine.errors import SettlementEngineError, Unavailable
from settlement_engine.monitoring import logs
from settlement_engine.monitoring.health import HealthBoard
from settlement_engine.monitoring.stuck import StuckWatch
from settlement_engine.store.environment import (
    environment_of,
    mark_environment,
    require_environment,
)
from settlement_engine.store.migrate import migrate, require_head
from settlement_engine.store.safety import require_safety

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from settlement_engine.config import Config

CALLS_GRACE_SECONDS: Final = 2.0
BACKLOG_MAX: Final = 1_000_000
REMOVE_EVERY_SECONDS: Final = 60.0
REMOVED_AT_ONCE_MAX: Final = 1_000
RECORD_EVERY_SECONDS: Final = 60.0
NEW_OBJECTS_MAX: Final = 200_000
"""The garbage collector's threshold of new objects. A batch creates thousands of objects, and hardly any is in a
cycle: with Python's default, 700, collections take a sixth of the engine's time, and with 10,000 a twelfth, because
most objects of open settlements are still in use when they are looked at."""


log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """The ports on which the engine listens."""

    grpc: int
    http: int
    metrics: int


def run(config: Config, *, on_ready: Callable[[Addresses], None]) -> None:
    """Run one engine on uvloop until it has to stop; see ``run_engine``."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run_engine(config, on_ready=on_ready))


async def run_engine(config: Config, *, on_ready: Callable[[Addresses], None]) -> None:
    """Run one engine until SIGTERM or SIGINT, then drain it.

    Raises Misconfigured or Unavailable when it cannot start.
    """
    layout = config.monitoring.log_format
    logs.configure(config.monitoring.log_level, "console" if layout == "text" else layout)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    application = Application(config)
    await require_safety(application.database)
    environment = environment_of(config.profile)
    await require_environment(application.database, environment)
    if config.database.auto_migrate:
        await migrate(application.database)
    await require_head(application.database)
    await mark_environment(application.database, environment)
    process = EngineProcess(application)
    try:
        await process.start(on_ready)
        await process.until(stopping)
        await process.drain()
    finally:
        await process.end()


class EngineProcess:
    """The servers and background tasks around one Application."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._board = HealthBoard()
        self._stuck = StuckWatch(
            application.finder, application.stuck_limits, application.metrics.show_stuck
        )
        self._grpc = GrpcServer(application.calls, application.api)
        self._http = HttpPorts(
            application,
            self._board,
            metrics_connections_max=application.metrics_connections_max,
        )
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, on_ready: Callable[[Addresses], None]) -> None:
        """Register the engine and recover open settlements first; then listen."""
        application = self._application
        await application.registry.start()
        await application.engine.join()
        application.require_known_currencies()
        self._spawn(application.engine.run())
        inbox = application.statement_inbox()
        if inbox is not None:
            inbox.prepare()
            self._spawn(inbox.run())
        if not application.due_times.is_empty:
            self._spawn(application.statement_watch.run())
        if application.relay is not None:
            self._spawn(application.relay.run())
        if application.clearing is not None:
            self._spawn(application.clearing.run())
        self._add_checks()
        await self._board.refresh()
        monitoring = application.config.monitoring
        self._spawn(self._board.run(min(monitoring.health_check_interval, 5.0)))
        self._spawn(self._measure(monitoring.gauges_interval_seconds))
        if days := application.config.nats.dead_letters_kept_days:
            self._spawn(self._remove_dead_letters(days))
        self._spawn(self._record_balances())
        self._spawn(application.reconciliation_schedule.run())
        self._spawn(application.break_escalator.run())
        self._spawn(application.statement_search.run())
        self._spawn(application.statement_arrivals.run())
        grpc = await self._grpc.start()
        http, metrics = await self._http.start()
        _tune_garbage_collector()
        on_ready(Addresses(grpc=grpc, http=http, metrics=metrics))

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        self._tasks.append(asyncio.get_running_loop().create_task(work))

    def _add_checks(self) -> None:
        application = self._application

        async def database() -> str:
            head = await application.stream.head()
            return f"the stream is at {head}"

        async def events() -> str:
            relay = application.relay
            if relay is None:
                return "NATS is disabled"
            stream, notices = application.stream, application.stream.notices
            backlog = waiting(await stream.published(), await stream.head())
            backlog += waiting((await notices.published())[0], await notices.head())
            if backlog > BACKLOG_MAX:
                what = f"{backlog} events wait for NATS"
                raise Unavailable(what)
            return f"{relay.state}, {backlog} events wait"

        def opening() -> str:
            if not application.engine.is_open:
                raise Unavailable(application.engine.opening)
            return application.engine.opening

        self._board.add("database", database)
        self._board.add("writes", application.probe.look)
        self._board.add_known("sending", opening)

        async def stuck() -> str:
            return self._stuck.text

        self._board.add("events", events)
        self._board.add("stuck", stuck)

    async def _measure(self, interval_seconds: float) -> None:
        """Refresh the gauges periodically; a gauge whose source is unreachable keeps its last value."""
        relay, metrics = self._application.relay, self._application.metrics
        while True:
            metrics.show_refused(relay.refused_seconds if relay is not None else 0.0)
            with suppress(SettlementEngineError):
                await metrics.refresh(self._application.gauges)
            with suppress(SettlementEngineError):
                await self._stuck.refresh()
            await asyncio.sleep(interval_seconds)

    async def _remove_dead_letters(self, days: int) -> None:
        """Delete dead letters some days after they were closed, a batch at a time."""
        while True:
            with suppress(SettlementEngineError):
                count = await self._application.dead_letters.remove_dead_letters(
                    days, REMOVED_AT_ONCE_MAX
                )
                if count:
                    log.info("dead_letters_removed", count=count, ended_days_ago=days)
            await asyncio.sleep(REMOVE_EVERY_SECONDS)

    async def _record_balances(self) -> None:
        """Record the balances of the quarters of an hour that have passed; after a standstill those of many."""
        while True:
            recorded = 0
            with suppress(SettlementEngineError):
                recorded = await self._application.past_balances.record_balances()
            await asyncio.sleep(0 if recorded > 1 else RECORD_EVERY_SECONDS)

    async def until(self, stopping: asyncio.Event) -> None:
        """Wait for the signal; a task that ends earlier has failed, and the process fails with it."""
        signalled = asyncio.create_task(stopping.wait())
        waiting: set[asyncio.Task[bool] | asyncio.Task[None]] = {signalled, *self._tasks}
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if signalled in done:
            return
        signalled.cancel()
        for task in done:
            task.result()
        message = "a part of the engine has stopped unexpectedly"
        raise AssertionError(message)

    async def drain(self) -> None:
        """Accept nothing more, park open settlements, publish what is committed."""
        log.info("draining")
        self._board.drain()
        await self._grpc.drain()
        await self._http.drain()
        is_parked = await self._application.engine.drain()
        await self._grpc.stop(CALLS_GRACE_SECONDS)
        if self._application.clearing is not None:
            await self._application.clearing.stop()
        if self._application.relay is not None:
            await self._application.relay.stop()
        log.info("drained", is_parked=is_parked)

    async def end(self) -> None:
        """Release all resources; settlements still in progress are taken over by the next engine."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # First, because other engines wait for it: callers who hold connections open must not delay it.
        with suppress(SettlementEngineError):
            await self._application.engine.leave()
        await self._grpc.stop(0)
        await self._http.stop()
        await self._application.calls.undisturbed.finished()
        await self._application.close()


def _tune_garbage_collector() -> None:
    """Collect less often, and exclude the objects created at the start from collection for good."""
    gc.collect()
    gc.freeze()
    _, second, third = gc.get_threshold()
    gc.set_threshold(NEW_OBJECTS_MAX, second, third)
