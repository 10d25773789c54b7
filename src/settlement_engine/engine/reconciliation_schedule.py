"""When reconciliation runs by itself: by the schedule, and when statements have arrived.

Promises: of several engines one carries out a scheduled run, because the run's id follows from its time; statements
that arrive during a run are reconciled after it, and those that an engine had kept before it died when one starts, or
at the next look of one that runs. A run that fails is logged, and the next one goes on where it had stopped; an account
whose run cannot begin lets the others go first. Must never: run twice at once.
"""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import structlog
from cronsim import CronSim

from settlement_engine.domain.reconciliation import (
    AccountOutcome,
    ReconciliationRun,
    StartedFor,
    reported,
)
from settlement_engine.errors import Contention, SettlementEngineError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime
    from uuid import UUID

    from settlement_engine.domain.reconciliation import AccountResult
    from settlement_engine.ports import (
        Clock,
        Ids,
        Reconciler,
        ReconciliationMeter,
        ReconciliationStore,
    )

log = structlog.get_logger(__name__)

LOOK_SECONDS_MAX: Final = 30.0
"""How long the schedule sleeps at most, so that a clock that was set is noticed."""

ARRIVED_MAX: Final = 10_000
"""The most accounts that wait for a run after their statements have arrived; then all are reconciled."""

UNSEEN_STATEMENTS_MAX: Final = 10_000
"""How many of the latest statements an engine asks about: those before them wait for the schedule."""

UNSEEN_AGAIN_SECONDS: Final = 300.0
"""How often an engine asks for statements that nobody has reconciled, and how old they are then: of an engine that
lives, they are reconciled before."""

UNSEEN_AT_ONCE_MAX: Final = 100
"""How many accounts of another engine are taken at a time: that engine may live, and be on its way to them."""

AGAIN_SECONDS: Final = 5.0
"""How long it waits while another engine's run is going on."""

ENGINE: Final = "engine"
_NAMESPACE: Final = uuid.UUID("3f1c1f6e-6d0d-5e0a-9a34-1f0b5b2f8d11")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconciliationTimes:
    """When reconciliation runs by itself, and from which sums of differences it is an alert, in minor units."""

    schedule: str
    zone: str = "UTC"
    on_arrival: bool = True
    alert_minor: Mapping[str, int] = field(default_factory=dict)


class MeteredReconciliation:
    """Reconciles, and counts and logs what was found. See ``ports.Reconciler``."""

    def __init__(
        self, inner: Reconciler, meter: ReconciliationMeter, alert_minor: Mapping[str, int]
    ) -> None:
        self._inner = inner
        self._meter = meter
        self._alert_minor = alert_minor

    async def reconcile(self, run: ReconciliationRun) -> list[AccountResult]:
        """Carry out a run; see the port."""
        results = await self._inner.reconcile(run)
        if not results:
            return results
        parts = reported(results)
        differing = sum(each.discrepancy_accounts for each in parts)
        self._meter.reconciled(differing)
        compared = [each.discrepancy_minor for each in results if each.comparison is not None]
        self._meter.compared(equal=compared.count(0), differing=len(compared) - compared.count(0))
        for each in parts:
            limit = self._alert_minor.get(each.currency)
            if limit is not None and each.total_discrepancy_minor >= limit > 0:
                log.error(
                    "reconciliation_discrepancy",
                    report=str(run.id),
                    currency=each.currency,
                    total_minor=each.total_discrepancy_minor,
                    accounts=each.discrepancy_accounts,
                )
        failed = [each.account_id for each in results if each.outcome is AccountOutcome.FAILED]
        log.info(
            "reconciled",
            report=str(run.id),
            started_for=run.started_for.value,
            accounts=len(results),
            differing=differing,
            open_breaks=sum(each.open_breaks for each in results),
            failed=failed[:20],
        )
        return results


class ReconciliationSchedule:
    """Starts runs by the schedule, and after arrivals: its own, and those that an engine that died has left."""

    def __init__(
        self,
        reconciler: Reconciler,
        store: ReconciliationStore,
        times: ReconciliationTimes,
        *,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._reconciler = reconciler
        self._store = store
        self._looks = 0
        self._look_at_seconds = 0.0
        self._found_upto = 0
        self._tried = 0
        self._times = times
        self._clock = clock
        self._ids = ids
        self._arrived: set[int] = set()
        self._wake = asyncio.Event()

    def arrived(self, account_ids: Collection[int]) -> None:
        """Reconcile accounts soon: their statements have arrived."""
        if self._times.on_arrival and account_ids:
            self._arrived.update(account_ids)
            self._wake.set()

    async def run(self) -> None:
        """Start runs until cancelled."""
        due = self._next(self._clock.now())
        while True:
            await self._find_unseen()
            await self._rest(due)
            now = self._clock.now()
            if now >= due:
                run_id = uuid.uuid5(_NAMESPACE, due.isoformat())
                if await self._start(self._run(StartedFor.SCHEDULE, run_id)):
                    due = self._next(now)
                continue
            await self._take_arrived(due)

    async def _find_unseen(self) -> None:
        """Ask now and then for statements whose engine has died before it reconciled them: also at the start."""
        now = asyncio.get_running_loop().time()
        if now < self._look_at_seconds or not self._times.on_arrival:
            return
        older_seconds = UNSEEN_AGAIN_SECONDS if self._looks else 0.0
        try:
            found = await self._store.accounts_with_unseen_statements(
                UNSEEN_STATEMENTS_MAX, older_seconds=older_seconds
            )
        except SettlementEngineError as error:
            log.warning("unseen_statements_not_found", error=str(error))
            return  # the next turn asks again
        behind = [each for each in found if each > self._found_upto]
        taken, self._found_upto = behind[:UNSEEN_AT_ONCE_MAX], 0
        if len(behind) > UNSEEN_AT_ONCE_MAX:
            self._found_upto = taken[-1]  # the next turn asks for those behind
        else:
            self._looks += 1
            self._look_at_seconds = now + UNSEEN_AGAIN_SECONDS
        self.arrived(taken)

    async def _rest(self, due: datetime) -> None:
        """Wait until a run is due, something has arrived, or the clock has to be looked at."""
        left_seconds = (due - self._clock.now()).total_seconds()
        try:
            async with asyncio.timeout(min(max(left_seconds, 0.0), LOOK_SECONDS_MAX)):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _take_arrived(self, due: datetime) -> None:
        """Reconcile the accounts that wait, until a run of the schedule is due."""
        self._wake.clear()
        waiting, self._arrived = self._arrived, set()
        if len(waiting) > ARRIVED_MAX:
            await self._start(self._run(StartedFor.ARRIVAL, self._ids.new()))
            return
        # Behind the one that was tried last: whatever keeps its run from beginning keeps no other one.
        for account_id in sorted(waiting, key=lambda each: (each <= self._tried, each)):
            if self._clock.now() >= due:
                break
            self._tried = account_id
            if not await self._start(self._run(StartedFor.ARRIVAL, self._ids.new(), account_id)):
                break  # another engine's run is going on: after it
            waiting.discard(account_id)
        if waiting:
            self._arrived |= waiting
            self._wake.set()

    async def _start(self, run: ReconciliationRun) -> bool:
        """Carry out a run; False while another one is going on. A failure is logged, and ends only this run."""
        try:
            await self._reconciler.reconcile(run)
        except Contention:
            await asyncio.sleep(AGAIN_SECONDS)
            return False
        except SettlementEngineError as error:
            log.warning("reconciliation_failed", report=str(run.id), error=str(error))
        return True

    def _run(
        self, started_for: StartedFor, run_id: UUID, account_id: int | None = None
    ) -> ReconciliationRun:
        return ReconciliationRun(
            id=run_id, started_for=started_for, who=ENGINE, rules_version="", account_id=account_id
        )

    def _next(self, now: datetime) -> datetime:
        """Return the next time of the schedule."""
        local = now.astimezone(ZoneInfo(self._times.zone))
        return next(CronSim(self._times.schedule, local)).astimezone(now.tzinfo)
