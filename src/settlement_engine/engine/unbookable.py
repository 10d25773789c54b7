"""What the database turns down for ever: put before people at once, while the engine goes on trying.

Promises: a step that cannot be written is an exception before it is tried again, and one that is turned
down again after the exception was closed opens another. It must never release or move anything: what was
answered stays with the settlement, whose hold stands.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from settlement_engine.domain.exceptions import unbookable_detail
from settlement_engine.errors import SettlementEngineError

if TYPE_CHECKING:
    from settlement_engine.domain.lifecycle import Event
    from settlement_engine.domain.settlement import Settlement
    from settlement_engine.engine.lease import EngineLease
    from settlement_engine.engine.mailbox import Mailbox, PendingTransition
    from settlement_engine.engine.settings import EngineSettings
    from settlement_engine.ports import CaseStore, Meter

log = structlog.get_logger(__name__)


class Unbookable:
    """Opens the exceptions. Without a store of exceptions it only logs and counts."""

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
        """Name where what is tried again is offered."""
        self._mailbox = mailbox

    def set_aside(self, pending: PendingTransition, error: Exception) -> None:
        """Put what cannot be written before people, and try it again later; the others go on."""
        self._lease.spawn(self._try_later(pending, error))

    async def _try_later(self, pending: PendingTransition, error: Exception) -> None:
        await self._open_exception(pending.settlement, pending.answer.event, error)
        await asyncio.sleep(self._settings.broken_due_seconds)
        assert self._mailbox is not None, "nothing is set aside before there is a mailbox"
        if self._mailbox.has_slot(pending):
            self._mailbox.queue.offer([pending])

    async def _open_exception(self, settlement: Settlement, event: Event, error: Exception) -> None:
        """Put a step before people. If that fails too, the next try of the step repeats it."""
        why = error.why or error.what if isinstance(error, SettlementEngineError) else repr(error)
        detail = unbookable_detail(settlement.state, event, why)
        log.error("cannot_be_booked", settlement=str(settlement.id), **detail)
        if self._cases is None:
            return
        try:
            is_new = await self._cases.open_unbookable(settlement.id, detail)
        except SettlementEngineError as failure:
            log.warning("exception_not_opened", why=failure.why or failure.what)
            return
        if is_new:
            self._meter.invariant_warning("cannot_be_booked")
