"""The runner: it interprets the page.

An answer comes in, the page says what follows, a batch of such steps is one commit, and after the commit
the next questions are asked. The runner keeps in memory only what has a question open here and now; what
rests lies in the store until it is due. What it cannot write it does not believe: every step is guarded
by state, sequence and epoch, and a stale one is dropped.

It never releases money by itself: a time-out is the event NO_ANSWER, and the page knows what that means.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec
import structlog

from settlement_engine.domain.decisions.screened import SCREENED
from settlement_engine.domain.decisions.turned_down import decide_turned_down
from settlement_engine.domain.lifecycle import (
    ENDS,
    Ask,
    Do,
    Event,
    is_one_more_question,
    is_recorded,
)
from settlement_engine.engine.batching import Batcher
from settlement_engine.engine.integrity import silence
from settlement_engine.engine.lookups import Lookups
from settlement_engine.engine.mailbox import Mailbox, PendingTransition
from settlement_engine.engine.writer import StepWriter
from settlement_engine.errors import Broken, Contention, Unavailable
from settlement_engine.ports import Answer, Claimed, Outcome, Result, Step

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from datetime import datetime
    from uuid import UUID

    from settlement_engine.domain.settlement import Settlement
    from settlement_engine.engine.asker import Asker
    from settlement_engine.engine.batching import Doorbell
    from settlement_engine.engine.decider import Decider
    from settlement_engine.engine.directory import Directory
    from settlement_engine.engine.inbound import InboundWorker
    from settlement_engine.engine.integrity import Integrity
    from settlement_engine.engine.presence import Presence
    from settlement_engine.engine.settings import EngineSettings
    from settlement_engine.engine.unbookable import Unbookable
    from settlement_engine.engine.waiting import WaitingRoom
    from settlement_engine.ports import Meter, SettlementStore

log = structlog.get_logger(__name__)

T = TypeVar("T")

HANDS: Final = 2
"""Under a full load the next batch is decided while the database writes the one before."""

LONG_BATCH: Final = 100
"""After so many others have a turn: each call from outside is taken in by a few turns of the loop."""


class Runner:
    """Carries settlements from answer to answer."""

    def __init__(  # noqa: PLR0913 - the one place where the engine's parts meet
        self,
        settings: EngineSettings,
        store: SettlementStore,
        *,
        presence: Presence,
        decider: Decider,
        directory: Directory,
        asker: Asker,
        integrity: Integrity,
        waiting: WaitingRoom,
        doorbell: Doorbell,
        inbound: InboundWorker,
        meter: Meter,
        unbookable: Unbookable,
    ) -> None:
        self._settings = settings
        self._store = store
        self._unbookable = unbookable
        self._writer, self._presence = StepWriter(store, presence, meter), presence
        self._decider = decider
        self._lookups = Lookups(store, decider, self._until_reached, self._set_aside)
        self._directory = directory
        self._asker = asker
        self._integrity = integrity
        self._waiting = waiting
        self._doorbell = doorbell
        self._inbound = inbound
        self._meter = meter
        self._open: dict[UUID, Settlement] = {}
        self._mailbox = Mailbox(inbound, meter)
        self._batcher: Batcher[PendingTransition] = Batcher(
            self._write,
            batch_max=settings.move_batch_max,
            gap_seconds=settings.gap_seconds,
            crowd=self._open.__len__,
            hands=HANDS,
        )
        asker.attach(self.hear, self.open_settlement)
        inbound.attach(self.hear)

    # --- coming in ------------------------------------------------------------------------------

    @property
    def open_count(self) -> int:
        """Count the settlements that have a question open here."""
        return len(self._open)

    @property
    def backlog(self) -> int:
        """Count the steps that wait to be written: what waits for this engine and for nobody else."""
        return len(self._batcher)

    @property
    def is_idle(self) -> bool:
        """Say whether nothing is open here and nothing is being written."""
        return not self._open and self._batcher.is_idle

    def open_settlement(self, settlement_id: UUID) -> Settlement | None:
        """Return a settlement that has a question open here."""
        return self._open.get(settlement_id)

    def is_carried(self, settlement_id: UUID) -> bool:
        """Say whether the settlement is open here, or a step of it is being written."""
        return settlement_id in self._open or settlement_id in self._mailbox

    def begin(self, settlements: Sequence[Settlement]) -> None:
        """Carry settlements that this engine owns and whose question is still to be put."""
        for settlement in settlements:
            self._open[settlement.id] = settlement
        self._asker.ask(settlements)

    def resume(self, claimed: Sequence[Claimed]) -> None:
        """Carry on what was claimed: a rest that is over, or a life whose owner is gone."""
        now = self._presence.now()
        questions: list[Settlement] = []
        pendings: list[PendingTransition] = []
        for claim in claimed:
            settlement, how = claim.settlement, self._decider.take_over(claim, now)
            if how.event is None and not how.asks:
                continue
            self._open[settlement.id] = settlement
            if how.event is None:
                questions.append(settlement)
            else:
                pendings.append(self._takeover(settlement, how.event))
        # What is taken over goes before answers that come meanwhile: all are asked about as soon as may be.
        next_ones = [each for each in pendings if self._mailbox.takes(each)]
        released = [each for each in next_ones if each.answer.event is Event.RELEASED]
        begun = [each for each in next_ones if each.answer.event is not Event.RELEASED]
        self._batcher.offer(begun, is_finishing=True)
        self._batcher.offer(released)
        if questions:
            self._asker.ask(questions)

    def _takeover(self, settlement: Settlement, event: Event) -> PendingTransition:
        attempt = settlement.attempt.number if settlement.attempt else 0
        answer = Answer(settlement_id=settlement.id, event=event, attempt=attempt)
        return PendingTransition(settlement, answer, is_takeover=True)

    def hear(self, answers: Iterable[Answer]) -> None:
        """Take in answers, asked for or not."""
        beginning: list[PendingTransition] = []
        finishing: list[PendingTransition] = []
        strangers: list[Answer] = []
        for answer in answers:
            settlement = self._open.get(answer.settlement_id)
            if settlement is None:
                strangers.append(answer)
                continue
            pending = PendingTransition(settlement, answer)
            if self._mailbox.takes(pending):
                lane = beginning if answer.event is Event.CLEARED else finishing
                lane.append(pending)
        self._batcher.offer(beginning)
        self._batcher.offer(finishing, is_finishing=True)
        heard = [answer for answer in strangers if answer.event is not Event.NO_ANSWER]
        if heard:
            self._presence.spawn(self._hear_strangers(heard))

    async def _hear_strangers(self, answers: list[Answer]) -> None:
        """Take in word about settlements that rest, have ended, or are another engine's."""
        wanted = [answer.settlement_id for answer in answers]
        try:
            found = await self._until_reached(lambda: self._store.load(wanted))
        except Broken as error:
            log.exception("strangers_not_read", why=error.why or error.what)
            self._inbound.released(answers)
            return
        for answer in answers:
            settlement = found.get(answer.settlement_id)
            if settlement is None:
                self._meter.anomaly("answer_without_settlement")
                self._inbound.decided(answer, is_applied=False)
            elif answer.settlement_id in self._open:
                self.hear([answer])
            elif self._mailbox.takes(pending := PendingTransition(settlement, answer)):
                self._batcher.offer([pending])

    def wish(self, settlement: Settlement, event: Event) -> None:
        """Take in a wish from outside (a cancel), about a settlement as it was loaded."""
        here = self._open.get(settlement.id, settlement)
        attempt = here.attempt.number if here.attempt else 0
        answer = Answer(settlement_id=here.id, event=event, attempt=attempt)
        pending = PendingTransition(here, answer)
        if self._mailbox.takes(pending):
            self._batcher.offer([pending])

    # --- writing --------------------------------------------------------------------------------

    async def run(self) -> None:
        """Write steps for ever."""
        await self._batcher.run()

    async def _write(self, batch: list[PendingTransition]) -> None:
        batch = await self._lookups.read_histories(batch)
        screened = [p for p in batch if p.answer.event in SCREENED]
        try:
            if screened:
                await self._decide_routes(screened)
        except Broken as error:
            # Without their accounts these cannot be decided; the others can.
            log.exception("accounts_not_read", why=error.why or error.what)
            for pending in (p for p in batch if p.answer.event in SCREENED):
                self._set_aside(pending, error)
            batch = [p for p in batch if p.answer.event not in SCREENED]
        batch = await self._lookups.find_fees(await self._lookups.find_suspense(batch))
        pairs = await self._decide_all(batch)
        if not pairs:
            return
        started_at = self._presence.monotonic()
        outcomes = await self._writer.write([step for _, step in pairs])
        seconds = self._presence.monotonic() - started_at
        self._meter.batch("move", len(pairs), seconds)
        if len(pairs) > LONG_BATCH:
            await asyncio.sleep(0)
        self._take_in(pairs, outcomes, seconds)

    async def _decide_routes(self, screened: list[PendingTransition]) -> None:
        """Decide the route of each, once, and look up the accounts that it needs."""
        settlements = [pending.settlement for pending in screened]
        routes = await self._until_reached(
            lambda: self._decider.prefetch(settlements, self._presence.now())
        )
        for pending in screened:
            pending.route = routes[pending.settlement.id]

    async def _decide_all(
        self, batch: list[PendingTransition]
    ) -> list[tuple[PendingTransition, Step]]:
        """Decide on a batch; each pending of it is paired with its step, or done with."""
        pairs: list[tuple[PendingTransition, Step]] = []
        now = self._presence.now()
        for number, pending in enumerate(batch, 1):
            if number % LONG_BATCH == 0:
                await asyncio.sleep(0)
            try:
                step = self._decide(pending, now)
                if step is not None and pending.settlement.recorded is not None:
                    step = self._unaltered(step, pending, now)
            except Exception as error:
                # One settlement that cannot be decided must not end the engine, nor its successors.
                settlement_id = str(pending.settlement.id)
                log.exception("not_decided", settlement=settlement_id)
                self._meter.anomaly("not_decided")
                self._set_aside(pending, error)
                continue
            if step is not None:
                pairs.append((pending, step))
            else:
                self._inbound.decided(pending.answer, is_applied=False)
                self._batcher.offer(self._done(pending))
        return pairs

    def _decide(self, pending: PendingTransition, now: datetime) -> Step | None:
        settlement, answer = pending.settlement, pending.answer
        if pending.chosen is not None:
            return self._decider.step(settlement, pending.chosen, answer)
        step = self._decider.decide(settlement, answer, now, pending.history, pending.route)
        if step is None:
            return None
        if step.event is Event.NO_ANSWER and answer.event is not Event.NO_ANSWER:
            self._meter.anomaly("answer_without_row")
        if pending.is_takeover and step.row.state not in ENDS:
            return msgspec.structs.replace(step, rest_seconds=None)
        return step

    def _unaltered(self, step: Step, pending: PendingTransition, now: datetime) -> Step | None:
        """Book nothing on what was altered in the database, whatever was answered."""
        if self._integrity.of_step(step, pending.answer.event):
            return step
        return self._decider.decide(pending.settlement, silence(pending.settlement), now)

    def _set_aside(self, pending: PendingTransition, error: Exception) -> None:
        """Put what cannot be written before people, and try it again later; the others go on."""
        self._presence.spawn(self._try_later(pending, error))

    async def _try_later(self, pending: PendingTransition, error: Exception) -> None:
        event = pending.answer.event
        await self._unbookable.open_exception(pending.settlement, event, error)
        await asyncio.sleep(self._settings.broken_rest_seconds)
        if self._mailbox.has_slot(pending):
            self._batcher.offer([pending])

    # --- afterwards -----------------------------------------------------------------------------

    def _take_in(
        self,
        pairs: list[tuple[PendingTransition, Step]],
        outcomes: list[Outcome | Broken],
        commit_seconds: float,
    ) -> None:
        """Believe what was written, and ask what comes next."""
        asking: list[Settlement] = []
        applied: list[Step] = []
        again: list[PendingTransition] = []
        for (pending, step), outcome in zip(pairs, outcomes, strict=True):
            if isinstance(outcome, Broken):
                self._set_aside(pending, outcome)
            elif outcome.result is Result.APPLIED:
                applied.append(step)
                if pending.answer.report_id:
                    self._inbound.decided(pending.answer, is_applied=True)
                if self._believe(step, outcome.at):
                    asking.append(step.settlement)
                again.extend(self._done(pending))
            elif outcome.result is Result.STALE:
                self._meter.anomaly("stale_step")
                self._inbound.turned_stale(pending.answer, pending.settlement)
                again.extend(self._drop(pending))
            else:
                again.append(self._turned_down(pending, outcome))
        if applied:
            self._meter.moved(applied, commit_seconds)
            self._doorbell.ring()
        if asking:
            self._asker.ask(asking)
        self._batcher.offer(again)

    def _believe(self, step: Step, at: datetime) -> bool:
        """Bring the settlement in memory to where the store has it; True when it asks now."""
        settlement, row = step.settlement, step.row
        if is_recorded(settlement.state, row):
            settlement.seq += 1
            settlement.asked = settlement.asked + 1 if is_one_more_question(row) else 0
        else:
            settlement.asked += 1
        if step.attempt is not None:
            settlement.recorded = None  # the bytes are ours, and in memory from now on
        attempt = step.attempt or settlement.attempt
        if attempt is not None and step.event is Event.NOT_FOUND and row.ask is Ask.SEND:
            attempt = msgspec.structs.replace(attempt, sends=attempt.sends + 1)
        settlement.attempt = attempt
        settlement.state = row.state
        settlement.rail_reference = step.rail_reference or settlement.rail_reference
        settlement.confirmation = step.confirmation or settlement.confirmation
        settlement.is_frozen = settlement.is_frozen or row.do in (Do.EXCEPT, Do.SUSPEND)
        if step.back is not None:
            settlement.returns = (*settlement.returns, step.back)
        if step.refusal is not None:
            settlement.refusal_code = step.refusal.code.value
            settlement.refusal_detail = step.refusal.detail
        if row.state in ENDS:
            settlement.ended_at = settlement.ended_at or at
            self._let_go(settlement)
            self._waiting.ended(settlement)
            return False
        if step.rest_seconds is not None:
            self._let_go(settlement)
            return False
        self._open[settlement.id] = settlement
        return True

    def _let_go(self, settlement: Settlement) -> None:
        """Carry it no longer, unless it was claimed anew meanwhile: then another object stands for it."""
        if self._open.get(settlement.id) is settlement:
            del self._open[settlement.id]

    def _done(self, pending: PendingTransition) -> list[PendingTransition]:
        """Let the settlement take its next answer; those that came meanwhile are taken up now."""
        return self._mailbox.finish(pending, self._open)

    def _drop(self, pending: PendingTransition) -> list[PendingTransition]:
        """Forget what is no longer ours, but not what was claimed anew, nor the answers to that."""
        self._let_go(pending.settlement)
        if pending.settlement.id in self._open:
            return self._done(pending)
        self._mailbox.give_up(pending)
        return []

    def drop_all(self) -> None:
        """Forget everything: this engine was declared gone, and others carry on."""
        self._batcher.drain()
        self._mailbox.clear()
        self._open.clear()
        self._inbound.forget()

    def _turned_down(self, pending: PendingTransition, outcome: Outcome) -> PendingTransition:
        """Decide anew what the ledger's guards did not let through."""
        settlement, repeats = pending.settlement, pending.repeats
        available = outcome.available_minor
        chosen = decide_turned_down(settlement, pending.answer, outcome.result, available, repeats)
        if chosen is not None:
            return replace(pending, chosen=chosen)
        self._directory.forget(settlement)
        return replace(pending, repeats=repeats + 1)

    async def _until_reached(self, call: Callable[[], Awaitable[T]]) -> T:
        """Repeat a call until the database answers."""
        while True:
            try:
                return await call()
            except (Unavailable, Contention):
                await self._presence.pause()
