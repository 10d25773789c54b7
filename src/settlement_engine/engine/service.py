"""The engine as the API uses it (``ports.Engine``), and its start and stop.

Promises: a call writes its instruction and waits; a cancelled one changes nothing. Must never: move money in its task.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog

from settlement_engine.engine.asker import Asker
from settlement_engine.engine.barrier import FailoverBarrier
from settlement_engine.engine.batching import Notifier, followed
from settlement_engine.engine.breaker_control import breaker_control
from settlement_engine.engine.cancelling import Canceller, StoredProof
from settlement_engine.engine.case_worker import CaseWorker, EngineCases
from settlement_engine.engine.decider import Decider
from settlement_engine.engine.directory import Directory
from settlement_engine.engine.dispatch.dispatcher import Dispatcher
from settlement_engine.engine.executor import Executor
from settlement_engine.engine.gate import Gate
from settlement_engine.engine.intake import Intake
from settlement_engine.engine.integrity import Integrity
from settlement_engine.engine.lease import EngineLease
from settlement_engine.engine.listed_banks import listed_banks
from settlement_engine.engine.mailbox import Mailbox
from settlement_engine.engine.message_journal import message_workers
from settlement_engine.engine.router import Router
from settlement_engine.engine.takeover import Takeover
from settlement_engine.engine.unbookable import Unbookable
from settlement_engine.engine.unending import unending
from settlement_engine.engine.waiters import EndWaiters
from settlement_engine.engine.window_calendar import WindowCalendar, keep_window_calendar
from settlement_engine.errors import Contention, Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from random import Random
    from uuid import UUID

    from settlement_engine.domain.settlement import Instruction, Settlement
    from settlement_engine.engine.inbound import InboundWorker
    from settlement_engine.engine.listed_banks import ListedBanks
    from settlement_engine.engine.message_journal import MessageJournal
    from settlement_engine.engine.recaller import Recaller
    from settlement_engine.engine.settings import EngineSettings
    from settlement_engine.ports import (
        AccountStore,
        Announcement,
        BankStore,
        BarrierStore,
        BreakerStore,
        Clock,
        EngineRegistry,
        EventStreamCheck,
        Ids,
        InboundStore,
        MessageStore,
        Meter,
        NoteRead,
        Screening,
        SendRail,
        SettlementStore,
        StaleDatabase,
        Stream,
    )

DRAIN_LOOK_SECONDS: Final = 0.02

log = structlog.get_logger(__name__)


class SettlementService:
    """Built once by ``app``; ``run`` processes settlements until it is cancelled."""

    def __init__(  # noqa: PLR0913 - the ports that the engine stands on
        self,
        settings: EngineSettings,
        *,
        store: SettlementStore,
        accounts: AccountStore,
        stream: Stream,
        registry: EngineRegistry,
        rails: Mapping[str, SendRail],
        screening: Screening,
        inbound: InboundStore,
        clock: Clock,
        ids: Ids,
        chance: Random,
        meter: Meter,
        barrier_store: BarrierStore | None = None,
        stream_check: EventStreamCheck | None = None,
        case_management: EngineCases | None = None,
        messages: MessageStore | None = None,
        banks: BankStore | None = None,
        breaker_orders: BreakerStore | None = None,
        recaller: Recaller | None = None,
    ) -> None:
        self._settings, self._window_calendar = settings, WindowCalendar.of(settings)
        self._store, self._accounts, self._stream = store, accounts, stream
        self.notifier, self.is_draining, self._recaller = Notifier(), False, recaller
        self._lease = EngineLease(settings, registry, clock, meter)
        self._gate = Gate(rails, is_open=barrier_store is None)
        self._waiting, self._directory = EndWaiters(settings, store), Directory(accounts)
        self._unbookable, self._integrity = self._make_guards(case_management, rails, meter)
        self._dispatcher = self._make_dispatcher(rails, meter)
        self.breakers = breaker_control(settings, breaker_orders, rails, self._dispatcher)
        self._listed, self.router, self._decider = self._make_decider(rails, chance, banks)
        self._inbound, self._journal = self._make_message_workers(inbound, messages, rails, meter)
        self._asker = self._make_asker(rails, screening, meter)
        self._mailbox = Mailbox(store, self._asker, self._inbound, self._lease, meter)
        self._executor, self._takeover = self._make_executor(meter), self._make_takeover(meter)
        self._canceller, self._intake = self._make_callers_parts(ids, meter)
        self._barrier = self._make_barrier(barrier_store, stream_check, rails, meter)
        self._case_worker = self._make_case_worker(case_management, rails, meter)

    def _make_guards(
        self, case_management: EngineCases | None, rails: Mapping[str, SendRail], meter: Meter
    ) -> tuple[Unbookable, Integrity]:
        cases = case_management.cases if case_management else None
        unbookable = Unbookable(self._settings, cases, self._lease, meter)
        return unbookable, Integrity(rails, self._lease, meter, cases)

    def _make_message_workers(
        self,
        inbound: InboundStore,
        messages: MessageStore | None,
        rails: Mapping[str, SendRail],
        meter: Meter,
    ) -> tuple[InboundWorker, MessageJournal | None]:
        return message_workers(self._settings, inbound, messages, rails, self._lease, meter)

    def _make_dispatcher(self, rails: Mapping[str, SendRail], meter: Meter) -> Dispatcher:
        return Dispatcher(
            self._settings,
            rails,
            lease=self._lease,
            gate=self._gate,
            meter=meter,
            is_too_late=lambda each: self._decider.is_too_late_to_send(each, self._lease.now()),
        )

    def _make_decider(
        self, rails: Mapping[str, SendRail], chance: Random, banks: BankStore | None
    ) -> tuple[ListedBanks | None, Router, Decider]:
        listed = listed_banks(self._settings, banks, self._lease, rails)
        router = Router(
            rails,
            self._window_calendar,
            has_room=self._dispatcher.has_room,
            is_sending=self._dispatcher.is_sending,
            listed=listed,
            is_free=self._dispatcher.free.is_free,
            is_stopped=self._dispatcher.lanes.is_stopped,
            refusing=self._dispatcher.lanes.refusing_rails(),
        )
        return listed, router, Decider(self._settings, rails, self._directory, router, chance)

    def _make_callers_parts(self, ids: Ids, meter: Meter) -> tuple[Canceller, Intake]:
        needed = self._listed if self._settings.needs_listed_banks else None
        if self._recaller is not None:
            self._recaller.attach(
                store=self._store,
                waiting=self._waiting,
                mailbox=self._mailbox,
                lease=self._lease,
                gate=self._gate,
                integrity=self._integrity,
                calendar=self._window_calendar,
                asker=self._asker,
                dispatcher=self._dispatcher,
            )
        proof = StoredProof(self._store, self._lease, self._gate)
        return Canceller(self._waiting, self._decider, self._mailbox, proof), Intake(
            self._settings, self._store, self._mailbox, self._lease, ids, meter, listed=needed
        )

    def _make_asker(
        self, rails: Mapping[str, SendRail], screening: Screening, meter: Meter
    ) -> Asker:
        return Asker(
            self._settings,
            rails,
            screening,
            lease=self._lease,
            meter=meter,
            gate=self._gate,
            integrity=self._integrity,
            dispatcher=self._dispatcher,
            possible_rails=self.router.possible,
        )

    def _make_executor(self, meter: Meter) -> Executor:
        return Executor(
            self._settings,
            self._store,
            mailbox=self._mailbox,
            lease=self._lease,
            decider=self._decider,
            asker=self._asker,
            integrity=self._integrity,
            waiting=self._waiting,
            notifier=self.notifier,
            inbound=self._inbound,
            meter=meter,
            unbookable=self._unbookable,
            journal=self._journal,
            recaller=self._recaller,
        )

    def _make_takeover(self, meter: Meter) -> Takeover:
        return Takeover(
            self._settings,
            self._store,
            mailbox=self._mailbox,
            decider=self._decider,
            asker=self._asker,
            lease=self._lease,
            meter=meter,
            unbookable=self._unbookable,
        )

    def _make_barrier(
        self,
        barrier_store: BarrierStore | None,
        stream_check: EventStreamCheck | None,
        rails: Mapping[str, SendRail],
        meter: Meter,
    ) -> FailoverBarrier | None:
        """Make the failover barrier; without a record of system epochs the gate is always open."""
        if barrier_store is None:
            return None
        barrier = FailoverBarrier(
            self._settings,
            barrier_store,
            rails=rails,
            gate=self._gate,
            lease=self._lease,
            meter=meter,
            stream_check=stream_check,
        )
        barrier.attach(self._mailbox.hear)
        return barrier

    def _make_case_worker(
        self, case_management: EngineCases | None, rails: Mapping[str, SendRail], meter: Meter
    ) -> CaseWorker | None:
        """Make the case worker, if there is case management."""
        if case_management is None:
            return None
        return CaseWorker(
            self._settings,
            case_management,
            store=self._store,
            rails=rails,
            mailbox=self._mailbox,
            lease=self._lease,
            gate=self._gate,
            integrity=self._integrity,
            meter=meter,
        )

    # --- start and stop ---------------------------------------------------------------------------

    async def join(self) -> None:
        """Register at the right database; windows and orders are read before the first settlement."""
        if self._barrier is not None:
            await self._barrier.settle()
        await self._lease.join()
        while True:
            try:
                self._window_calendar.replace(await self._accounts.windows())
                if self.breakers is not None:
                    await self.breakers.begin()
            except (Unavailable, Contention):
                await self._lease.pause()
            else:
                return

    async def run(self) -> None:
        """Process settlements; ends only by cancellation or by a bug."""
        try:
            async with asyncio.TaskGroup() as group:
                for work in (
                    self._intake.run,
                    self._executor.run,
                    self._inbound.run,
                    self._dispatcher.run,
                    self._takeover.run,
                    self._takeover.look_after_own,
                    partial(self._lease.run, self._forget),
                    self._lease.watch_tasks,
                    partial(self._waiting.run, self._is_carried_here),
                    partial(
                        keep_window_calendar, self._settings, self._accounts, self._window_calendar
                    ),
                ):
                    group.create_task(unending(work, self))
                workers = (self._barrier, self._journal, self._case_worker, self.breakers)
                for worker in (*workers, self._recaller):
                    if worker is not None:
                        group.create_task(unending(worker.run, self))
        finally:
            self._lease.cancel_tasks()

    def _forget(self) -> None:
        """Discard all settlements in memory: this engine was declared gone, or a system epoch began."""
        self._mailbox.drop_all()
        self._gate.forget()
        if self._listed is not None:
            self._listed.forget()
        if self._barrier is not None:
            self._barrier.look_again()

    def report_stale(self, stale_database: StaleDatabase) -> None:
        """Note that the database may have lost commits: nothing is sent until that is resolved."""
        if self._barrier is not None:
            self._barrier.report_stale(stale_database)

    def database_run(self) -> int:
        """Return a number that changes whenever the database may be another one than before."""
        return self._barrier.database_run if self._barrier is not None else 0

    @property
    def opening(self) -> str:
        """Return the state of the failover barrier as text for people."""
        return self._barrier.state if self._barrier is not None else "open"

    @property
    def is_open(self) -> bool:
        """Say whether the gate is open for at least one rail."""
        return self._gate.is_ajar

    async def drain(self) -> bool:
        """Accept nothing more and park or finish all open settlements; False if the time was too short."""
        self.is_draining = True
        self._intake.close()
        self._takeover.close()
        self._dispatcher.close()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._settings.drain_grace_seconds
        while loop.time() < deadline:
            if self._intake.is_idle and self._mailbox.is_idle:
                return True
            await asyncio.sleep(DRAIN_LOOK_SECONDS)
        return False

    async def leave(self) -> None:
        """Release all settlements in memory, so that other engines can claim them at once."""
        await self._lease.leave()

    def _is_carried_here(self, settlement_id: UUID) -> bool:
        return self._mailbox.settlement(settlement_id) is not None

    # --- calls ------------------------------------------------------------------------------------

    def reading(self, count: int) -> AbstractContextManager[NoteRead]:
        """Reserve capacity before decoding; see the port."""
        return self._intake.reading(count)

    async def submit(self, instructions: Sequence[Instruction]) -> list[Settlement | Exception]:
        """Accept a batch durably; see the port."""
        return await self._intake.submit(instructions)

    async def settle(self, instruction: Instruction, wait_seconds: float) -> Settlement:
        """Accept one and wait for its final state; see the port."""
        [result] = await self._intake.submit([instruction])
        if isinstance(result, Exception):
            raise result
        if result.is_ended:
            return result
        ended = await self._wait(result.id, wait_seconds)
        return replace(ended, is_replay=True) if result.is_replay else ended

    async def wait(self, settlement_id: UUID, wait_seconds: float) -> Settlement:
        """Wait for the final state of an existing settlement; see the port."""
        settlement = await self._waiting.load(settlement_id)
        return settlement if settlement.is_ended else await self._wait(settlement_id, wait_seconds)

    async def _wait(self, settlement_id: UUID, seconds: float) -> Settlement:
        ended = await self._waiting.wait(settlement_id, seconds)
        if ended is not None:
            return ended
        # This engine's memory may be older than what the same caller has seen at another engine.
        return await self._waiting.load(settlement_id)

    async def cancel(self, settlement_id: UUID) -> Settlement:
        """Request cancellation or recall; see the port."""
        return await self._canceller.cancel(settlement_id)

    def moves(
        self, after: int, settlement_id: UUID | None = None
    ) -> AsyncIterator[Sequence[Announcement]]:
        """Yield the stream's announcements without end; see the port."""
        return followed(self._settings, self._stream, self.notifier, after, settlement_id)
