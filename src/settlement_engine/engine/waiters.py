"""The waiting room: callers who want to know how a settlement ends.

Whoever waits costs one future. Settlements that are carried elsewhere, or rest, are looked up for all
who wait together, in batches that go round: however many wait, each is looked up in its turn. A caller
who goes away changes nothing.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from settlement_engine.errors import Broken, Contention, NotFound, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from settlement_engine.domain.settlement import Settlement
    from settlement_engine.engine.settings import EngineSettings
    from settlement_engine.ports import SettlementStore


class EndWaiters:
    """Wakes callers at the end of the settlement that they wait for."""

    def __init__(self, settings: EngineSettings, store: SettlementStore) -> None:
        self._settings = settings
        self._store = store
        # In the order in which they are looked up: whoever was looked at goes to the end.
        # Those who wait for one settlement are told in the order in which they came, in every run.
        self._futures: dict[UUID, dict[asyncio.Future[Settlement | None], None]] = {}

    def ended(self, settlement: Settlement) -> None:
        """Tell all who wait."""
        for future in self._futures.pop(settlement.id, ()):
            if not future.done():
                future.set_result(settlement)

    async def wait(self, settlement_id: UUID, seconds: float) -> Settlement | None:
        """Wait for the end, at most that long; None when it has not come."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Settlement | None] = loop.create_future()
        self._futures.setdefault(settlement_id, {})[future] = None
        too_late = loop.call_later(seconds, _give_up, future)
        try:
            return await future
        finally:
            too_late.cancel()
            waiting = self._futures.get(settlement_id)
            if waiting is not None:
                waiting.pop(future, None)
                if not waiting:
                    del self._futures[settlement_id]

    async def load(self, settlement_id: UUID) -> Settlement:
        """Return a settlement as the store has it."""
        found = await self._store.load([settlement_id])
        if settlement_id not in found:
            what = f"there is no settlement {settlement_id}"
            raise NotFound(what, listed_by="list")
        return found[settlement_id]

    async def run(self, is_carried_here: Callable[[UUID], bool]) -> None:
        """Look up, again and again, what is waited for and not carried here."""
        while True:
            await asyncio.sleep(self._settings.watch_interval_seconds)
            batch = self._next_batch(is_carried_here)
            if not batch:
                continue
            try:
                found = await self._store.load(batch)
            except (Unavailable, Contention, Broken):
                continue
            for settlement in found.values():
                if settlement.is_ended:
                    self.ended(settlement)

    def _next_batch(self, is_carried_here: Callable[[UUID], bool]) -> list[UUID]:
        """Choose who is looked up now: those for whom it has been longest, up to the bound."""
        batch: list[UUID] = []
        seen: list[UUID] = []
        for settlement_id in self._futures:
            if len(batch) == self._settings.watch_batch_max:
                break
            seen.append(settlement_id)
            if not is_carried_here(settlement_id):
                batch.append(settlement_id)
        if len(seen) < len(self._futures):
            for settlement_id in seen:
                self._futures[settlement_id] = self._futures.pop(settlement_id)
        return batch


def _give_up(future: asyncio.Future[Settlement | None]) -> None:
    if not future.done():
        future.set_result(None)
