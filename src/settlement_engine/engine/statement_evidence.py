"""Searches imported statements for our payments, and hands what is news to their settlements.

Promises: every kept statement is searched to its end, whichever engine imported it and whatever was interrupted;
each step is bounded, and one that was not stored in its time is tried again with half as many rows. Must never:
decide what an entry means for a settlement (``domain/decisions/booked.py`` does, when the settlement's owner works the
report off).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from settlement_engine.errors import Broken, Contention, Unavailable

if TYPE_CHECKING:
    from settlement_engine.engine.settings import EngineSettings
    from settlement_engine.ports.statement_evidence import EvidenceStore

log = structlog.get_logger(__name__)


class StatementSearch:
    """Works statements off, the oldest first; every engine has one, and they share the work."""

    def __init__(self, settings: EngineSettings, store: EvidenceStore) -> None:
        self._settings = settings
        self._store = store
        self._rows = settings.evidence_rows_max
        self._look_at_seconds = 0.0

    async def run(self) -> None:
        """Search for ever; what cannot be stored now is searched again later."""
        while True:
            try:
                has_more = await self.step() or await self.look_for_absent()
            except (Unavailable, Contention, Broken) as error:
                log.warning("statement_not_searched", why=error.why or error.what)
                has_more = False
            await asyncio.sleep(0 if has_more else self._settings.evidence_poll_seconds)

    async def look_for_absent(self) -> bool:
        """Tell now and then of completed payments that closed statements lack; say whether there may be more."""
        now = asyncio.get_running_loop().time()
        if now < self._look_at_seconds:
            return False
        most = self._settings.evidence_rows_max
        before, self._look_at_seconds = (
            self._look_at_seconds,
            now + self._settings.absent_look_seconds,
        )
        told = await self._store.tell_absent(self._settings.absent_after_days, most)
        if told:
            log.warning("payments_absent_from_statements", count=told)
        if told == most:
            self._look_at_seconds = before
        return told == most

    async def step(self) -> bool:
        """Search one part of one statement; say whether there was one.

        The next part has half as many rows after a failure, and twice as many after a success: the same rows would
        run into the same limit of time for ever.
        """
        try:
            searched = await self._store.search_next(self._rows)
        except (Unavailable, Contention):
            self._rows = max(1, self._rows // 2)
            raise
        self._rows = min(self._settings.evidence_rows_max, 2 * self._rows)
        if searched is not None and searched.news:
            log.info("statement_entries_told", found=searched.found, news=searched.news)
        return searched is not None
