"""The mailbox: which settlements this engine carries, and one answer at a time for each of them.

Promises: two transitions of one settlement never stand in one batch; what comes while one is being written
waits, in order, up to a bound; a stored report that finds no room is handed back and taken up again later,
so that only what will be asked again anyway can be dropped, and that is counted. An answer about a settlement
that is parked, has ended, or belongs to another engine is taken up on what the store says of it.

It chooses nothing: what an answer means is decided elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import structlog

from settlement_engine.domain.lifecycle import Event
from settlement_engine.errors import Broken
from settlement_engine.ports import Answer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
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
"""Of these, how many may be inbound reports: they are stored, and leave room for what is not."""


@dataclass(slots=True)
class PendingTransition:
    """An answer that waits to be decided on, or whose transition is being written."""

    settlement: Settlement
    answer: Answer
    is_takeover: bool = False
    chosen: ChosenEvent | None = None
    """What was decided already, because the ledger's guards had turned the answer's own event down."""
    repeats: int = 0
    history: tuple[Moved, ...] = ()
    """The moves so far, where the answer needs them (``engine/lookups.py``)."""
    route: RouteDecision | None = None
    """The route, decided when the accounts were looked up, for what was screened."""
    waiting: list[Answer] = field(default_factory=list)
    """What came meanwhile. The list's identity marks the owner of the settlement's slot."""


class Mailbox:
    """One slot for each settlement that has an answer under way, and the settlements that are carried."""

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
        asker.attach(self.hear, self.settlement)
        inbound.attach(self.hear)

    def attach(self, queue: Batcher[PendingTransition]) -> None:
        """Name the queue from which transitions are written."""
        self._queue = queue

    @property
    def queue(self) -> Batcher[PendingTransition]:
        """The transitions that wait to be written."""
        assert self._queue is not None, "the mailbox was not attached to an executor"
        return self._queue

    # --- what is carried ------------------------------------------------------------------------

    @property
    def carried_count(self) -> int:
        """Count the settlements that have a question open here."""
        return len(self._carried)

    @property
    def backlog(self) -> int:
        """Count what waits to be written: what waits for this engine and for nobody else."""
        return len(self.queue)

    @property
    def is_idle(self) -> bool:
        """Say whether nothing is open here and nothing is being written."""
        return not self._carried and self.queue.is_idle

    def settlement(self, settlement_id: UUID) -> Settlement | None:
        """Return a settlement that has a question open here."""
        return self._carried.get(settlement_id)

    def is_carried(self, settlement_id: UUID) -> bool:
        """Say whether the settlement is open here, or a transition of it is being written."""
        return settlement_id in self._carried or settlement_id in self._slots

    def carry(self, settlement: Settlement) -> None:
        """Keep a settlement that this engine owns, as it is now."""
        self._carried[settlement.id] = settlement

    def begin(self, settlements: Sequence[Settlement]) -> None:
        """Carry settlements that this engine owns and whose question is still to be put."""
        for settlement in settlements:
            self._carried[settlement.id] = settlement
        self._asker.ask(settlements)

    def let_go(self, settlement: Settlement) -> None:
        """Carry it no longer, unless it was claimed anew meanwhile: then another object stands for it."""
        if self._carried.get(settlement.id) is settlement:
            del self._carried[settlement.id]

    # --- coming in ------------------------------------------------------------------------------

    def hear(self, answers: Iterable[Answer]) -> None:
        """Take in answers, asked for or not."""
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
        """Take in what is said of settlements that are parked, have ended, or are another engine's."""
        wanted = [answer.settlement_id for answer in answers]
        try:
            found = await self._lease.until_reached(lambda: self._store.load(wanted))
        except Broken as error:
            log.exception("unowned_not_read", why=error.why or error.what)
            self._inbound.released(answers)
            return
        for answer in answers:
            settlement = found.get(answer.settlement_id)
            if settlement is None:
                self._meter.invariant_warning("answer_without_settlement")
                self._inbound.decided(answer, is_applied=False)
            elif answer.settlement_id in self._carried:
                self.hear([answer])
            elif self.takes(pending := PendingTransition(settlement, answer)):
                self.queue.offer([pending])

    def request(self, settlement: Settlement, event: Event) -> None:
        """Take in a request from outside (a cancel), about a settlement as it was loaded."""
        here = self._carried.get(settlement.id, settlement)
        attempt = here.attempt.number if here.attempt else 0
        answer = Answer(settlement_id=here.id, event=event, attempt=attempt)
        pending = PendingTransition(here, answer)
        if self.takes(pending):
            self.queue.offer([pending])

    # --- one at a time --------------------------------------------------------------------------

    def takes(self, pending: PendingTransition) -> bool:
        """Give the settlement's slot to this answer, or let it wait."""
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
        return False

    def has_slot(self, pending: PendingTransition) -> bool:
        """Say whether it is this answer that the settlement is taking.

        All may have been forgotten since, and another answer have come.
        """
        return self._slots.get(pending.settlement.id) is pending.waiting

    def finish(self, pending: PendingTransition) -> list[PendingTransition]:
        """Free the slot; the next answer that waits, if there is one, gets it."""
        settlement, waiting = pending.settlement, pending.waiting
        if self._slots.get(settlement.id) is not waiting:
            return []
        del self._slots[settlement.id]
        if not waiting:
            return []
        # The settlement as it is carried now may be another object.
        current = self._carried.get(settlement.id, settlement)
        following = PendingTransition(current, waiting[0], waiting=waiting[1:])
        self._slots[settlement.id] = following.waiting
        return [following]

    def give_up(self, pending: PendingTransition) -> list[PendingTransition]:
        """Forget what is no longer ours, but not what was claimed anew, nor the answers to that."""
        self.let_go(pending.settlement)
        if pending.settlement.id in self._carried:
            return self.finish(pending)
        if self.has_slot(pending):
            self._inbound.released(pending.waiting)
            del self._slots[pending.settlement.id]
        return []

    def drop_all(self) -> None:
        """Forget everything: this engine was declared gone, and others carry on."""
        self.queue.drain()
        self._slots.clear()
        self._carried.clear()
        self._inbound.forget()
