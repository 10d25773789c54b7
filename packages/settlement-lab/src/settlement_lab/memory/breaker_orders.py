"""Orders about circuit breakers in memory (``ports.BreakerStore``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from settlement_engine.domain.breaker_orders import BreakerAction, BreakerOrder

if TYPE_CHECKING:
    from settlement_lab.memory.records import Records


class MemoryBreakerOrders:
    """See ``ports.BreakerStore``."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def give(
        self, rail: str, bank: str, action: BreakerAction, *, who: str, reason: str
    ) -> BreakerOrder:
        """Record an order; see the port."""
        orders = self._records.breaker_orders
        order = BreakerOrder(
            id=len(orders) + 1,
            rail=rail,
            bank=bank,
            action=action,
            who=who,
            reason=reason,
            at=self._records.clock.now(),
        )
        orders.append(order)
        return order

    async def standing(self) -> list[BreakerOrder]:
        """Return the orders by which sending is stopped; see the port."""
        latest = {
            (order.rail, order.bank): order
            for order in self._records.breaker_orders
            if order.action is not BreakerAction.PROBE
        }
        found = [order for order in latest.values() if order.action is BreakerAction.OPEN]
        return sorted(found, key=lambda order: order.id)

    async def orders_after(self, order_id: int, limit: int) -> list[BreakerOrder]:
        """Return later orders, oldest first."""
        return [order for order in self._records.breaker_orders if order.id > order_id][:limit]

    async def latest(self, rail: str, limit: int) -> list[BreakerOrder]:
        """Return the latest orders, newest first; see the port."""
        own = [order for order in self._records.breaker_orders if rail in ("", order.rail)]
        return own[::-1][:limit]
