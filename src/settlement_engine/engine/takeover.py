"""Takeover: settlements that are due, and those of engines that are gone, are claimed and continued.

Promises: it claims at regular intervals from the start on. A claim raises the fencing token, so later writes of the
former owner are refused. Must never: recover by a code path of its own; a question that the former owner may have
asked has no answer, and that is the event NO_ANSWER.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from settlement_engine.domain.lifecycle import Event
from settlement_engine.engine.mailbox import PendingTransition
from settlement_engine.errors import Broken, Contention, Unavailable
from settlement_engine.ports import Answer, Unreadable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from settlement_engine.domain.settlement import Settlement
    from settlement_engine.engine.asker import Asker
    from settlement_engine.engine.decider import Decider
    from settlement_engine.engine.lease import EngineLease
    from settlement_engine.engine.mailbox import Mailbox
    from settlement_engine.engine.settings import EngineSettings
    from settlement_engine.engine.unbookable import Unbookable
    from settlement_engine.ports import Claimed, Meter, SettlementStore

CLOSE_LOOKS: Final = 3
"""How often an engine looks for its own lost settlements after the response to a claim was lost."""

log = structlog.get_logger(__name__)


class Takeover:
    """Claims settlements without a running engine, and continues them."""

    def __init__(  # noqa: PLR0913 - the parts of the engine that it hands on to
        self,
        settings: EngineSettings,
        store: SettlementStore,
        *,
        mailbox: Mailbox,
        decider: Decider,
        asker: Asker,
        lease: EngineLease,
        meter: Meter,
        unbookable: Unbookable,
    ) -> None:
        self._settings = settings
        self._store = store
        self._mailbox = mailbox
        self._decider = decider
        self._asker = asker
        self._lease = lease
        self._meter = meter
        self._unbookable = unbookable
        self._unreadable: dict[UUID, float] = {}
        """Records of this engine that could not be read, and when each is read again."""
        self._is_closed = False
        self._close_looks = 0

    def close(self) -> None:
        """Claim nothing more."""
        self._is_closed = True

    async def run(self) -> None:
        """Claim for ever; a full claim is followed by the next one at once."""
        swept_at = float("-inf")
        while not self._is_closed:
            now = self._lease.monotonic()
            is_sweep = now - swept_at >= self._settings.sweep_interval_seconds
            try:
                count = await self.claim(is_sweep=is_sweep)
            except (Unavailable, Contention, Broken) as error:
                log.warning("claim_failed", why=error.why or error.what)
                self._close_looks = CLOSE_LOOKS
                await self._lease.pause()
                continue
            if count >= self._settings.claim_batch_max:
                continue
            if is_sweep:
                swept_at = now
            await asyncio.sleep(self._settings.claim_interval_seconds)

    async def look_after_own(self) -> None:
        """Find, for ever, settlements that this engine owns and does not have in memory, and continue them.

        There should be none, except after a claim whose response was lost; after one, the checks are more
        frequent. A settlement missing in two checks in a row is not just between store and memory.
        """
        missing: set[UUID] = set()
        looked_at = self._lease.monotonic()
        settings = self._settings
        while not self._is_closed:
            await asyncio.sleep(min(settings.close_look_seconds, settings.look_interval_seconds))
            now = self._lease.monotonic()
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
        """Claim again settlements missing for the second time; return those missing for the first time."""
        engine_id = self._lease.engine_id
        missing = await self._missing()
        lost = list(missing & missing_before)[: self._settings.claim_batch_max]
        if not lost:
            return missing
        if unexpected := [key for key in lost if key not in self._unreadable]:
            kind = "claim_answer_lost" if self._close_looks else "lost_from_memory"
            self._meter.invariant_warning(kind, len(unexpected))
            log.error(kind, count=len(unexpected))
            self._close_looks = CLOSE_LOOKS  # this response may be lost as well
        found = await self._with_proof(await self._store.reclaim(engine_id, lost))
        if engine_id == self._lease.engine_id:
            self.resume(found)
        return set()

    async def _missing(self) -> set[UUID]:
        owned = await self._store.owned(self._lease.engine_id)
        now = self._lease.monotonic()
        self._unreadable = {key: at for key, at in self._unreadable.items() if key in owned}
        parked = {key for key, at in self._unreadable.items() if at > now}
        return {key for key in owned - parked if not self._mailbox.is_carried(key)}

    async def claim(self, *, is_sweep: bool) -> int:
        """Claim once; returns how many settlements were taken."""
        room = self._settings.open_max - self._mailbox.carried_count
        limit = min(self._settings.claim_batch_max, room)
        if limit <= 0:
            return 0
        engine_id = self._lease.engine_id
        claimed = await self._with_proof(
            await self._store.claim(engine_id, limit, is_sweep=is_sweep)
        )
        if engine_id != self._lease.engine_id:
            return 0  # declared gone meanwhile: they are claimed again with the new engine id
        if claimed:
            log.info("settlements_claimed", count=len(claimed), engine_id=engine_id)
            self.resume(claimed)
        return len(claimed)

    async def _with_proof(
        self, claimed: Sequence[Claimed | Unreadable]
    ) -> Sequence[Claimed | Unreadable]:
        """Return the claims; what is proved to have never left counts as not asked."""
        if not claimed:
            return claimed
        return await self._lease.until_reached(lambda: self._decider.without_unfiled(claimed))

    def resume(self, claimed: Sequence[Claimed | Unreadable]) -> None:
        """Continue claimed settlements: those that were parked until due, or whose engine is gone."""
        now = self._lease.now()
        questions: list[Settlement] = []
        pendings: list[PendingTransition] = []
        for claim in claimed:
            if isinstance(claim, Unreadable):
                self._set_aside(claim)
                continue
            self._unreadable.pop(claim.settlement.id, None)
            settlement, how = claim.settlement, self._decider.take_over(claim, now)
            if how.event is None and not how.asks:
                continue
            self._mailbox.carry(settlement)
            if how.event is None:
                questions.append(settlement)
            else:
                pendings.append(_by_event(settlement, how.event))
        # These go before answers that arrive meanwhile, so that all of them are enquired about soon.
        next_ones = [each for each in pendings if self._mailbox.takes(each)]
        released = [each for each in next_ones if each.answer.event is Event.RELEASED]
        begun = [each for each in next_ones if each.answer.event is not Event.RELEASED]
        self._mailbox.queue.offer(begun, is_finishing=True)
        self._mailbox.queue.offer(released)
        if questions:
            self._asker.ask(questions)

    def _set_aside(self, claim: Unreadable) -> None:
        """Open a case for a record that cannot be read, and read it again later; others continue."""
        again_at = self._lease.monotonic() + self._settings.broken_due_seconds
        self._unreadable[claim.settlement_id] = again_at
        self._unbookable.report(claim)


def _by_event(settlement: Settlement, event: Event) -> PendingTransition:
    attempt = settlement.attempt.number if settlement.attempt else 0
    answer = Answer(settlement_id=settlement.id, event=event, attempt=attempt)
    return PendingTransition(settlement, answer, is_takeover=True)
