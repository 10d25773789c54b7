"""One engine of a schedule: the real engine, on connections that can be dropped."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any, Final, Protocol

from settlement_engine.domain.backoff import Backoff
from settlement_engine.engine.service import SettlementService
from settlement_engine.engine.settings import EngineSettings
from settlement_lab.schedules.postgres_books import PostgresBooks
from settlement_lab.schedules.statement_work import StatementWork
from settlement_lab.worlds.loop import Process
from settlement_lab.worlds.node import SkewedClock, UnstableScreening, WarningTally
from settlement_lab.worlds.rail import SimulatedRail

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from settlement_engine.ports import Clock, Ids
    from settlement_lab.schedules.postgres_ground import PostgresGround
    from settlement_lab.schedules.statement_work import StatementsOfSchedule
    from settlement_lab.worlds.chronicle import Chronicle
    from settlement_lab.worlds.faults import Faults
    from settlement_lab.worlds.loop import VirtualLoop
    from settlement_lab.worlds.rail import RailNetwork

LEASE_SECONDS: Final = 16.0
BATCHES: Final = (1, 500)

SETTINGS: Final[dict[str, Any]] = {
    "claim_interval_seconds": 5.0,
    "sweep_interval_seconds": 10.0,
    "look_interval_seconds": 16.0,
    "close_look_seconds": 4.0,
    "lease_seconds": LEASE_SECONDS,
    "heartbeat_seconds": 7.0,
    "watch_interval_seconds": 1_000.0,
    "retry_pause_seconds": 0.5,
    "screening_timeout_seconds": 5.0,
    "windows_refresh_seconds": 10_000.0,
    "admission_timeout_seconds": 8.0,
    "broken_due_seconds": 10.0,
    "inbound_poll_seconds": 9.0,
    "evidence_poll_seconds": 4.0,
    "absent_after_days": 30,  # more than the statements of a schedule reach
    "resend": Backoff(first_seconds=1, max_seconds=15),
    "enquiry": Backoff(first_seconds=1, max_seconds=15),
    "screening": Backoff(first_seconds=1, max_seconds=15),
    "has_real_windows": False,
}


class Surroundings(Protocol):
    """The surroundings of an engine: one database, one bank, one event loop, one random generator."""

    chance: random.Random
    loop: VirtualLoop
    ground: PostgresGround
    chronicle: Chronicle
    faults: Faults
    network: RailNetwork

    @property
    def statements(self) -> StatementsOfSchedule | None:
        """The statements, if the bank of the schedule writes some."""

    @property
    def clock(self) -> Clock:
        """The database's time."""

    @property
    def ids(self) -> Ids:
        """Identifiers that no other schedule uses."""

    def kill(self, engine: ScheduledEngine) -> None:
        """End the process of this engine; another one is started later."""


class ScheduledEngine:
    """See the module."""

    def __init__(self, name: str, schedule: Surroundings) -> None:
        self.process = Process(name)
        self.schedule = schedule
        self.meter = WarningTally()
        self.ended: BaseException | None = None
        self._tasks: list[asyncio.Task[Any]] = []
        self.books = PostgresBooks(schedule.ground, schedule.ids, schedule.faults)
        self.books.points.dies = self._die
        self.books.points.wrote = self._note
        faults = schedule.faults
        rail = SimulatedRail(schedule.network, self.process)
        settings = EngineSettings(
            **SETTINGS,
            move_batch_max=int(faults.pick(BATCHES)),
            intake_batch_max=int(faults.pick(BATCHES)),
            sends_max=int(faults.pick((1, 3))),
        )
        clock = SkewedClock(schedule.clock)
        self.service = SettlementService(
            settings,
            store=self.books.settlements,
            accounts=self.books.accounts,
            stream=self.books.stream,
            registry=self.books.registry,
            rails={rail.name: rail},
            screening=UnstableScreening(schedule.loop, faults),
            inbound=self.books.inbound,
            clock=clock,
            ids=schedule.ids,
            chance=random.Random(schedule.chance.random()),
            meter=self.meter,
        )
        self.statements: StatementWork | None = None
        if schedule.statements is not None:
            self.statements = StatementWork(
                schedule.statements, self.books.points, settings, clock, schedule.ids
            )

    def _die(self) -> None:
        self.schedule.kill(self)

    def _note(self, name: str, rows: list[Any]) -> None:
        results = list(rows[0]["results"]) if name == "apply" else len(rows)
        self.schedule.chronicle.note(f"{self.process.name} {name}: {results}")

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Start a task in this process that nobody waits for."""
        self._tasks.append(self.run(work))

    def run(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run something in this process."""
        return self.schedule.loop.create_task(work, context=self.process.context)

    async def live(self) -> None:
        """Run the engine until the process ends."""
        try:
            await self.service.join()
            await self._work()
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - an engine that ends by itself is a finding
            self.ended = error

    async def _work(self) -> None:
        if self.statements is None:
            await self.service.run()
            return
        async with asyncio.TaskGroup() as group:
            group.create_task(self.service.run())
            group.create_task(self.statements.run())

    def close(self) -> None:
        """Drop all connections, as the server sees the engine's crash."""
        self.books.close()
        if self.statements is not None:
            self.statements.stores.end_session()

    @property
    def engine_id(self) -> int:
        """The engine id; 0 before it has joined."""
        return self.service._lease.engine_id  # noqa: SLF001 - the fault injector may look anywhere
