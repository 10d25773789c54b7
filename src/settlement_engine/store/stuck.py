"""Stuck settlements, found by PostgreSQL and its clock (``ports.StuckFinder``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from settlement_engine.domain.lifecycle import State
from settlement_engine.domain.stuck import Stuck, StuckReason, StuckReport, oldest_first

if TYPE_CHECKING:
    from settlement_engine.domain.stuck import StuckLimits
    from settlement_engine.store.database import Readers


class PostgresStuckFinder:
    """See ``ports.StuckFinder``."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    async def stuck(self, limits: StuckLimits, limit: int) -> StuckReport:
        """Find stuck settlements; at most ``limit`` are listed, all are counted."""
        rows = await self._readers.fetch(
            "stuck",
            limits.unattended_seconds,
            limits.screening_seconds,
            limits.held_seconds,
            limits.at_rail_seconds,
            list(limits.by_rail),
            list(limits.by_rail.values()),
            limits.shortest_seconds,
            limits.not_filed_seconds,
            max(limit, len(StuckReason)),
        )
        if not rows:
            now = await self._readers.fetchrow("now")
            assert now is not None
            return StuckReport(at=now["found_at"], counts={}, found=[])
        found = [
            Stuck(
                settlement_id=row["settlement_id"],
                obligation_id=row["obligation_id"],
                state=State(row["state"]),
                reason=StuckReason(row["reason"]),
                since=row["since"],
                rail=row["rail"],
            )
            for row in rows
        ]
        return StuckReport(
            at=rows[0]["found_at"],
            counts={StuckReason(row["reason"]): row["of_reason"] for row in rows},
            found=oldest_first(found)[:limit],
        )
