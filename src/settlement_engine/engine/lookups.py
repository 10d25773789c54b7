"""What has to be read before some answers can be decided: suspense and fees accounts, and histories.

Promises: hardly any answer needs it, and only those that do are looked up. A settlement whose look-up the
database finds broken is set aside and does not stop the others.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.preconditions import RefusalCode
from settlement_engine.errors import Broken

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from typing import Any
    from uuid import UUID

    from settlement_engine.domain.settlement import Moved, Settlement
    from settlement_engine.engine.decider import Decider
    from settlement_engine.engine.mailbox import PendingTransition
    from settlement_engine.ports import Answer, SettlementStore

FIRST_SEQ: Final = 1
"""The move that admits. What is screened at a later one was parked, or waited in between."""

_DEPENDS_ON_HISTORY: Final = frozenset({Event.PARKED, Event.RECALLED})

log = structlog.get_logger(__name__)


def needs_history(settlement: Settlement, answer: Answer) -> bool:
    """Say whether the answer means something else after another history."""
    if answer.event is Event.PARKED:
        return settlement.state is State.VALIDATING and settlement.seq > FIRST_SEQ
    return answer.event is Event.RECALLED and settlement.state is State.RECALLING


def recalled_as(history: Sequence[Moved]) -> RefusalCode:
    """Say why it was recalled: by the last move that has asked the rail to give it back."""
    for moved in reversed(history):
        if moved.to_state is State.RECALLING and moved.from_state is not State.RECALLING:
            is_ours = moved.event is Event.OVERDUE
            return RefusalCode.RECALLED_OVERDUE if is_ours else RefusalCode.CANCELLED_BY_CALLER
    return RefusalCode.CANCELLED_BY_CALLER


def is_released(history: Sequence[Moved], answer: Answer) -> bool:
    """Say whether two people have released it already, from being parked for the same reason."""
    for before, after in pairwise(history):
        if before.event is Event.PARKED and after.event is Event.APPROVED:
            said = before.detail
            if (said.get("code", ""), said.get("text", "")) == (answer.code, answer.text):
                return True
    return False


class Lookups:
    """Reads what is needed, for a batch."""

    def __init__(
        self,
        store: SettlementStore,
        decider: Decider,
        until_reached: Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]],
        set_aside: Callable[[PendingTransition, Exception], None],
    ) -> None:
        self._store = store
        self._decider = decider
        self._until_reached = until_reached
        self._set_aside = set_aside

    async def read_histories(self, batch: list[PendingTransition]) -> list[PendingTransition]:
        """Read the histories on which answers of the batch depend."""
        kept = []
        for pending in batch:
            is_told_by_itself = pending.answer.event not in _DEPENDS_ON_HISTORY
            if is_told_by_itself or not needs_history(pending.settlement, pending.answer):
                kept.append(pending)
                continue
            try:
                pending.history = await self._history(pending.settlement.id)
            except Broken as error:
                log.exception("history_not_read", why=error.why or error.what)
                self._set_aside(pending, error)
                continue
            if pending.answer.event is Event.PARKED and is_released(
                pending.history, pending.answer
            ):
                pending.answer = msgspec.structs.replace(
                    pending.answer, event=Event.CLEARED, code="", text=""
                )
            kept.append(pending)
        return kept

    async def _history(self, settlement_id: UUID) -> tuple[Moved, ...]:
        return tuple(await self._until_reached(lambda: self._store.life(settlement_id)))

    async def find_suspense(self, batch: list[PendingTransition]) -> list[PendingTransition]:
        """Look up where to book what has no other home."""
        wanted = [
            pending
            for pending in batch
            if pending.is_uncovered or self._decider.is_disproof(pending.settlement, pending.answer)
        ]
        if not wanted:
            return batch
        return await self._find(batch, wanted, self._decider.prefetch_suspense)

    async def find_fees(self, batch: list[PendingTransition]) -> list[PendingTransition]:
        """Look up where to book what was charged for a return."""
        wanted = [
            pending
            for pending in batch
            if pending.answer.event is Event.RETURNED
            and pending.answer.stated.charges_minor
            and pending.settlement.state is State.COMPLETED
        ]
        return await self._find(batch, wanted, self._decider.prefetch_fees) if wanted else batch

    async def _find(
        self,
        batch: list[PendingTransition],
        wanted: list[PendingTransition],
        prefetch: Callable[[Sequence[Settlement]], Awaitable[None]],
    ) -> list[PendingTransition]:
        settlements = [pending.settlement for pending in wanted]
        try:
            await self._until_reached(lambda: prefetch(settlements))
        except Broken as error:
            log.exception("account_not_found", why=error.why or error.what)
            for pending in wanted:
                self._set_aside(pending, error)
            return [pending for pending in batch if pending not in wanted]
        return batch
