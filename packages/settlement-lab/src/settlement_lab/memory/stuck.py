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
            for key, resting in self._records.open.items()
            if (each := self._judge(key, resting, limits, now)) is not None
        ]
        counts = Counter(each.reason for each in found)
        return StuckReport(at=now, counts=dict(counts), found=oldest_first(found)[:limit])

    def _judge(self, key: UUID, resting: Open, limits: StuckLimits, now: datetime) -> Stuck | None:
        life = self._records.lives[key]
        rail = life.attempt.route.rail if life.attempt else ""
        lock = self._records.locks.get(key)
        is_held = lock is not None and not lock.outcome
        since = lock.locked_at if lock and is_held else self._records.moves_of[key][-1].at
        late = now - timedelta(seconds=limits.unattended_seconds)
        longest_seconds = limits.of(life.state, rail)
        young = now - timedelta(seconds=limits.shortest_seconds)
        if resting.owner == NOBODY and resting.due_at is None and life.state is not State.HELD:
            reason = StuckReason.NO_NEXT_ACTION
        elif life.created_at >= young:
            return None
        elif self._is_unattended(resting, late):
            reason = StuckReason.UNATTENDED
        elif longest_seconds is not None and since < now - timedelta(seconds=longest_seconds):
            reason = StuckReason.PAST_LIMIT
        else:
            return None
        return Stuck(
            settlement_id=key,
            obligation_id=life.instruction.obligation_id,
            state=life.state,
            reason=reason,
            since=since,
            rail=rail,
        )

    def _is_unattended(self, resting: Open, late: datetime) -> bool:
        if resting.owner == NOBODY:
            return resting.due_at is not None and resting.due_at < late
        engine = self._records.engines.get(resting.owner)
        return engine is None or (engine.gone_at or engine.lease_until) < late
