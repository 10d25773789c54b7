"""A caller's request to cancel a settlement, until it has had its effect or cannot have one.

Promises: the request is an event like any other, and the transition table decides its effect; the caller gets what is
committed. A bank that refuses the recall is not asked again by the same call: the settlement is then returned as it is.
A payment that waits in an open file is cancelled through any engine: it is claimed on the store's proof that it is in
no closed one, which also keeps it out of every later one. Must never: report as cancelled a payment that the rail may
have.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple

from settlement_engine.domain.lifecycle import TRANSITIONS, Event, State
from settlement_engine.domain.preconditions import Refusal, RefusalCode
from settlement_engine.errors import Contention, WrongState
from settlement_engine.ports import Answer

if TYPE_CHECKING:
    from uuid import UUID

    from settlement_engine.domain.settlement import Settlement
    from settlement_engine.engine.decider import Decider
    from settlement_engine.engine.gate import Gate
    from settlement_engine.engine.lease import EngineLease
    from settlement_engine.engine.mailbox import Mailbox
    from settlement_engine.engine.waiters import EndWaiters
    from settlement_engine.ports import SettlementStore

CANCEL_LOOKS_MAX: Final = 40
CANCEL_LOOK_SECONDS: Final = 0.05
CANCEL_REPEAT_LOOKS: Final = 10
"""So many looks after a request without effect it is passed on again; sooner if the settlement has moved."""
NOT_FILED: Final = "claimed before it was in a closed file: nothing has left"


class StoredProof(NamedTuple):
    """What proves, and makes sure, that a payment which waits in an open file never leaves."""

    store: SettlementStore
    lease: EngineLease
    gate: Gate

    async def claim(self, settlement_id: UUID) -> Settlement | None:
        """Claim it; None if it may have left. Raises Unavailable, Contention."""
        return await self.store.claim_unfiled(self.lease.engine_id, settlement_id)


class Canceller:
    """Carries out the requests of one engine's callers."""

    def __init__(
        self,
        waiting: EndWaiters,
        decider: Decider,
        mailbox: Mailbox,
        proof: StoredProof,
    ) -> None:
        self._waiting, self._decider, self._mailbox = waiting, decider, mailbox
        self._proof = proof

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
            is_withdrawn = is_withdrawn or await self._withdraws(settlement)
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
        history = await self._proof.store.history(settlement.id)
        return any(
            moved.seq > asked_seq and moved.event is Event.RECALL_REFUSED for moved in history
        )

    async def _withdraws(self, settlement: Settlement) -> bool:
        """Take a payment that has not left out of its open file, whichever engine has that; False if it may have."""
        if self._decider.withdraw(settlement):
            return True
        if not self._decider.may_be_unfiled(settlement, self._proof.gate):
            return False
        claimed = await self._proof.claim(settlement.id)
        if claimed is None or claimed.attempt is None:
            return False
        refusal = Refusal(code=RefusalCode.CANCELLED_BY_CALLER, detail={"text": NOT_FILED})
        answer = Answer(
            settlement_id=claimed.id,
            event=Event.UNDELIVERED,
            attempt=claimed.attempt.number,
            text=NOT_FILED,
            refusal=refusal,
        )
        self._mailbox.carry(claimed)
        self._mailbox.hear([answer])
        return True


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
