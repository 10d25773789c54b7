"""Callers that wait for the final state of a settlement.

A waiting caller costs one future. Promises: settlements in another engine's memory, and parked ones, are looked up
for all waiting callers together, in batches and in turn. A cancelled call changes nothing. Must never: look up each
settlement for each caller.
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
    """Wakes callers when the settlement that they wait for has ended."""

    def __init__(self, settings: EngineSettings, store: SettlementStore) -> None:
        self._settings = settings
        self._store = store
        # In the order of look-up: a settlement that was looked up goes to the end.
        # The callers of one settlement are answered in the order of their calls, in every run.
        self._futures: dict[UUID, dict[asyncio.Future[Settlement | None], None]] = {}

    def ended(self, settlement: Settlement) -> None:
        """Answer all callers that wait for an ended settlement."""
        if not self._futures:
            return
        for future in self._futures.pop(settlement.id, ()):
            if not future.done():
                future.set_result(settlement)

    async def wait(self, settlement_id: UUID, seconds: float) -> Settlement | None:
        """Wait for the final state, at most that long; None if it was not reached."""
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
        """Look up, for ever, the settlements that callers wait for and that are not in memory here."""
        while True:
            await asyncio.sleep(self._settings.watch_interval_seconds)
            batch = self._next_batch(is_carried_here)
            if not batch:
                continue
            try:
                await self._look_up(batch)
            except (Unavailable, Contention):
                continue

    async def _look_up(self, batch: list[UUID]) -> None:
        """Tell who waits for those that have ended; a record that cannot be read costs no other."""
        try:
            found = await self._store.load(batch)
        except Broken:
            if len(batch) > 1:
                for settlement_id in batch:
                    await self._look_up([settlement_id])
            return
        for settlement in found.values():
            if settlement.is_ended:
                self.ended(settlement)

    def _next_batch(self, is_carried_here: Callable[[UUID], bool]) -> list[UUID]:
        """Choose the settlements to look up now: those not looked up for longest, up to the bound."""
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
