"""An engine in its own process that kills itself with SIGKILL at a transition.

``python -m tests.support.killpoint URL BOOK STATE EVENT WHEN TURN``: the real engine with the mock bank
on a database. At the TURN-th write of the transition (STATE, EVENT) it kills itself, ``before`` the
commit or ``after`` it. With WHEN ``never`` it runs until it is ended. Nothing is cleaned up, as in a real
crash.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from settlement_engine.domain.backoff import Backoff
from settlement_engine.engine.service import SettlementService
from settlement_engine.engine.settings import EngineSettings
from settlement_engine.rails.mock import MockRail, MockSettings
from settlement_engine.store.accounts import PostgresAccounts
from settlement_engine.store.database import DatabaseSettings, Readers
from settlement_engine.store.inbound import PostgresInbound
from settlement_engine.store.settlements import PostgresSettlements
from settlement_engine.store.stream import PostgresRegistry, PostgresStream
from tests.support.frailbank import Ear, FrailBank, FrailScreening
from tests.support.frailengine import SETTINGS, WarningsMeter
from tests.support.stores import CountedIds, WallClock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from settlement_engine.ports import TransitionCommand, TransitionResult

SOON = Backoff(first_seconds=0.05, max_seconds=0.2)
LEASE_SECONDS = 5.0


class KillPoint(NamedTuple):
    """Where the process ends."""

    state: str
    event: str
    when: str
    turn: int


class DeadlyStore(PostgresSettlements):
    """The real store until the point is reached."""

    def __init__(self, settings: DatabaseSettings, readers: Readers, point: KillPoint) -> None:
        super().__init__(settings, readers)
        self._point = point
        self._left = point.turn

    async def apply(
        self, steps: Sequence[TransitionCommand], engine_id: int
    ) -> list[TransitionResult]:
        """Write, or end the process."""
        rows = [(step.settlement.state.value, step.event.value) for step in steps]
        self._left -= rows.count((self._point.state, self._point.event))
        if self._left <= 0 and self._point.when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        outcomes = await super().apply(steps, engine_id)
        if self._left <= 0 and self._point.when == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return outcomes


async def run(url: str, book: Path, point: KillPoint) -> None:
    """Run an engine on the database until it is ended."""
    database = DatabaseSettings(url=url, readers_max=1)
    readers = Readers(database)
    clock = WallClock()
    rail = MockRail(
        MockSettings(
            book_file=book,
            latency_seconds=0.01,
            success_rate=Decimal(1),
            answer_timeout_seconds=0.3,
            late_seconds=0.2,
        ),
        clock,
    )
    await rail.start()
    quick = {
        "resend": SOON,
        "enquiry": SOON,
        "lease_seconds": LEASE_SECONDS,
        "has_real_windows": False,
        "claim_interval_seconds": 0.02,
        "move_batch_max": 5,
    }
    service = SettlementService(
        EngineSettings(**(SETTINGS | quick)),
        store=DeadlyStore(database, readers, point),
        accounts=PostgresAccounts(database, readers, CountedIds()),
        stream=PostgresStream(database, readers),
        registry=PostgresRegistry(database),
        rails={rail.name: rail},
        screening=FrailScreening(FrailBank(), Ear()),
        inbound=PostgresInbound(database, readers),
        clock=clock,
        ids=CountedIds(),
        chance=random.Random(1),
        meter=WarningsMeter(),
    )
    await service.join()
    await service.run()


if __name__ == "__main__":
    url, book, state, event, when, turn = sys.argv[1:]
    asyncio.run(run(url, Path(book), KillPoint(state, event, when, int(turn))))
