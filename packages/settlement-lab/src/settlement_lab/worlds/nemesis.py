"""The fault injector of a world: what it kills, freezes, disconnects and deactivates, drawn from the seed.

Promises: it uses the world's own random generator and nothing else; every fault is noted.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Protocol

from settlement_engine.domain.ledger import AccountKind
from settlement_engine.ports import AccountFilter
from settlement_lab.worlds.node import LEASE_SECONDS
from settlement_lab.worlds.rail import CUT_SECONDS

if TYPE_CHECKING:
    import random
    from collections.abc import Coroutine

    from settlement_lab.worlds.bus import Bus
    from settlement_lab.worlds.chronicle import Chronicle
    from settlement_lab.worlds.faults import Faults
    from settlement_lab.worlds.loop import VirtualLoop
    from settlement_lab.worlds.node import Node
    from settlement_lab.worlds.rail import RailNetwork

STRIKES_MAX: Final = 12
STRIKE_SECONDS: Final = 5.0
FREEZE_SECONDS: Final = (1.0, 8.0, 30.0, 45.0)
SHUT_SECONDS: Final = (10.0, 30.0)
SWITCHED_OFF_SECONDS: Final = 15.0
SKEW_SECONDS: Final = 7_200.0
NIGHTFALL_SECONDS: Final = 20.0
LONG_NIGHT_SECONDS: Final = 150.0
"""In some worlds a fault lasts until banks have forgotten payments, and messages have expired."""


class FaultTargets(Protocol):
    """What the fault injector acts on, and how."""

    chance: random.Random
    chronicle: Chronicle
    loop: VirtualLoop
    faults: Faults
    ground: Any
    network: RailNetwork
    bus: Bus
    nodes: list[Node]
    is_long_night: bool

    def kill(self, node: Node) -> None:
        """End a process; it is started again later."""

    def end_session(self, node: Node) -> None:
        """Let the database server notice that a process is gone."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a task that nobody waits for."""


class Nemesis:
    """See the module."""

    def __init__(self, world: FaultTargets) -> None:
        self._world = world

    async def run(self) -> None:
        """Inject a fault from time to time, at a random engine or around it."""
        if self._world.is_long_night:
            await asyncio.sleep(self._world.chance.random() * NIGHTFALL_SECONDS)
            self._world.faults.note("network_cut")
            self._world.network.cut(LONG_NIGHT_SECONDS)
        for _ in range(int(self._world.chance.random() * (STRIKES_MAX + 1))):
            await asyncio.sleep(self._world.chance.expovariate(1 / STRIKE_SECONDS))
            if self._world.nodes:
                self._strike_at(
                    self._world.nodes[int(self._world.chance.random() * len(self._world.nodes))]
                )
            self._strike_around()
            if self._world.faults.happens("account_switched_off", 2):
                await self._switch_off()

    def _strike_at(self, node: Node) -> None:
        faults = self._world.faults
        if faults.happens("crash", 2):
            self._world.kill(node)
        elif faults.happens("freeze", 3):
            self._freeze(node)
        elif faults.happens("session_lost", 2):
            self._world.end_session(node)
        elif faults.happens("database_cut", 2):
            self._cut(node)
        elif faults.happens("clock_jump", 2):
            node.clock.skew_seconds += (self._world.chance.random() * 2 - 1) * SKEW_SECONDS

    def _strike_around(self) -> None:
        faults = self._world.faults
        if faults.happens("bus_down", 2):
            self._world.bus.go_down()
        if faults.happens("network_cut", 2):
            self._world.network.cut(faults.seconds(CUT_SECONDS))
        if faults.happens("database_down"):
            for node in self._world.nodes:
                self._cut(node)
        if faults.happens("window_shut"):
            self._world.ground.shut_window(faults.seconds(SHUT_SECONDS))

    def _cut(self, node: Node) -> None:
        self._world.chronicle.note(f"{node.process.name} is cut off from the database")
        node.boundary.cut()
        if self._world.chance.random() < 0.5:  # noqa: PLR2004 - or only the lease expires
            self._world.end_session(node)

    def _freeze(self, node: Node) -> None:
        """Stop a process; after longer than its lease it resumes with an expired lease."""
        seconds = self._world.faults.seconds(FREEZE_SECONDS)
        self._world.chronicle.note(f"{node.process.name} is frozen for {seconds:.1f} s")
        node.process.freeze()
        if seconds > LEASE_SECONDS:
            self._world.faults.note("zombie")
            if self._world.chance.random() < 0.5:  # noqa: PLR2004 - as above
                self._world.end_session(node)
        self._world.loop.later(seconds, self.thaw, node)

    def thaw(self, node: Node) -> None:
        """Resume a frozen process."""
        if node.process.is_frozen:
            self._world.chronicle.note(f"{node.process.name} is resumed")
            self._world.loop.thaw(node.process)

    async def _switch_off(self) -> None:
        accounts = self._world.ground.books().accounts
        found = await accounts.accounts(AccountFilter(kind=AccountKind.NOSTRO))
        account = found[int(self._world.chance.random() * len(found))]
        await accounts.set_active(account.id, is_active=False)
        self._world.loop.later(SWITCHED_OFF_SECONDS, self._switch_on, account.id)

    def _switch_on(self, account_id: int) -> None:
        accounts = self._world.ground.books().accounts
        _ = self._world.spawn(accounts.set_active(account_id, is_active=True))
