"""The mailbox: of all the answers that come for one settlement, one is decided on at a time.

Promises: two transitions of one settlement never stand in one batch; what comes while one is being written
waits, in order, up to a bound; a stored report that finds no room is handed back and taken up again later,
so that only what will be asked again anyway can be dropped, and that is counted.

It knows nothing of states: what an answer means is decided elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from settlement_engine.domain.lifecycle import Event

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from settlement_engine.domain.decisions.chosen import ChosenEvent
    from settlement_engine.domain.routing import RouteDecision
    from settlement_engine.domain.settlement import Moved, Settlement
    from settlement_engine.engine.inbound import InboundWorker
    from settlement_engine.ports import Answer, Meter

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
    """One slot for each settlement that has an answer under way."""

    def __init__(self, inbound: InboundWorker, meter: Meter) -> None:
        self._inbound = inbound
        self._meter = meter
        self._slots: dict[UUID, list[Answer]] = {}

    def __contains__(self, settlement_id: UUID) -> bool:
        """Say whether an answer of the settlement is under way."""
        return settlement_id in self._slots

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
            self._meter.anomaly("late_answer_dropped")
        return False

    def has_slot(self, pending: PendingTransition) -> bool:
        """Say whether it is this answer that the settlement is taking.

        All may have been forgotten since, and another answer have come.
        """
        return self._slots.get(pending.settlement.id) is pending.waiting

    def finish(
        self, pending: PendingTransition, carried: Mapping[UUID, Settlement]
    ) -> list[PendingTransition]:
        """Free the slot; the next answer that waits, if there is one, gets it.

        ``carried`` are the settlements as the engine has them now, which may be other objects.
        """
        settlement, waiting = pending.settlement, pending.waiting
        if self._slots.get(settlement.id) is not waiting:
            return []
        del self._slots[settlement.id]
        if not waiting:
            return []
        current = carried.get(settlement.id, settlement)
        following = PendingTransition(current, waiting[0], waiting=waiting[1:])
        self._slots[settlement.id] = following.waiting
        return [following]

    def give_up(self, pending: PendingTransition) -> None:
        """Free the slot of a settlement that is another engine's now, with all that waits for it."""
        if self.has_slot(pending):
            self._inbound.released(pending.waiting)
            del self._slots[pending.settlement.id]

    def clear(self) -> None:
        """Forget everything."""
        self._slots.clear()
