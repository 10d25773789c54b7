"""Circuit breakers as operators see them, and the orders that they give.

Promises: an order is durable, with the person and the reason, and holds for all engines. An order to stop sending
stands until an order closes it. Must never: stop an enquiry or a recall.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from settlement_engine.domain.breaker_orders import BreakerAction, BreakerOrder


class LaneStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The lane of a bank as one engine has it.

    ``breaker`` is closed, open or half_open. ``why`` says why it is open by itself; ``is_stopped`` says that an
    order has stopped sending. ``tries_in_seconds`` is how long it stays open by itself.
    """

    bank: str
    breaker: str
    why: str
    is_stopped: bool
    waiting: int
    in_flight: int
    tries_in_seconds: float


class RailStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A rail as one engine has it. ``standing`` are the orders by which sending is stopped.

    ``is_paused``: nothing is sent over it during a recovery. ``refuses_while_open``: new settlements are refused,
    and do not wait, while the breaker is open.
    """

    name: str
    rail_class: str
    is_paused: bool
    refuses_while_open: bool
    lanes: tuple[LaneStatus, ...]
    standing: tuple[BreakerOrder, ...]
    messages: tuple[str, ...] = ()


class BreakerStore(Protocol):
    """Keeps orders. Every call is one transaction, durable when it returns. Raises Unavailable, Contention."""

    async def give(
        self, rail: str, bank: str, action: BreakerAction, *, who: str, reason: str
    ) -> BreakerOrder:
        """Record an order; the same order again is another one."""
        ...

    async def standing(self) -> list[BreakerOrder]:
        """Return the orders by which sending is stopped: of each rail and bank the latest, if it opens."""
        ...

    async def orders_after(self, order_id: int, limit: int) -> list[BreakerOrder]:
        """Return later orders, oldest first."""
        ...

    async def latest(self, rail: str, limit: int) -> list[BreakerOrder]:
        """Return the latest orders about a rail, newest first; about all rails for an empty name."""
        ...


class RailControl(Protocol):
    """What the API may ask about rails."""

    def rails(self) -> Sequence[RailStatus]:
        """Return all rails, in order of preference."""
        ...

    async def latest(self, rail: str, limit: int) -> list[BreakerOrder]:
        """Return the latest orders about a rail, newest first."""
        ...

    async def give(
        self, rail: str, bank: str, action: BreakerAction, *, who: str, reason: str
    ) -> BreakerOrder:
        """Record an order and follow it; other engines follow within their bound. Raises Unavailable."""
        ...
