"""Reads what some answers need before they can be decided: suspense and fees accounts, and histories.

Promises: only answers that need it cause a query. A settlement whose query the database refuses as broken is set
aside and does not stop the others. Must never: decide an answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from settlement_engine.domain.decisions.after_the_end import needs_suspense
from settlement_engine.domain.decisions.history import after_release, needs_fees, needs_history
from settlement_engine.errors import Broken

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from uuid import UUID

    from settlement_engine.domain.settlement import Moved, Settlement
    from settlement_engine.engine.decider import Decider
    from settlement_engine.engine.lease import EngineLease
    from settlement_engine.engine.mailbox import PendingTransition
    from settlement_engine.ports import SettlementStore

log = structlog.get_logger(__name__)


class Lookups:
    """Reads what the answers of a batch need."""

    def __init__(
        self,
        store: SettlementStore,
        decider: Decider,
        lease: EngineLease,
        set_aside: Callable[[PendingTransition, Exception], None],
    ) -> None:
        self._store = store
        self._decider = decider
        self._lease = lease
        self._set_aside = set_aside

    async def read_histories(self, batch: list[PendingTransition]) -> list[PendingTransition]:
        """Read the histories that answers of the batch depend on."""
        kept = []
        for pending in batch:
            if not needs_history(pending.settlement, pending.answer):
                kept.append(pending)
                continue
            try:
                pending.history = await self._history(pending.settlement.id)
            except Broken as error:
                log.exception("history_not_read", why=error.why or error.what)
                self._set_aside(pending, error)
                continue
            pending.answer = after_release(pending.history, pending.answer)
            kept.append(pending)
        return kept

    async def _history(self, settlement_id: UUID) -> tuple[Moved, ...]:
        return tuple(await self._lease.until_reached(lambda: self._store.history(settlement_id)))

    async def find_suspense(self, batch: list[PendingTransition]) -> list[PendingTransition]:
        """Look up the suspense accounts that answers of the batch may be booked to."""
        wanted = [
            pending
            for pending in batch
            if needs_suspense(pending.settlement, pending.answer, pending.chosen)
        ]
        if not wanted:
            return batch
        return await self._find(batch, wanted, self._decider.prefetch_suspense)

    async def find_fees(self, batch: list[PendingTransition]) -> list[PendingTransition]:
        """Look up the fees accounts that charges of returns may be booked to."""
        wanted = [pending for pending in batch if needs_fees(pending.settlement, pending.answer)]
        return await self._find(batch, wanted, self._decider.prefetch_fees) if wanted else batch

    async def _find(
        self,
        batch: list[PendingTransition],
        wanted: list[PendingTransition],
        prefetch: Callable[[Sequence[Settlement]], Awaitable[None]],
    ) -> list[PendingTransition]:
        settlements = [pending.settlement for pending in wanted]
        try:
            await self._lease.until_reached(lambda: prefetch(settlements))
        except Broken as error:
            log.exception("account_not_found", why=error.why or error.what)
            for pending in wanted:
                self._set_aside(pending, error)
            return [pending for pending in batch if pending not in wanted]
        return batch
