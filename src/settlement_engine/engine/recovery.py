"""Recovery: the page, and nothing else.

What is due and what the dead have left is claimed, again and again, from the first moment on. A claim is
a takeover with a higher epoch, so that nothing the former owner still writes is believed. A question that
the former owner may have put has got no answer: that is an event of the page.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from settlement_engine.errors import Broken, Contention, Unavailable

if TYPE_CHECKING:
    from uuid import UUID

    from settlement_engine.engine.presence import Presence
    from settlement_engine.engine.runner import Runner
    from settlement_engine.engine.settings import EngineSettings
    from settlement_engine.engine.timetable import Timetable
    from settlement_engine.ports import AccountStore, Meter, SettlementStore

log = structlog.get_logger(__name__)


class Recovery:
    """Claims what nobody carries."""

    def __init__(
        self,
        settings: EngineSettings,
        store: SettlementStore,
        runner: Runner,
        presence: Presence,
        meter: Meter,
    ) -> None:
        self._settings = settings
        self._store = store
        self._runner = runner
        self._presence = presence
        self._meter = meter
        self._is_closed = False

    def close(self) -> None:
        """Claim nothing more."""
        self._is_closed = True

    async def run(self) -> None:
        """Claim for ever; a full claim is followed by the next one at once."""
        swept_at = float("-inf")
        while not self._is_closed:
            now = self._presence.monotonic()
            is_sweep = now - swept_at >= self._settings.sweep_interval_seconds
            try:
                count = await self.claim(is_sweep=is_sweep)
            except (Unavailable, Contention, Broken) as error:
                log.warning("claim_failed", why=error.why or error.what)
                await self._presence.pause()
                continue
            if count >= self._settings.claim_batch_max:
                continue
            if is_sweep:
                swept_at = now
            await asyncio.sleep(self._settings.claim_interval_seconds)

    async def look_after_own(self) -> None:
        """Find, for ever, what this engine owns and does not carry, and carry it on.

        There should be no such thing: whatever is accepted ends, even where we have a bug. What is
        missing at two looks in a row is not just on its way from the store to memory.
        """
        missing: set[UUID] = set()
        while not self._is_closed:
            await asyncio.sleep(self._settings.look_interval_seconds)
            try:
                before, missing = missing, await self._missing()
                lost = list(before & missing)[: self._settings.claim_batch_max]
                if lost:
                    self._meter.anomaly("lost_from_memory", len(lost))
                    log.error("lost_from_memory", count=len(lost))
                    owner = self._presence.owner
                    self._runner.resume(await self._store.reclaim(owner, lost))
                    missing = set()
            except (Unavailable, Contention, Broken):
                missing = set()

    async def _missing(self) -> set[UUID]:
        owned = await self._store.owned(self._presence.owner)
        return {key for key in owned if not self._runner.is_carried(key)}

    async def claim(self, *, is_sweep: bool) -> int:
        """Claim once; returns how many settlements were taken."""
        room = self._settings.open_max - self._runner.open_count
        limit = min(self._settings.claim_batch_max, room)
        if limit <= 0:
            return 0
        owner = self._presence.owner
        claimed = await self._store.claim(owner, limit, is_sweep=is_sweep)
        if owner != self._presence.owner:
            return 0  # declared gone meanwhile: the new number will claim them
        if claimed:
            log.info("settlements_claimed", count=len(claimed), owner=owner)
            self._runner.resume(claimed)
        return len(claimed)


async def keep_timetable(
    settings: EngineSettings, accounts: AccountStore, timetable: Timetable
) -> None:
    """Read the windows in force again and again; a failed reading leaves the last ones."""
    while True:
        try:
            timetable.replace(await accounts.windows())
        except (Unavailable, Contention, Broken) as error:
            log.warning("windows_not_read", why=error.why or error.what)
        await asyncio.sleep(settings.windows_refresh_seconds)
