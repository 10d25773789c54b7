"""Engines that crash: each is the real one on the real store, with connections that can be disturbed.

Promises: a crash is like ``kill -9``. The TCP connections end, nothing is handed back, and nothing more
is written, sent or received. All engines of a cluster share one database and one bank.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from settlement_engine.domain.backoff import Backoff
from settlement_engine.engine.service import SettlementService
from settlement_engine.engine.settings import EngineSettings
from settlement_engine.store.accounts import PostgresAccounts
from settlement_engine.store.covers import PostgresCovers
from settlement_engine.store.database import DatabaseSettings, Readers
from settlement_engine.store.inbound import PostgresInbound
from settlement_engine.store.settlements import PostgresSettlements
from settlement_engine.store.stream import PostgresRegistry, PostgresStream
from tests.support.faultproxy import FaultProxy
from tests.support.frailbank import Ear, FrailBank, FrailRail, FrailScreening
from tests.support.stores import CountedIds, WallClock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from settlement_engine.domain.settlement import Instruction, Settlement
    from settlement_engine.ports import (
        Claimed,
        Clock,
        Existing,
        SendRail,
        TransitionCommand,
        TransitionResult,
        Unreadable,
    )
    from settlement_engine.store.database import DatabaseConnection

SOON: Final = Backoff(first_seconds=0.004, max_seconds=0.01)
SETTINGS: Final[dict[str, Any]] = {
    "claim_interval_seconds": 0.004,
    "sweep_interval_seconds": 0.5,
    "look_interval_seconds": 600.0,  # so that a settlement lost from memory is not found again here
    "heartbeat_seconds": 0.5,
    "lease_seconds": 30.0,
    "retry_pause_seconds": 0.004,
    "watch_interval_seconds": 0.02,
    "stream_poll_seconds": 0.05,
    "resend": SOON,
    "enquiry": SOON,
    "screening": SOON,
    "is_queueing": True,
    "admission_timeout_seconds": 20.0,
    "broken_due_seconds": 0.05,
}


class Watch:
    """Is called before an engine writes, and after it has written."""

    def before_admission(
        self, engine: FrailEngine, new: Sequence[tuple[UUID, Instruction]]
    ) -> None:
        """Called before an admission."""

    def before_steps(self, engine: FrailEngine, steps: Sequence[TransitionCommand]) -> None:
        """Called before transitions are applied."""

    def before_call(self, engine: FrailEngine, line: DatabaseConnection) -> None:
        """Called before a claim or a lease renewal is sent."""

    def after_steps(
        self, steps: Sequence[TransitionCommand], outcomes: Sequence[TransitionResult]
    ) -> None:
        """Called after transitions were applied."""


class WatchedSettlements(PostgresSettlements):
    """The real store, with calls to the watch."""

    def __init__(
        self, settings: DatabaseSettings, readers: Readers, engine: FrailEngine, watch: Watch
    ) -> None:
        super().__init__(settings, readers)
        self._engine = engine
        self._watch = watch

    async def admit(
        self, new: Sequence[tuple[UUID, Instruction]], engine_id: int
    ) -> list[Settlement | Existing]:
        """Call the watch, and write."""
        self._watch.before_admission(self._engine, new)
        return await super().admit(new, engine_id)

    async def apply(
        self, steps: Sequence[TransitionCommand], engine_id: int
    ) -> list[TransitionResult]:
        """Call the watch, write, and call it again."""
        self._watch.before_steps(self._engine, steps)
        outcomes = await super().apply(steps, engine_id)
        self._watch.after_steps(steps, outcomes)
        return outcomes

    async def claim(
        self, engine_id: int, limit: int, *, is_sweep: bool = False
    ) -> list[Claimed | Unreadable]:
        """Call the watch, and claim."""
        self._watch.before_call(self._engine, self._claiming)
        return await super().claim(engine_id, limit, is_sweep=is_sweep)


class WatchedRegistry(PostgresRegistry):
    """The real registry, with calls to the watch."""

    def __init__(self, settings: DatabaseSettings, engine: FrailEngine, watch: Watch) -> None:
        super().__init__(settings)
        self._engine = engine
        self._watch = watch

    async def renew(self, engine_id: int, lease_seconds: float) -> bool:
        """Call the watch, and renew."""
        self._watch.before_call(self._engine, self._lease)
        return await super().renew(engine_id, lease_seconds)


class WarningsMeter:
    """A meter that records invariant warnings."""

    def __init__(self) -> None:
        self.kinds: list[str] = []

    def moved(self, *_: object, **__: object) -> None:
        """Ignore."""

    def lanes(self, *_: object) -> None:
        """Nothing."""

    def rail_answered(self, *_: object) -> None:
        """Ignore."""

    def batch(self, *_: object) -> None:
        """Ignore."""

    def invariant_warning(self, kind: str, count: int = 1) -> None:
        """Keep."""
        self.kinds += [kind] * count


class FrailEngine:
    """One engine with connections of its own."""

    def __init__(
        self,
        url: str,
        bank: FrailBank,
        *,
        watch: Watch | None = None,
        clock: Clock | None = None,
        rails: Sequence[SendRail] = (),
        **settings: Any,
    ) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._url = url
        self._watch = watch or Watch()
        self._clock = clock or WallClock()
        self._settings = EngineSettings(**(SETTINGS | settings))
        self.proxy = FaultProxy(parts.hostname, parts.port, random.Random(1))
        self.meter = WarningsMeter()
        self.is_dead = False
        self._ear = Ear()
        self._screening = FrailScreening(bank, self._ear)
        self._rails = rails or (
            FrailRail("prompt", bank, self._ear, currencies=frozenset({"EUR", "CHF", "USD"})),
            FrailRail(
                "hasty",
                bank,
                self._ear,
                currencies=frozenset({"GBP"}),
                overdue_after_seconds=0.0,
            ),
        )
        self._task: asyncio.Task[None] | None = None
        self._closers: list[Callable[[], Any]] = []

    async def start(self) -> FrailEngine:
        """Join and run."""
        await self.proxy.__aenter__()
        database = DatabaseSettings(url=self.proxy.through(self._url), readers_max=1)
        readers = Readers(database)
        store = WatchedSettlements(database, readers, self, self._watch)
        self.accounts = PostgresAccounts(database, readers, CountedIds())
        self.stream = PostgresStream(database, readers)
        inbound = PostgresInbound(database, readers)
        registry = WatchedRegistry(database, self, self._watch)
        covers = PostgresCovers(database)
        for rail in self._rails:
            if isinstance(rail, FrailRail):
                rail.keep_covers(covers)
        self._closers = [
            readers.close,
            store.close,
            self.accounts.close,
            self.stream.close,
            inbound.close,
            covers.close,
            registry._lease.close,
        ]
        self.service = SettlementService(
            self._settings,
            store=store,
            accounts=self.accounts,
            stream=self.stream,
            registry=registry,
            rails={rail.name: rail for rail in self._rails},
            screening=self._screening,
            inbound=inbound,
            clock=self._clock,
            ids=CountedIds(),
            chance=random.Random(1),
            meter=self.meter,
        )
        await self.service.join()
        self._task = asyncio.get_running_loop().create_task(self.service.run())
        return self

    def die(self) -> None:
        """Crash now: nothing more is received or sent."""
        self.is_dead = True
        self._ear.is_deaf = True
        self.proxy.is_refusing = True
        self.proxy.reset_all()
        if self._task is not None:
            self._task.cancel()
        self.service._lease.cancel_tasks()
        self.service._mailbox.drop_all()

    async def keep_dead_letter(self) -> None:
        """Release what the kernel would release after a process's end."""
        if not self.is_dead:
            self.die()
        assert self._task is not None
        await asyncio.gather(self._task, return_exceptions=True)
        for close in self._closers:
            await close()
        self.proxy.close()

    @property
    def is_idle(self) -> bool:
        """Return whether the engine has no work, and no answer is on its way to it."""
        if self._ear.late_words:
            return False
        return self.service._mailbox.is_idle and not self.service._lease._tasks

    def check_alive(self) -> None:
        """Raise the error that ended the engine, unless the test ended it."""
        if self._task is not None and self._task.done() and not self.is_dead:
            self._task.result()
            message = "the engine ended by itself"
            raise AssertionError(message)
