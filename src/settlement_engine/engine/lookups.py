"""Reads what some answers need before they can be decided: accounts, histories, and what is compensated.

Promises: only answers that need it cause a query. A settlement whose query the database refuses as broken is set
aside and does not stop the others. Must never: decide an answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from settlement_engine.domain.decisions.after_the_end import needs_suspense
from settlement_engine.domain.decisions.history import (
    after_release,
    is_screened_compensation,
    needs_fees,
    needs_history,
    while_compensable,
)
from settlement_engine.domain.lifecycle import Event
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
        for pending in await self._read_again(batch):
            if not needs_history(pending.settlement, pending.answer):
                kept.append(pending)
                continue
            try:
                pending.history = await self._history(pending.settlement.id)
            except Broken as error:
                log.exception("history_not_read", why=error.why or error.what)
                self._set_aside(pending, error)
                continue
            pending.answer = after_release(pending.settlement, pending.history, pending.answer)
            kept.append(pending)
        return await self._check_compensations(kept)

    async def _read_again(self, batch: list[PendingTransition]) -> list[PendingTransition]:
        """Read again what compensates settlements whose return was turned down: less is left than was read."""
        kept = []
        for pending in batch:
            settlement = pending.settlement
            if not (pending.repeats and settlement.is_ended):
                kept.append(pending)
                continue
            try:
                found = await self._loaded(settlement.id)
            except Broken as error:
                log.exception("settlement_not_read", why=error.why or error.what)
                self._set_aside(pending, error)
                continue
            settlement.compensations = found.compensations if found else settlement.compensations
            kept.append(pending)
        return kept

    async def _loaded(self, settlement_id: UUID) -> Settlement | None:
        found = await self._lease.until_reached(lambda: self._store.load([settlement_id]))
        return found.get(settlement_id)

    async def _check_compensations(self, batch: list[PendingTransition]) -> list[PendingTransition]:
        """Refuse released compensations for which not enough is left to compensate."""
        released = [each for each in batch if _is_released_compensation(each)]
        if not released:
            return batch
        ids = {each.settlement.instruction.compensates for each in released}
        try:
            found = await self._lease.until_reached(
                lambda: self._store.load([each for each in ids if each is not None])
            )
        except Broken as error:
            if len(released) == 1:
                log.exception("compensated_not_read", why=error.why or error.what)
                self._set_aside(released[0], error)
                return [each for each in batch if each is not released[0]]
            kept = [each for each in batch if each not in released]
            for pending in released:  # one record that cannot be read costs no other's answer
                kept += await self._check_compensations([pending])
            return kept
        for pending in released:
            compensates = pending.settlement.instruction.compensates
            assert compensates is not None, "it is a compensation"
            pending.answer = while_compensable(
                pending.settlement, found.get(compensates), pending.answer
            )
        return batch

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


def _is_released_compensation(pending: PendingTransition) -> bool:
    """Say whether it is a compensation that would hold funds now."""
    answer = pending.answer
    return answer.event is Event.CLEARED and is_screened_compensation(pending.settlement, answer)
