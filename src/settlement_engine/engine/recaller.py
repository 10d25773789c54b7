"""The recaller: it asks banks to give back the money of settlements that have completed.

Promises: a request is durable before the bank is asked; the same recall is asked again, under the same identifier,
until the bank answers or the rail's time limit has passed; a response is stored before it counts. A recall waits in
the lane of its bank like every other question, and while sending to it is stopped it is not asked. Must never: change
a settlement. A return is booked as every other one, by its own message.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog

from settlement_engine.domain.decisions.recalled import event_of_recall, event_without_answer
from settlement_engine.domain.lifecycle import Ask, Event
from settlement_engine.domain.readable import plain
from settlement_engine.domain.recalls import (
    ASKING,
    ENDED_RECALLS,
    is_about_recall_only,
    transition_of_recall,
    why_not_recalled,
)
from settlement_engine.engine.dispatch.breaker import BreakerState
from settlement_engine.engine.integrity import may_be_put
from settlement_engine.errors import Broken, Contention, Unavailable, WrongState
from settlement_engine.ports import RecallCommand

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from settlement_engine.domain.recalls import RecallRequest
    from settlement_engine.domain.settlement import Settlement
    from settlement_engine.engine.asker import Asker
    from settlement_engine.engine.dispatch.dispatcher import Dispatcher
    from settlement_engine.engine.gate import Gate
    from settlement_engine.engine.integrity import Integrity
    from settlement_engine.engine.lease import EngineLease
    from settlement_engine.engine.mailbox import Mailbox, PendingTransition
    from settlement_engine.engine.settings import EngineSettings
    from settlement_engine.engine.waiters import EndWaiters
    from settlement_engine.engine.window_calendar import WindowCalendar
    from settlement_engine.ports import Answer, RecallStore, SendRail, SettlementStore

NOTHING_SAID: Final = frozenset({Event.NO_ANSWER, Event.UNDELIVERED})
"""What is no word of the bank: it is asked again."""

STEP_TRIES_MAX: Final = 3
"""How often a step is tried when another engine has changed the recall meanwhile."""

OF_RECALLS: Final = frozenset({Event.RECALLED, Event.RECALL_REFUSED, Event.SETTLED})
"""What a bank may say of a recall without being asked; *settled* only if it promises a return."""

log = structlog.get_logger(__name__)


class Recaller:
    """Takes requests, asks the banks, and records their answers."""

    def __init__(
        self, settings: EngineSettings, recalls: RecallStore, rails: Mapping[str, SendRail]
    ) -> None:
        self._settings = settings
        self._recalls = recalls
        self._rails = rails
        self._asked: dict[UUID, Settlement] = {}
        self._turn = 0

    def attach(  # noqa: PLR0913 - the parts of the engine that it hands on to
        self,
        *,
        store: SettlementStore,
        waiting: EndWaiters,
        mailbox: Mailbox,
        lease: EngineLease,
        gate: Gate,
        integrity: Integrity,
        calendar: WindowCalendar,
        asker: Asker,
        dispatcher: Dispatcher,
    ) -> None:
        """Set the parts of the engine that it uses; before that it is not asked for anything."""
        self._store = store
        self._waiting = waiting
        self._mailbox = mailbox
        self._lease = lease
        self._gate = gate
        self._integrity = integrity
        self._calendar = calendar
        self._dispatcher = dispatcher
        asker.divert(self._asked.get, self._take_responses)

    # --- requests -------------------------------------------------------------------------------

    async def request(self, settlement_id: UUID, who: str, reason: str) -> RecallRequest:
        """Write a request down; the bank is asked soon after. Raises NotFound, WrongState."""
        settlement = await self._waiting.load(settlement_id)
        known = await self._recalls.recall(settlement_id)
        if known is None:
            self._require_recallable(settlement)
        return await self._recalls.request_recall(settlement_id, who, reason)

    async def recall(self, settlement_id: UUID) -> RecallRequest | None:
        """Return the recall of a settlement."""
        return await self._recalls.recall(settlement_id)

    def _require_recallable(self, settlement: Settlement) -> None:
        why, todo = why_not_recalled(settlement)
        what = f"a settlement that is {settlement.state.value} cannot be recalled"
        if why:
            raise WrongState(what, why=why, todo=todo)
        assert settlement.attempt is not None, "what has completed was sent"
        name = settlement.attempt.route.rail
        rail = self._rails.get(name)
        if rail is not None and Ask.RECALL not in rail.capabilities.asks:
            why = f"the rail {name} does not support recalls"
            raise WrongState(what, why=why, todo="Ask the bank for a return in another way.")
        limit = rail.capabilities.recall_within_seconds if rail is not None else None
        ended_at = settlement.ended_at
        if limit is not None and ended_at is not None:
            until = ended_at + timedelta(seconds=limit)
            if self._lease.now() > until:
                why = f"the rail {name} took recalls of it until {until:%Y-%m-%d %H:%M} UTC"
                raise WrongState(what, why=why, todo="Ask the bank for a return in another way.")

    # --- asking ---------------------------------------------------------------------------------

    async def run(self) -> None:
        """Ask for ever; during a recovery nobody is asked."""
        while True:
            if self._gate.is_ajar:
                try:
                    await self.look()
                except (Unavailable, Contention, Broken) as error:
                    log.warning("recalls_not_checked", why=error.why or error.what)
            await asyncio.sleep(self._settings.recall_interval_seconds)

    async def look(self) -> None:
        """Work on the recalls that are due."""
        if (
            self._turn != self._gate.turn
        ):  # what waited in the lanes was discarded, and nobody answers it
            self._turn = self._gate.turn
            self._asked.clear()
        first, most = self._settings.recall.first_seconds, self._settings.recall.max_seconds
        due = await self._recalls.take_due_recalls(self._settings.case_batch_max, first, most)
        if not due:
            return
        found = await self._store.load([recall.settlement_id for recall in due])
        by_rail: dict[str, list[Settlement]] = {}
        for recall in due:
            settlement = found[recall.settlement_id]
            assert settlement.attempt is not None, "what has completed was sent"
            event = self._without_answer(recall, settlement)
            if event is not None:
                log.warning("recall_changed", settlement=str(settlement.id), what=event.value)
                await self._step(recall, event, {})
            elif recall.state in ENDED_RECALLS:
                if settlement.returns:  # a part came back: the next return makes it due again
                    await self._recalls.stop_expecting(settlement.id)
            elif recall.state in ASKING and self._may_ask(settlement):
                by_rail.setdefault(settlement.attempt.route.rail, []).append(settlement)
        for name, settlements in by_rail.items():
            self._asked |= {settlement.id: settlement for settlement in settlements}
            self._dispatcher.offer(Ask.RECALL, name, settlements)

    def _without_answer(self, recall: RecallRequest, settlement: Settlement) -> Event | None:
        assert settlement.attempt is not None, "what has completed was sent"
        rail = self._rails.get(settlement.attempt.route.rail)
        until = self._answer_until(recall, settlement, rail) if rail is not None else None
        return event_without_answer(recall, settlement, until, self._lease.now())

    def _answer_until(
        self, recall: RecallRequest, settlement: Settlement, rail: SendRail
    ) -> datetime | None:
        """Return until when the bank has to answer: banking days are those of the rail's calendar."""
        rules, start = rail.capabilities, recall.requested_at
        limits = []
        if rules.recall_answer_seconds is not None:
            limits.append(start + timedelta(seconds=rules.recall_answer_seconds))
        if rules.recall_answer_banking_days is not None:
            currency, days = (
                settlement.instruction.amount.currency,
                rules.recall_answer_banking_days,
            )
            limits.append(self._calendar.end_of_banking_day(currency, start, days, rail.name))
        return max(limits, default=None)

    def _may_ask(self, settlement: Settlement) -> bool:
        """Say whether the bank may be asked now, by this engine."""
        assert settlement.attempt is not None, "what has completed was sent"
        name = settlement.attempt.route.rail
        rail = self._rails.get(name)
        if rail is None or Ask.RECALL not in rail.capabilities.asks:
            return False
        if settlement.id in self._asked or not self._gate.is_open_for(name):
            return False
        bank = settlement.instruction.from_bank
        if self._dispatcher.breaker(name, bank) is not BreakerState.CLOSED:
            return False
        if self._dispatcher.lanes.is_stopped(name, bank):
            return False
        found = self._integrity.of_question(settlement, Ask.RECALL)
        return may_be_put(Ask.RECALL, settlement, found)

    def _take_responses(self, answers: Iterable[Answer]) -> Iterable[Answer]:
        """Take the responses to recalls, and return the other answers."""
        if not self._asked:
            return answers
        others, taken = [], []
        for answer in answers:
            settlement = self._asked.pop(answer.settlement_id, None)
            if settlement is None:
                others.append(answer)
            else:
                taken.append((answer, settlement))
        if taken:
            self._lease.spawn(self._hear(taken))
        return others

    async def _hear(self, responses: Sequence[tuple[Answer, Settlement]]) -> None:
        """Record responses; one that also says something of the payment itself is judged as such."""
        for answer, settlement in responses:
            self._mailbox.keep_message(answer)
            event = event_of_recall(answer, is_response=True)
            if event is not None:
                await self._record(answer, event)
            is_silence = event is None and answer.event in NOTHING_SAID
            if not is_silence and (event is None or not is_about_recall_only(settlement)):
                self._mailbox.hear([answer])

    # --- answers --------------------------------------------------------------------------------

    async def take(self, batch: Sequence[PendingTransition]) -> list[PendingTransition]:
        """Record what unasked answers say of recalls; return those that say nothing of the payment itself.

        A return is booked as every other one; whether all has come back is looked at afterwards.
        """
        if returned := [
            pending.settlement.id for pending in batch if pending.answer.event is Event.RETURNED
        ]:
            await self._lease.until_reached(lambda: self._recalls.expect_returns(returned))
        wanted = [
            pending
            for pending in batch
            if pending.settlement.is_ended and pending.answer.event in OF_RECALLS
        ]
        if not wanted:
            return []
        ids = [pending.settlement.id for pending in wanted]
        known = await self._lease.until_reached(lambda: self._recalls.recalls(ids))
        taken = []
        for pending in wanted:
            event = event_of_recall(pending.answer, is_response=False)
            if event is None or pending.settlement.id not in known:
                continue
            await self._record(pending.answer, event)
            if is_about_recall_only(pending.settlement):
                taken.append(pending)
        return taken

    async def _record(self, answer: Answer, event: Event) -> None:
        """Write an answer down; the recall is read again if another engine has changed it."""
        detail = {"code": plain(answer.code), "text": plain(answer.text)}
        for _ in range(STEP_TRIES_MAX):
            recall = await self._lease.until_reached(
                lambda: self._recalls.recall(answer.settlement_id)
            )
            if recall is None or await self._step(recall, event, detail):
                return

    async def _step(self, recall: RecallRequest, event: Event, detail: Mapping[str, str]) -> bool:
        """Make the step that follows from an event; False if the recall has changed meanwhile."""
        state = transition_of_recall(recall, event)
        if state is None:
            return True
        command = RecallCommand(
            settlement_id=recall.settlement_id,
            after_seq=recall.seq,
            event=event,
            state=state,
            detail={name: text for name, text in detail.items() if text},
        )
        return await self._lease.until_reached(lambda: self._recalls.step_recall(command))
