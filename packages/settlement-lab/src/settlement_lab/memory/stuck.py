"""Stuck settlements in memory (``ports.StuckFinder``): the same findings as from PostgreSQL."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING

from settlement_engine.domain.lifecycle import State
from settlement_engine.domain.stuck import Stuck, StuckReason, StuckReport, oldest_first
from settlement_lab.memory.records import NOBODY

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from settlement_engine.domain.stuck import StuckLimits
    from settlement_lab.memory.records import Open, Records


class MemoryStuckFinder:
    """See ``ports.StuckFinder``."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def stuck(self, limits: StuckLimits, limit: int) -> StuckReport:
        """Find what is stuck: all are counted, and at most ``limit`` are named."""
        now = self._records.clock.now()
        found = [
            each
            for key, parked in self._records.open.items()
            if (each := self._judge(key, parked, limits, now)) is not None
        ]
        counts = Counter(each.reason for each in found)
        return StuckReport(at=now, counts=dict(counts), found=oldest_first(found)[:limit])

    def _judge(self, key: UUID, parked: Open, limits: StuckLimits, now: datetime) -> Stuck | None:
        history = self._records.histories[key]
        rail = history.attempt.route.rail if history.attempt else ""
        lock = self._records.locks.get(key)
        is_held = lock is not None and not lock.outcome
        since = lock.locked_at if lock and is_held else self._records.moves_of[key][-1].at
        late = now - timedelta(seconds=limits.unattended_seconds)
        longest_seconds = limits.of(history.state, rail)
        young = now - timedelta(seconds=limits.shortest_seconds)
        if parked.engine_id == NOBODY and parked.due_at is None and history.state is not State.HELD:
            reason = StuckReason.NO_NEXT_ACTION
        elif history.created_at >= young:
            return None
        elif self._is_unattended(parked, late):
            reason = StuckReason.UNATTENDED
        elif self._is_unfiled(key, now - timedelta(seconds=limits.not_filed_seconds)):
            reason = StuckReason.NOT_FILED
        elif longest_seconds is not None and since < now - timedelta(seconds=longest_seconds):
            reason = StuckReason.PAST_LIMIT
        else:
            return None
        return Stuck(
            settlement_id=key,
            obligation_id=history.instruction.obligation_id,
            state=history.state,
            reason=reason,
            since=since,
            rail=rail,
        )

    def _is_unfiled(self, key: UUID, late: datetime) -> bool:
        history = self._records.histories[key]
        attempt = history.attempt
        is_waiting = history.state in {State.LOCKED, State.IN_DOUBT}
        if not is_waiting or attempt is None or not attempt.trace or attempt.recorded_at >= late:
            return False
        files = self._records.rail_files
        return all((key, attempt.number) != item.key for _, items in files for item in items)

    def _is_unattended(self, parked: Open, late: datetime) -> bool:
        if parked.engine_id == NOBODY:
            return parked.due_at is not None and parked.due_at < late
        engine = self._records.engines.get(parked.engine_id)
        return engine is None or (engine.gone_at or engine.lease_until) < late
