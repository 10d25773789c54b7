"""Searches imported statements for our payments, and hands what is news to their settlements.

Promises: every kept statement is searched to its end, whichever engine imported it and whatever was interrupted;
each step is bounded, and one that was not stored in its time is tried again with half as many rows. An entry that
cannot be read is set aside with an alarm, keeps no other one, and is tried again now and then, also by another version.
Must never: decide what an entry means for a settlement (``domain/decisions/booked.py`` does, when the settlement's
owner works the report off).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from settlement_engine.domain.closed_differences import NO_RULES
from settlement_engine.errors import Broken, Contention, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from settlement_engine.domain.matching.values import Rules
    from settlement_engine.engine.settings import EngineSettings
    from settlement_engine.ports.statement_evidence import EvidenceStore

log = structlog.get_logger(__name__)

UNREAD_LOOK_SECONDS: Final = 60.0
"""How often an engine looks for entries that were set aside and may be tried again."""

UNREAD_AT_ONCE_MAX: Final = 500
"""The most of them that one look tries in vain: the search itself goes on meanwhile."""


def _nobody_is_shown(_count: int) -> None:
    """Show the number of unread entries to nobody."""


class StatementSearch:
    """Works statements off, the oldest first; every engine has one, and they share the work."""

    def __init__(
        self,
        settings: EngineSettings,
        store: EvidenceStore,
        show_unread: Callable[[int], None] = _nobody_is_shown,
        rules: Rules = NO_RULES,
    ) -> None:
        """``show_unread`` is called with the number of entries that are set aside.

        ``rules`` are those of matching: what they close without a person is no other amount here either.
        """
        self._rules = rules
        self._settings = settings
        self._store = store
        self._show_unread = show_unread
        self._unread_look_at_seconds = 0.0
        self._unread_left = UNREAD_AT_ONCE_MAX
        self._rows = settings.evidence_rows_max
        self._look_at_seconds = 0.0

    async def run(self) -> None:
        """Search for ever; what cannot be stored now is searched again later."""
        while True:
            try:
                has_more = (
                    await self.step()
                    or await self.look_for_absent()
                    or await self.look_for_unread()
                )
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

    async def look_for_unread(self) -> bool:
        """Try now and then what could not be read; say whether there may be more of it."""
        now = asyncio.get_running_loop().time()
        if now < self._unread_look_at_seconds:
            return False
        searched = await self._store.search_unread(self._rules) if self._unread_left else None
        if searched is None:
            self._unread_look_at_seconds = now + UNREAD_LOOK_SECONDS
            self._unread_left = UNREAD_AT_ONCE_MAX
            self._show_unread(await self._store.unread_count())
            return False
        if searched.unread:
            self._unread_left -= 1
        else:
            log.info("statement_entry_read_after_all", found=searched.found, news=searched.news)
        return True

    async def step(self) -> bool:
        """Search one part of one statement; say whether there was one.

        The next part has half as many rows after a failure, and twice as many after a success: the same rows would
        run into the same limit of time for ever.
        """
        try:
            searched = await self._store.search_next(self._rows, self._rules)
        except (Unavailable, Contention, Broken):
            self._rows = max(1, self._rows // 2)
            raise
        self._rows = min(self._settings.evidence_rows_max, 2 * self._rows)
        if searched is None:
            return False
        if searched.unread:
            self._unread_look_at_seconds = 0.0  # it is counted soon
            first = searched.unread[0]
            log.error(
                "statement_entries_not_read",
                statement=searched.statement,
                count=len(searched.unread),
                entry=first.entry,
                why=first.why,
            )
        if searched.news:
            log.info("statement_entries_told", found=searched.found, news=searched.news)
        return True
