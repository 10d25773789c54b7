"""A caller's request to cancel a settlement, until it has had its effect or cannot have one.

Promises: the request is an event like any other, and the transition table decides its effect; the caller gets what is
committed. A bank that refuses the recall is not asked again by the same call: the settlement is then returned as it is.
Must never: report as cancelled a payment that the rail may have.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from settlement_engine.domain.lifecycle import TRANSITIONS, Event, State
from settlement_engine.domain.preconditions import RefusalCode
from settlement_engine.errors import Contention, WrongState

if TYPE_CHECKING:
    from uuid import UUID

    from settlement_engine.domain.settlement import Settlement
    from settlement_engine.engine.decider import Decider
    from settlement_engine.engine.mailbox import Mailbox
    from settlement_engine.engine.waiters import EndWaiters
    from settlement_engine.ports import SettlementStore

CANCEL_LOOKS_MAX: Final = 40
CANCEL_LOOK_SECONDS: Final = 0.05
CANCEL_REPEAT_LOOKS: Final = 10
"""So many looks after a request without effect it is passed on again; sooner if the settlement has moved."""


class Canceller:
    """Carries out the requests of one engine's callers."""

    def __init__(
        self, store: SettlementStore, waiting: EndWaiters, decider: Decider, mailbox: Mailbox
    ) -> None:
        self._store, self._waiting = store, waiting
        self._decider, self._mailbox = decider, mailbox

    async def cancel(self, settlement_id: UUID) -> Settlement:
        """Pass the request on, and wait until it has had its effect. Raises WrongState, Contention."""
        is_withdrawn = False
        asked_seq: int | None = None
        passed_on: tuple[int, int] | None = None
        for look in range(CANCEL_LOOKS_MAX):
            settlement = await self._waiting.load(settlement_id)
            if asked_seq is None:
                asked_seq = settlement.seq
            elif _was_cancelled(settlement) or await self._was_refused(settlement, asked_seq):
                return settlement
            is_withdrawn = is_withdrawn or self._decider.withdraw(settlement)
            if is_withdrawn and not settlement.is_ended:
                await asyncio.sleep(CANCEL_LOOK_SECONDS)
                continue
            if not self._decider.may_be_cancelled(settlement):
                what = f"a settlement that is {settlement.state.value} cannot be cancelled"
                why = _why_not_cancelled(settlement)
                raise WrongState(what, why=why, todo=_instead_of_cancelling(settlement))
            now = settlement.seq, look // CANCEL_REPEAT_LOOKS
            if now != passed_on:
                self._mailbox.request(settlement, Event.CANCELLED)
                passed_on = now
            await asyncio.sleep(CANCEL_LOOK_SECONDS)
        what = "another engine is changing the settlement"
        raise Contention(what, todo="Try again.")

    async def _was_refused(self, settlement: Settlement, asked_seq: int) -> bool:
        """Say whether the bank has refused the recall since: the state is then what it was before the request."""
        if settlement.seq == asked_seq or settlement.is_ended:
            return False
        history = await self._store.history(settlement.id)
        return any(
            moved.seq > asked_seq and moved.event is Event.RECALL_REFUSED for moved in history
        )


def _why_not_cancelled(settlement: Settlement) -> str:
    if settlement.is_ended:
        return "it has ended"
    if Event.CANCELLED in TRANSITIONS[settlement.state] and settlement.attempt is not None:
        return f"the rail {settlement.attempt.route.rail} has the payment, and does not support recalls"
    return "the rail may have the payment, and only its response can decide this"


def _instead_of_cancelling(settlement: Settlement) -> str:
    if settlement.state is State.COMPLETED:
        return "Ask the bank to give the money back: RecallSettlement."
    return "Ask GetSettlementStatus for its state."


def _was_cancelled(settlement: Settlement) -> bool:
    """Say whether the request has had its effect: a final state, or a recall that is in process."""
    is_refused = settlement.refusal_code == RefusalCode.CANCELLED_BY_CALLER
    return is_refused or settlement.state is State.RECALLING
