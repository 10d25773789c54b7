"""Breaker control: this engine follows the orders of operators about circuit breakers.

Promises: an order to stop sending holds in every engine within ``breaker_look_seconds`` of its commit, plus the time
of one read, and from the start of an engine that starts later. While the database is out of reach the orders that
were read last stand. Must never: stop enquiries or recalls, or send a payment by itself.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from settlement_engine.domain.bank_codes import folded_bank
from settlement_engine.domain.breaker_orders import BreakerAction
from settlement_engine.errors import Broken, Contention, Unavailable
from settlement_engine.ports import RailStatus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from settlement_engine.domain.breaker_orders import BreakerOrder
    from settlement_engine.engine.dispatch.dispatcher import Dispatcher
    from settlement_engine.engine.settings import EngineSettings
    from settlement_engine.ports import BreakerStore, SendRail

ORDERS_READ_MAX: Final = 1_000
"""The most orders that one look reads; the next look goes on."""

OVERLAP: Final = 100
"""So many ids before the last one are read again: an order with a lower id may be committed later."""

LANES_SHOWN_MAX: Final = 100
"""The most lanes of a rail that are shown; those whose breaker is not closed come first."""

log = structlog.get_logger(__name__)


class BreakerControl:
    """One for each engine."""

    def __init__(
        self,
        settings: EngineSettings,
        store: BreakerStore,
        rails: Mapping[str, SendRail],
        dispatcher: Dispatcher,
    ) -> None:
        self._settings = settings
        self._store = store
        self._rails = rails
        self._dispatcher = dispatcher
        self._seen: set[int] = set()
        self._standing: tuple[BreakerOrder, ...] = ()
        self._reading = asyncio.Lock()
        self._turn = 0

    async def begin(self) -> None:
        """Read the standing orders before anything is sent; earlier probes and closings are over."""
        self._turn = self._dispatcher.turn
        latest = await self._store.latest("", OVERLAP)
        self._seen = {order.id for order in latest}
        await self._read_standing()

    async def run(self) -> None:
        """Look for orders for ever."""
        while True:
            await asyncio.sleep(self._settings.breaker_look_seconds)
            try:
                await self.look()
            except (Unavailable, Contention, Broken) as error:
                log.warning("breaker_orders_not_read", why=error.why or error.what)

    async def look(self) -> None:
        """Follow the orders that were given since the last look."""
        async with self._reading:
            if self._turn != self._dispatcher.turn:
                await self.begin()  # the database may be another one: its numbers may come again
                self._dispatcher.wake()
                return
            last = max(self._seen, default=0)
            found = await self._store.orders_after(max(last - OVERLAP, 0), ORDERS_READ_MAX)
            orders = [order for order in found if order.id not in self._seen]
            if not orders:
                return
            await self._read_standing()
            for order in orders:
                self._follow(order)
            self._seen |= {order.id for order in orders}
            self._seen = {each for each in self._seen if each > max(self._seen) - 2 * OVERLAP}
            self._dispatcher.wake()

    async def _read_standing(self) -> None:
        self._standing = tuple(await self._store.standing())
        self._dispatcher.lanes.stop_only({(order.rail, order.bank) for order in self._standing})

    def _follow(self, order: BreakerOrder) -> None:
        log.warning("breaker_order", rail=order.rail, bank=order.bank, action=order.action.value)
        if order.action is BreakerAction.CLOSE:
            self._dispatcher.lanes.close(order.rail, order.bank)
        elif order.action is BreakerAction.PROBE:
            self._dispatcher.lanes.probe(order.rail, order.bank)

    # --- what operators ask -------------------------------------------------------------------------

    def rails(self) -> Sequence[RailStatus]:
        """Return all rails, in order of preference; see the port."""
        return [self._status(name, rail) for name, rail in self._rails.items()]

    def _status(self, name: str, rail: SendRail) -> RailStatus:
        limits = self._dispatcher.lanes.limits(name)
        return RailStatus(
            name=name,
            rail_class=rail.capabilities.rail_class.value,
            is_paused=self._dispatcher.is_paused(name),
            refuses_while_open=limits.breaker.refuses_while_open,
            lanes=self._dispatcher.statuses(name, LANES_SHOWN_MAX),
            standing=tuple(order for order in self._standing if order.rail == name),
            messages=tuple(
                f"{each.name}.{version}"
                for each in rail.capabilities.messages
                for version in each.versions
            ),
        )

    async def latest(self, rail: str, limit: int) -> list[BreakerOrder]:
        """Return the latest orders about a rail; see the port."""
        return await self._store.latest(rail, limit)

    async def give(
        self, rail: str, bank: str, action: BreakerAction, *, who: str, reason: str
    ) -> BreakerOrder:
        """Record an order and follow it; see the port."""
        order = await self._store.give(
            rail, folded_bank(bank) if bank else bank, action, who=who, reason=reason
        )
        await self.look()
        return order


def breaker_control(
    settings: EngineSettings,
    store: BreakerStore | None,
    rails: Mapping[str, SendRail],
    dispatcher: Dispatcher,
) -> BreakerControl | None:
    """Make the breaker control, if there is a store of orders."""
    return BreakerControl(settings, store, rails, dispatcher) if store is not None else None
