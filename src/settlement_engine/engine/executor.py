"""The executor: it turns answers into transitions, and writes them.

A batch of answers is decided, its transitions are written in one commit, and after the commit the next questions
are asked. Promises: every transition is guarded by state, sequence number and fencing token; a stale one is dropped,
and the settlement in memory changes only after the commit. Must never: release money by itself; a time-out is the
event NO_ANSWER, and the state machine decides what follows.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from settlement_engine.domain.decisions.before_the_end import is_return_to_come
from settlement_engine.domain.decisions.history import DEPENDS_ON_HISTORY
from settlement_engine.domain.decisions.screened import SCREENED
from settlement_engine.domain.decisions.turned_down import decide_turned_down
from settlement_engine.domain.lifecycle import ENDS, Event
from settlement_engine.engine.batching import Batcher
from settlement_engine.engine.believed import believe
from settlement_engine.engine.integrity import silence
from settlement_engine.engine.lookups import Lookups
from settlement_engine.engine.writer import TransitionWriter
from settlement_engine.errors import Broken, Contention, Unavailable
from settlement_engine.ports import Result

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from settlement_engine.domain.settlement import Settlement
    from settlement_engine.engine.asker import Asker
    from settlement_engine.engine.batching import Notifier
    from settlement_engine.engine.decider import Decider
    from settlement_engine.engine.inbound import InboundWorker
    from settlement_engine.engine.integrity import Integrity
    from settlement_engine.engine.lease import EngineLease
    from settlement_engine.engine.mailbox import Mailbox, PendingTransition
    from settlement_engine.engine.message_journal import MessageJournal
    from settlement_engine.engine.recaller import Recaller
    from settlement_engine.engine.settings import EngineSettings
    from settlement_engine.engine.unbookable import Unbookable
    from settlement_engine.engine.waiters import EndWaiters
    from settlement_engine.ports import (
        Answer,
        Meter,
        SettlementStore,
        TransitionCommand,
        TransitionResult,
    )

log = structlog.get_logger(__name__)

WORKERS: Final = 2
"""The number of workers: under full load one decides the next batch while the other one's is written."""

LONG_BATCH: Final = 100
"""After so many items other tasks of the event loop may run, so that calls are accepted without delay."""


class Executor:
    """Decides answers, writes their transitions, and asks the next questions."""

    def __init__(  # noqa: PLR0913 - the one place where the engine's parts meet
        self,
        settings: EngineSettings,
        store: SettlementStore,
        *,
        mailbox: Mailbox,
        lease: EngineLease,
        decider: Decider,
        asker: Asker,
        integrity: Integrity,
        waiting: EndWaiters,
        notifier: Notifier,
        inbound: InboundWorker,
        meter: Meter,
        unbookable: Unbookable,
        journal: MessageJournal | None = None,
        recaller: Recaller | None = None,
    ) -> None:
        self._mailbox = mailbox
        self._recaller, self._journal = recaller, journal
        self._store, self._writer = store, TransitionWriter(store, lease, meter)
        self._lease = lease
        self._decider = decider
        self._lookups = Lookups(store, decider, lease, unbookable.set_aside)
        self._asker = asker
        self._integrity = integrity
        self._waiting = waiting
        self._notifier = notifier
        self._inbound = inbound
        self._meter = meter
        self._set_aside = unbookable.set_aside
        self._queue: Batcher[PendingTransition] = Batcher(
            self._write,
            batch_max=settings.move_batch_max,
            batch_linger_seconds=settings.batch_linger_seconds,
            in_flight=lambda: mailbox.carried_count,
            workers=WORKERS,
        )
        mailbox.attach(self._queue, self._keep_message)
        unbookable.attach(mailbox)

    async def run(self) -> None:
        """Process answers for ever."""
        await self._queue.run()

    async def _write(self, batch: list[PendingTransition]) -> None:
        is_ordinary = all(map(_needs_no_lookup, batch))
        if not is_ordinary:
            batch = await self._lookups.read_histories(await self._without_recalls(batch))
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
        if not is_ordinary:
            batch = await self._lookups.find_fees(await self._lookups.find_suspense(batch))
        pairs = await self._decide_all(batch)
        if not pairs:
            return
        started_at = self._lease.monotonic()
        outcomes = await self._apply([step for _, step in pairs])
        seconds = self._lease.monotonic() - started_at
        self._meter.batch("move", len(pairs), seconds)
        if len(pairs) > LONG_BATCH:
            await asyncio.sleep(0)
        self._take_in(pairs, outcomes, seconds)

    async def _apply(self, steps: list[TransitionCommand]) -> Sequence[TransitionResult | Broken]:
        """Write a batch in one commit; one result each, in order, or the error of a broken transition."""
        try:
            outcomes = await self._store.apply(steps, self._lease.engine_id)
        except (Unavailable, Contention, Broken) as error:
            return await self._writer.write_after(error, steps)
        self._lease.saw(outcomes[0].at)
        return outcomes

    async def _decide_routes(self, screened: list[PendingTransition]) -> None:
        """Decide each settlement's route once, and look up the accounts that it needs."""
        settlements = [pending.settlement for pending in screened]
        routes = await self._lease.until_reached(
            lambda: self._decider.prefetch(settlements, self._lease.now())
        )
        for pending, route in zip(screened, routes, strict=True):
            pending.route = route

    async def _decide_all(
        self, batch: list[PendingTransition]
    ) -> list[tuple[PendingTransition, TransitionCommand]]:
        """Decide a batch; each pending answer gets its transition, or is finished without one."""
        pairs: list[tuple[PendingTransition, TransitionCommand]] = []
        now = self._lease.now()
        for number, pending in enumerate(batch, 1):
            if number % LONG_BATCH == 0:
                await asyncio.sleep(0)
            try:
                step = self._decide(pending, now)
                if step is not None and pending.settlement.recorded is not None:
                    step = self._unaltered(step, pending, now)
            except Exception as error:
                # One settlement that cannot be decided must not stop the engine, or another engine after it.
                settlement_id = str(pending.settlement.id)
                log.exception("not_decided", settlement=settlement_id)
                self._meter.invariant_warning("not_decided")
                self._keep_message(pending.answer)
                self._set_aside(pending, error)
                continue
            if step is not None:
                if pending.answer.message is not None:
                    step = msgspec.structs.replace(step, message=pending.answer.message)
                pairs.append((pending, step))
            else:
                self._finish(pending, is_applied=False)
        return pairs

    def _finish(self, pending: PendingTransition, *, is_applied: bool) -> None:
        """Finish an answer that leads to no transition."""
        self._keep_message(pending.answer)
        self._inbound.decided(pending.answer, is_applied=is_applied)
        self._queue.offer(self._mailbox.finish(pending))

    async def _without_recalls(self, batch: list[PendingTransition]) -> list[PendingTransition]:
        """Leave out answers to recalls: they are recorded there, and say nothing of the payment."""
        taken = await self._recaller.take(batch) if self._recaller is not None else []
        for pending in taken:
            self._finish(pending, is_applied=True)
        of_recalls = {id(pending) for pending in taken}
        return [pending for pending in batch if id(pending) not in of_recalls] if taken else batch

    def _keep_message(self, answer: Answer) -> None:
        """Store the message of an answer that no transition stores."""
        if answer.message is not None and self._journal is not None:
            self._journal.keep_later([answer.message])

    def _decide(self, pending: PendingTransition, now: datetime) -> TransitionCommand | None:
        settlement, answer = pending.settlement, pending.answer
        if pending.chosen is not None:
            return self._decider.step(settlement, pending.chosen, answer)
        step = self._decider.decide(settlement, answer, now, pending.history, pending.route)
        if step is None:
            return None
        if step.event is Event.NO_ANSWER and answer.event is not Event.NO_ANSWER:
            self._meter.invariant_warning("answer_without_row")
        if pending.is_takeover and step.transition.state not in ENDS:
            return msgspec.structs.replace(step, due_seconds=None)
        return step

    def _unaltered(
        self, step: TransitionCommand, pending: PendingTransition, now: datetime
    ) -> TransitionCommand | None:
        """Leave out settlements that were altered in the database: nothing is booked for them."""
        if self._integrity.of_step(step, pending.answer.event):
            return step
        return self._decider.decide(pending.settlement, silence(pending.settlement), now)

    def _take_in(
        self,
        pairs: list[tuple[PendingTransition, TransitionCommand]],
        outcomes: Sequence[TransitionResult | Broken],
        commit_seconds: float,
    ) -> None:
        """Update the settlements in memory after the commit, and ask the next questions."""
        asking: list[Settlement] = []
        applied: list[TransitionCommand] = []
        again: list[PendingTransition] = []
        for (pending, step), outcome in zip(pairs, outcomes, strict=True):
            if isinstance(outcome, Broken):
                self._keep_message(pending.answer)
                self._set_aside(pending, outcome)
            elif outcome.result is Result.APPLIED:
                applied.append(step)
                if is_return_to_come(pending.answer, step.event):
                    self._inbound.heard_again(pending.answer)
                elif pending.answer.report_id:
                    self._inbound.decided(pending.answer, is_applied=True)
                if self._believe(step, outcome.at):
                    asking.append(step.settlement)
                again.extend(self._mailbox.finish(pending))
            elif outcome.result is Result.STALE:
                self._meter.invariant_warning("stale_step")
                self._inbound.turned_stale(pending.answer, pending.settlement)
                again.extend(self._mailbox.give_up(pending))
            else:
                again.append(self._turned_down(pending, outcome))
        if applied:
            self._meter.moved(applied, commit_seconds)
            self._notifier.notify()
        if asking:
            self._asker.ask(asking)
        self._queue.offer(again)

    def _believe(self, step: TransitionCommand, at: datetime) -> bool:
        """Update the settlement in memory; True when its next question is asked now."""
        settlement = step.settlement
        believe(step, at)
        if step.transition.state in ENDS:
            self._mailbox.let_go(settlement)
            self._waiting.ended(settlement)
            return False
        if step.due_seconds is not None:
            self._mailbox.let_go(settlement)
            return False
        self._mailbox.carry(settlement)
        return True

    def _turned_down(
        self, pending: PendingTransition, outcome: TransitionResult
    ) -> PendingTransition:
        """Decide again after a guard of the ledger failed."""
        settlement, repeats = pending.settlement, pending.repeats
        available = outcome.available_minor
        chosen = decide_turned_down(settlement, pending.answer, outcome.result, available, repeats)
        if chosen is not None:
            return replace(pending, chosen=chosen)
        self._decider.forget_accounts(settlement)
        return replace(pending, chosen=None, repeats=repeats + 1)


def _needs_no_lookup(pending: PendingTransition) -> bool:
    """Say whether only the accounts have to be read, as for nearly every answer."""
    settlement = pending.settlement
    is_plain = pending.chosen is None and pending.answer.event not in DEPENDS_ON_HISTORY
    return is_plain and settlement.state not in ENDS and settlement.instruction.compensates is None
