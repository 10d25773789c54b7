"""Transitions that the database always refuses: a case is opened at once, and the engine keeps trying.

Promises: a transition that cannot be written becomes a case before the next try; if it is refused again after the
case was closed, another case is opened. Must never: release or move money; the hold stays as it is.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from settlement_engine.domain.exceptions import unbookable_detail, unreadable_detail
from settlement_engine.errors import SettlementEngineError

if TYPE_CHECKING:
    from uuid import UUID

    from settlement_engine.domain.lifecycle import Event
    from settlement_engine.domain.settlement import Settlement
    from settlement_engine.engine.lease import EngineLease
    from settlement_engine.engine.mailbox import Mailbox, PendingTransition
    from settlement_engine.engine.settings import EngineSettings
    from settlement_engine.ports import CaseStore, Meter, Unreadable

log = structlog.get_logger(__name__)


class Unbookable:
    """Opens the cases. Without a store of cases it only logs and counts."""

    def __init__(
        self,
        settings: EngineSettings,
        cases: CaseStore | None,
        lease: EngineLease,
        meter: Meter,
    ) -> None:
        self._settings = settings
        self._cases = cases
        self._lease = lease
        self._meter = meter
        self._mailbox: Mailbox | None = None

    def attach(self, mailbox: Mailbox) -> None:
        """Set the function that receives the answers to try again."""
        self._mailbox = mailbox

    def set_aside(self, pending: PendingTransition, error: Exception) -> None:
        """Open a case for a transition that cannot be written, and try it again later; others continue."""
        self._lease.spawn(self._try_later(pending, error))

    def report(self, unreadable: Unreadable) -> None:
        """Open a case for a claimed record that cannot be read; the next claim of it repeats that."""
        detail = unreadable_detail(unreadable.why)
        self._lease.spawn(self._open(unreadable.settlement_id, detail))

    async def _try_later(self, pending: PendingTransition, error: Exception) -> None:
        await self._open_exception(pending.settlement, pending.answer.event, error)
        await asyncio.sleep(self._settings.broken_due_seconds)
        assert self._mailbox is not None, "nothing is set aside before there is a mailbox"
        if self._mailbox.has_slot(pending):
            self._mailbox.queue.offer([pending])

    async def _open_exception(self, settlement: Settlement, event: Event, error: Exception) -> None:
        """Open a case for a transition. If that fails too, the next try repeats it."""
        why = error.why or error.what if isinstance(error, SettlementEngineError) else repr(error)
        await self._open(settlement.id, unbookable_detail(settlement.state, event, why))

    async def _open(self, settlement_id: UUID, detail: dict[str, str]) -> None:
        log.error("cannot_be_booked", settlement=str(settlement_id), **detail)
        if self._cases is None:
            return
        try:
            is_new = await self._cases.open_unbookable(settlement_id, detail)
        except SettlementEngineError as failure:
            log.warning("case_not_opened", why=failure.why or failure.what)
            return
        if is_new:
            self._meter.invariant_warning("cannot_be_booked")
