"""Orders about circuit breakers in PostgreSQL (``ports.BreakerStore``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from settlement_engine.domain.breaker_orders import BreakerAction, BreakerOrder
from settlement_engine.store.database import DatabaseConnection

if TYPE_CHECKING:
    import asyncpg

    from settlement_engine.store.database import DatabaseSettings, Readers


class PostgresBreakerOrders:
    """See ``ports.BreakerStore``."""

    def __init__(self, settings: DatabaseSettings, readers: Readers) -> None:
        self._readers = readers
        self._writing = DatabaseConnection(settings, is_writing=True)

    async def close(self) -> None:
        """Close the connection."""
        await self._writing.close()

    async def give(
        self, rail: str, bank: str, action: BreakerAction, *, who: str, reason: str
    ) -> BreakerOrder:
        """Record an order; see the port."""
        row = await self._writing.fetchrow(
            "give_breaker_order", rail, bank, action.value, who, reason
        )
        assert row is not None, "an insert returns its row"
        return _order(row)

    async def standing(self) -> list[BreakerOrder]:
        """Return the orders by which sending is stopped; see the port."""
        return [_order(row) for row in await self._readers.fetch("standing_breaker_orders")]

    async def orders_after(self, order_id: int, limit: int) -> list[BreakerOrder]:
        """Return later orders, oldest first."""
        rows = await self._readers.fetch("breaker_orders_after", order_id, limit)
        return [_order(row) for row in rows]

    async def latest(self, rail: str, limit: int) -> list[BreakerOrder]:
        """Return the latest orders, newest first; see the port."""
        rows = await self._readers.fetch("latest_breaker_orders", rail, limit)
        return [_order(row) for row in rows]


def _order(row: asyncpg.Record) -> BreakerOrder:
    return BreakerOrder(
        id=row["id"],
        rail=row["rail"],
        bank=row["bank"],
        action=BreakerAction(row["action"]),
        who=row["who"],
        reason=row["reason"],
        at=row["at"],
    )
