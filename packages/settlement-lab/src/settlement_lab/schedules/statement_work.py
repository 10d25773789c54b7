"""What an engine of a schedule does with statements: it imports files, searches them, and reconciles.

These are the engine's own parts, as ``app.application`` connects them. A run is narrowed to the bank of the schedule,
because the database holds the accounts of all schedules before it.
"""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

from settlement_engine.engine.reconciliation import Reconciliation
from settlement_engine.engine.reconciliation_schedule import (
    ReconciliationSchedule,
    ReconciliationTimes,
)
from settlement_engine.engine.statement_arrivals import StatementArrivals
from settlement_engine.engine.statement_evidence import StatementSearch
from settlement_engine.engine.statement_import import StatementImport
from settlement_engine.errors import Contention
from settlement_lab.schedules.statement_stores import StatementStores

if TYPE_CHECKING:
    from settlement_engine.domain.reconciliation import AccountResult, ReconciliationRun
    from settlement_engine.engine.settings import EngineSettings
    from settlement_engine.ports import Clock, Ids
    from settlement_lab.schedules.postgres_books import SchedulePoints
    from settlement_lab.schedules.statement_stores import RunLocks
    from settlement_lab.worlds.faults import Faults

RUNS_AT: Final = "*/2 * * * *"
"""When a run starts by itself: in every engine at the same time."""

_RUNS: Final = uuid.UUID("7d0e2f6a-51c8-4d0b-9d7c-2b7f6f8f5a10")


class StatementsOfSchedule(Protocol):
    """The statements of a schedule, as its engines know them."""

    bank_name: str
    faults: Faults
    locks: RunLocks


class NarrowedReconciliation:
    """Reconciles one bank, with run ids that no other schedule has. See ``ports.Reconciler``."""

    def __init__(self, inner: Reconciliation, statements: StatementsOfSchedule) -> None:
        self._inner = inner
        self._statements = statements

    async def reconcile(self, run: ReconciliationRun) -> list[AccountResult]:
        """Carry out a run; see the port."""
        own = uuid.uuid5(_RUNS, f"{self._statements.bank_name}/{run.id}")
        try:
            found = await self._inner.reconcile(
                replace(run, id=own, bank=self._statements.bank_name)
            )
        except Contention:
            self._statements.faults.note("run_refused")
            raise
        self._statements.faults.note("run_ended" if found else "run_done_before")
        return found


class StatementWork:
    """See the module."""

    def __init__(
        self,
        statements: StatementsOfSchedule,
        points: SchedulePoints,
        settings: EngineSettings,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self.stores = StatementStores(points, statements.locks)
        reconciliation = Reconciliation(self.stores.reconciliation)
        self.reconciler = NarrowedReconciliation(reconciliation, statements)
        self._schedule = ReconciliationSchedule(
            self.reconciler,
            self.stores.reconciliation,
            ReconciliationTimes(schedule=RUNS_AT),
            clock=clock,
            ids=ids,
        )
        self._arrivals = StatementArrivals(self.stores.undecided, self._schedule.arrived)
        self._search = StatementSearch(settings, self.stores.evidence)
        self.importer = StatementImport(self.stores.statements, arrived=self._arrivals.kept)

    async def run(self) -> None:
        """Search and reconcile for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._search.run())
            group.create_task(self._arrivals.run())
            group.create_task(self._schedule.run())
