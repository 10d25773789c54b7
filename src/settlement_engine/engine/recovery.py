"""Recovery: the page, and nothing else.

What is due and what the dead have left is claimed, again and again, from the first moment on. A claim is
a takeover with a higher epoch, so that nothing the former owner still writes is believed. A question that
the former owner may have put has got no answer: that is an event of the page.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from settlement_engine.errors import Broken, Contention, Unavailable

if TYPE_CHECKING:
    from uuid import UUID

    from settlement_engine.engine.presence import Presence
    from settlement_engine.engine.runner import Runner
    from settlement_engine.engine.settings import EngineSettings
    from settlement_engine.engine.timetable import Timetable
    from settlement_engine.ports import AccountStore, Meter, SettlementStore

CLOSE_LOOKS: Final = 3
"""How often an engine looks closely after its own when the answer to a claim was lost."""

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
        self._close_looks = 0

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
                self._close_looks = CLOSE_LOOKS
                await self._presence.pause()
                continue
            if count >= self._settings.claim_batch_max:
                continue
            if is_sweep:
                swept_at = now
            await asyncio.sleep(self._settings.claim_interval_seconds)

    async def look_after_own(self) -> None:
        """Find, for ever, what this engine owns and does not carry, and carry it on.

        There should be no such thing, but for a claim whose answer was lost: after that the looks are
        close. What is missing at two looks in a row is not just on its way from the store to memory.
        """
        missing: set[UUID] = set()
        looked_at = self._presence.monotonic()
        settings = self._settings
        while not self._is_closed:
            await asyncio.sleep(min(settings.close_look_seconds, settings.look_interval_seconds))
            now = self._presence.monotonic()
            if not self._close_looks and now - looked_at < settings.look_interval_seconds:
                continue
            looked_at = now
            try:
                missing = await self._carry_on(missing)
            except (Unavailable, Contention, Broken):
                missing = set()
            else:
                self._close_looks = max(0, self._close_looks - 1)

    async def _carry_on(self, missing_before: set[UUID]) -> set[UUID]:
        """Take over anew what is missing for the second time; return what is for the first."""
        owner = self._presence.owner
        missing = await self._missing()
        lost = list(missing & missing_before)[: self._settings.claim_batch_max]
        if not lost:
            return missing
        kind = "claim_answer_lost" if self._close_looks else "lost_from_memory"
        self._meter.anomaly(kind, len(lost))
        log.error(kind, count=len(lost))
        self._close_looks = CLOSE_LOOKS  # this answer may be lost as well
        found = await self._store.reclaim(owner, lost)
        if owner == self._presence.owner:
            self._runner.resume(found)
        return set()

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
