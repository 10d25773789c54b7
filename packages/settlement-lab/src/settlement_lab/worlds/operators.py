"""The operators of a world: they stop sending over the rail or to a bank, try one payment, and allow it again.

Promises: they give orders through an engine, as people do, which may die meanwhile; at the end no order to stop
stands. They use the world's own random generator and nothing else.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Protocol

from settlement_engine.domain.breaker_orders import EVERY_BANK, BreakerAction
from settlement_engine.errors import SettlementEngineError
from settlement_lab.worlds.bank import RAIL_NAME
from settlement_lab.worlds.people import BANKS

if TYPE_CHECKING:
    import random

    from settlement_lab.worlds.chronicle import Chronicle
    from settlement_lab.worlds.faults import Faults
    from settlement_lab.worlds.node import Node

ORDERS_MAX: Final = 6
THINK_SECONDS: Final = 15.0
STOP_SECONDS: Final = (5.0, 20.0, 60.0)
WHO: Final = "an operator"
REASON: Final = "the world's"


class OperatorsWorld(Protocol):
    """What operators act on."""

    chance: random.Random
    chronicle: Chronicle
    faults: Faults
    ground: Any
    nodes: list[Node]


class Operators:
    """See the module."""

    def __init__(self, world: OperatorsWorld) -> None:
        self._world = world

    async def run(self) -> None:
        """Stop sending from time to time, and allow it again."""
        chance, faults = self._world.chance, self._world.faults
        for _ in range(int(chance.random() * (ORDERS_MAX + 1))):
            await asyncio.sleep(chance.expovariate(1 / THINK_SECONDS))
            if not faults.happens("operator_stops", 3):
                continue
            bank = (EVERY_BANK, *BANKS)[int(chance.random() * (1 + len(BANKS)))]
            await self._give(bank, BreakerAction.OPEN)
            await asyncio.sleep(faults.seconds(STOP_SECONDS))
            if faults.happens("operator_probes", 3):
                await self._give(bank, BreakerAction.PROBE)
                await asyncio.sleep(faults.seconds(STOP_SECONDS))
            await self._give(bank, BreakerAction.CLOSE)

    async def _give(self, bank: str, action: BreakerAction) -> None:
        """Give an order to an engine that accepts calls; it may die meanwhile, and then nobody knows."""
        up = [node for node in self._world.nodes if node.is_up]
        if not up:
            return
        node = up[int(self._world.chance.random() * len(up))]
        self._world.chronicle.note(f"an operator orders {action.value} of {bank or 'every bank'}")
        await asyncio.wait({node.run(_ordered(node, bank, action))}, timeout=THINK_SECONDS)

    async def end(self) -> None:
        """Take back what stands."""
        store = self._world.ground.books().breaker_orders
        for order in await store.standing():
            await store.give(order.rail, order.bank, BreakerAction.CLOSE, who=WHO, reason=REASON)


async def _ordered(node: Node, bank: str, action: BreakerAction) -> object:
    assert node.engine.breakers is not None, "the engine of a world follows orders"
    try:
        return await node.engine.breakers.give(RAIL_NAME, bank, action, who=WHO, reason=REASON)
    except SettlementEngineError as error:
        return error
