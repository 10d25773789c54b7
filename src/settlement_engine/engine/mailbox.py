"""The mailbox: the settlements in this engine's memory, and one answer at a time for each of them.

Promises: a batch never contains two transitions of one settlement; answers that arrive while one is being written
wait in order, up to a bound. A stored report without room is returned and passed on again later; only answers that
will be asked for again can be dropped, and that is counted. An answer about a settlement that is parked, has ended
or belongs to another engine is decided on the record in the store. Must never: decide what an answer means.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import structlog

from settlement_engine.domain.lifecycle import Event
from settlement_engine.errors import Broken
from settlement_engine.ports import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from uuid import UUID

    from settlement_engine.domain.decisions.chosen import ChosenEvent
    from settlement_engine.domain.routing import RouteDecision
    from settlement_engine.domain.settlement import Moved, Settlement
    from settlement_engine.engine.asker import Asker
    from settlement_engine.engine.batching import Batcher
    from settlement_engine.engine.inbound import InboundWorker
    from settlement_engine.engine.lease import EngineLease
    from settlement_engine.ports import Meter, SettlementStore

log = structlog.get_logger(__name__)

ANSWERS_WAITING_MAX: Final = 8
"""How many answers of one settlement may wait while a transition of it is being written."""

REPORTS_WAITING_MAX: Final = 4
"""How many of these may be inbound reports: those are stored, so they leave room for other answers."""


@dataclass(slots=True)
class PendingTransition:
    """An answer that waits to be decided, or whose transition is being written."""

    settlement: Settlement
    answer: Answer
    is_takeover: bool = False
    chosen: ChosenEvent | None = None
    """The decided event, if a guard of the ledger refused the transition of the answer's own event."""
    repeats: int = 0
    history: tuple[Moved, ...] = ()
    """The moves so far, if the answer needs them (``engine/lookups.py``)."""
    route: RouteDecision | None = None
    """The route, decided when the accounts were looked up; only for screened settlements."""
    waiting: list[Answer] = field(default_factory=list)
    """Answers that arrived meanwhile. The list's identity marks the owner of the settlement's slot."""


class Mailbox:
    """One slot for each settlement with an answer in flight, and the settlements in memory."""

    def __init__(
        self,
        store: SettlementStore,
        asker: Asker,
        inbound: InboundWorker,
        lease: EngineLease,
        meter: Meter,
    ) -> None:
        self._store = store
        self._asker = asker
        self._inbound = inbound
        self._lease = lease
        self._meter = meter
        self._slots: dict[UUID, list[Answer]] = {}
        self._carried: dict[UUID, Settlement] = {}
        self._queue: Batcher[PendingTransition] | None = None
        self.keep_message: Callable[[Answer], None] = _nobody
        asker.attach(self.hear, self.settlement)
        inbound.attach(self.hear)

    def attach(
        self, queue: Batcher[PendingTransition], keep_message: Callable[[Answer], None]
    ) -> None:
        """Set the queue from which transitions are written, and who keeps the message of a dropped answer."""
        self._queue = queue
        self.keep_message = self._asker.keep_message = keep_message

    @property
    def queue(self) -> Batcher[PendingTransition]:
        """The queue of transitions that wait to be written."""
        assert self._queue is not None, "the mailbox was not attached to an executor"
        return self._queue

    # --- settlements in memory ------------------------------------------------------------------

    @property
    def carried_count(self) -> int:
        """Count the settlements in memory: each has an open question here."""
        return len(self._carried)

    @property
    def backlog(self) -> int:
        """Count the answers and transitions that wait for this engine itself."""
        return len(self.queue)

    @property
    def is_idle(self) -> bool:
        """Say whether no settlement is in memory and nothing is being written."""
        return not self._carried and self.queue.is_idle

    def settlement(self, settlement_id: UUID) -> Settlement | None:
        """Return a settlement in memory; None if it has no open question here."""
        return self._carried.get(settlement_id)

    def is_carried(self, settlement_id: UUID) -> bool:
        """Say whether the settlement is in memory, or a transition of it is being written."""
        return settlement_id in self._carried or settlement_id in self._slots

    def carry(self, settlement: Settlement) -> None:
        """Keep a settlement in memory; this engine must own it."""
        self._carried[settlement.id] = settlement

    def begin(self, settlements: Sequence[Settlement]) -> None:
        """Keep settlements that this engine owns, and ask their questions."""
        for settlement in settlements:
            self._carried[settlement.id] = settlement
        self._asker.ask(settlements)

    def let_go(self, settlement: Settlement) -> None:
        """Remove a settlement from memory, unless it was claimed again and another object represents it."""
        carried = self._carried.pop(settlement.id, None)
        if carried is not None and carried is not settlement:
            self._carried[settlement.id] = carried

    # --- arriving answers -----------------------------------------------------------------------

    def hear(self, answers: Iterable[Answer]) -> None:
        """Receive answers to questions, and unasked ones."""
        beginning: list[PendingTransition] = []
        finishing: list[PendingTransition] = []
        unowned: list[Answer] = []
        for answer in answers:
            settlement = self._carried.get(answer.settlement_id)
            if settlement is None:
                if answer.event is not Event.NO_ANSWER:
                    unowned.append(answer)
                continue
            pending = PendingTransition(settlement, answer)
            if self.takes(pending):
                lane = beginning if answer.event is Event.CLEARED else finishing
                lane.append(pending)
        if beginning:
            self.queue.offer(beginning)
        if finishing:
            self.queue.offer(finishing, is_finishing=True)
        if unowned:
            self._lease.spawn(self._hear_unowned(unowned))

    async def _hear_unowned(self, answers: list[Answer]) -> None:
        """Receive answers about settlements that are parked, have ended, or belong to another engine."""
        wanted = [answer.settlement_id for answer in answers]
        try:
            found = await self._lease.until_reached(lambda: self._store.load(wanted))
        except Broken as error:
            if len(answers) > 1:  # one record that cannot be read costs no other's answer
                for answer in answers:
                    await self._hear_unowned([answer])
                return
            log.exception("unowned_not_read", why=error.why or error.what)
            self._inbound.released(answers)
            return
        for answer in answers:
            settlement = found.get(answer.settlement_id)
            if settlement is None:
                self._meter.invariant_warning("answer_without_settlement")
                self.keep_message(answer)
                self._inbound.decided(answer, is_applied=False)
            elif answer.settlement_id in self._carried:
                self.hear([answer])
            elif self.takes(pending := PendingTransition(settlement, answer)):
                self.queue.offer([pending])

    def request(self, settlement: Settlement, event: Event) -> None:
        """Receive a caller's request (a cancellation) for a settlement as it was loaded."""
        here = self._carried.get(settlement.id, settlement)
        attempt = here.attempt.number if here.attempt else 0
        answer = Answer(settlement_id=here.id, event=event, attempt=attempt)
        pending = PendingTransition(here, answer)
        if self.takes(pending):
            self.queue.offer([pending])

    # --- one at a time --------------------------------------------------------------------------

    def takes(self, pending: PendingTransition) -> bool:
        """Give the settlement's slot to this answer, or queue it."""
        waiting = self._slots.get(pending.settlement.id)
        if waiting is None:
            self._slots[pending.settlement.id] = pending.waiting
            return True
        is_known = pending.answer.event is Event.CANCELLED and any(
            answer.event is Event.CANCELLED for answer in waiting
        )
        limit = REPORTS_WAITING_MAX if pending.answer.report_id else ANSWERS_WAITING_MAX
        if len(waiting) < limit and not is_known:
            waiting.append(pending.answer)
        elif pending.answer.report_id:
            self._inbound.released([pending.answer])
        elif not is_known:
            self._meter.invariant_warning("late_answer_dropped")
            self.keep_message(pending.answer)
        return False

    def has_slot(self, pending: PendingTransition) -> bool:
        """Say whether this answer has the settlement's slot.

        The mailbox may have been cleared meanwhile, and another answer may have the slot.
        """
        return self._slots.get(pending.settlement.id) is pending.waiting

    def finish(self, pending: PendingTransition) -> list[PendingTransition]:
        """Free the slot; the next waiting answer gets it."""
        settlement, waiting = pending.settlement, pending.waiting
        # One look-up, for this runs with every answer: an identifier's hash is computed anew each time.
        freed = self._slots.pop(settlement.id, None)
        if freed is not waiting:
            if freed is not None:
                self._slots[settlement.id] = freed
            return []
        if not waiting:
            return []
        # The settlement in memory may be another object by now.
        current = self._carried.get(settlement.id, settlement)
        following = PendingTransition(current, waiting[0], waiting=waiting[1:])
        self._slots[settlement.id] = following.waiting
        return [following]

    def give_up(self, pending: PendingTransition) -> list[PendingTransition]:
        """Remove settlements that this engine lost, but not those it has claimed again."""
        self.let_go(pending.settlement)
        if pending.settlement.id in self._carried:
            return self.finish(pending)
        if self.has_slot(pending):
            self._inbound.released(pending.waiting)
            self._keep_messages(pending.waiting)
            del self._slots[pending.settlement.id]
        return []

    def drop_all(self) -> None:
        """Clear the mailbox: this engine was declared gone, and others continue."""
        self._keep_messages(pending.answer for pending in self.queue.drain())
        for waiting in self._slots.values():
            self._keep_messages(waiting)
        self._slots.clear()
        self._carried.clear()
        self._inbound.forget()

    def _keep_messages(self, answers: Iterable[Answer]) -> None:
        for answer in answers:
            self.keep_message(answer)


def _nobody(_answer: Answer) -> None:
    """Keep nothing: there is no journal."""
