"""Recalls after completion in memory (``ports.RecallStore``)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.domain.exceptions import ENGINE, CaseKind
from settlement_engine.domain.recalls import (
    ENDED_RECALLS,
    RecallRequest,
    RecallState,
    RecallStep,
    why_overdue_is_closed,
)
from settlement_engine.errors import NotFound
from settlement_engine.store.recalls import require_completed
from settlement_lab.memory.notices import notice_recall
from settlement_lab.memory.records import OpenRecall

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from settlement_engine.ports import RecallCommand
    from settlement_lab.memory.records import Records

DOUBLED_MAX: Final = 30


class MemoryRecalls:
    """See ``ports.RecallStore``."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def request_recall(self, settlement_id: UUID, who: str, reason: str) -> RecallRequest:
        """Write the request down, or return the recall that is there; see the port."""
        settlement = self._records.histories.get(settlement_id)
        if settlement is None:
            what = f"there is no settlement {settlement_id}"
            raise NotFound(what, listed_by="list")
        known = self._records.recalls.get(settlement_id)
        if known is not None:
            return msgspec.structs.replace(known, is_replay=True)
        require_completed(settlement_id, settlement.state)
        step = RecallStep(
            seq=1,
            event=None,
            state=RecallState.REQUESTED,
            at=self._records.clock.now(),
            detail={"requested_by": who, "reason": reason},
        )
        made = RecallRequest(settlement_id=settlement_id, steps=(step,))
        self._records.recalls[settlement_id] = made
        self._records.open_recalls[settlement_id] = OpenRecall(due_at=step.at)
        notice_recall(self._records, made)
        return made

    async def recall(self, settlement_id: UUID) -> RecallRequest | None:
        """Return the recall of a settlement."""
        return self._records.recalls.get(settlement_id)

    async def recalls(self, settlement_ids: Sequence[UUID]) -> dict[UUID, RecallRequest]:
        """Return the recalls of these settlements, where there are any."""
        known = self._records.recalls
        return {each: known[each] for each in settlement_ids if each in known}

    async def take_due_recalls(
        self, limit: int, first_seconds: float, max_seconds: float
    ) -> list[RecallRequest]:
        """Take open recalls that are due; see the port."""
        now = self._records.clock.now()
        due = sorted(
            (open_.due_at, key)
            for key, open_ in self._records.open_recalls.items()
            if open_.due_at <= now
        )
        for _, key in due[:limit]:
            open_ = self._records.open_recalls[key]
            pause = min(first_seconds * 2.0 ** min(open_.asked, DOUBLED_MAX), max_seconds)
            open_.asked += 1
            open_.due_at = now + timedelta(seconds=pause)
        return [self._records.recalls[key] for _, key in due[:limit]]

    async def expect_returns(self, settlement_ids: Sequence[UUID]) -> None:
        """Make the recalls of these settlements due; see the port."""
        now = self._records.clock.now()
        for key in settlement_ids:
            if key in self._records.recalls:
                self._records.open_recalls.setdefault(key, OpenRecall(due_at=now)).due_at = now

    async def stop_expecting(self, settlement_id: UUID) -> None:
        """Wait for nothing more about a recall; see the port."""
        self._records.open_recalls.pop(settlement_id, None)

    async def step_recall(self, command: RecallCommand) -> bool:
        """Append a step; see the port."""
        known = self._records.recalls.get(command.settlement_id)
        if known is None or known.seq != command.after_seq:
            return False
        now = self._records.clock.now()
        step = RecallStep(
            seq=known.seq + 1,
            event=command.event,
            state=command.state,
            at=now,
            detail=dict(command.detail),
        )
        steps = (*known.steps, step)
        made = msgspec.structs.replace(known, steps=steps)
        self._records.recalls[command.settlement_id] = made
        notice_recall(self._records, made)
        if command.state in ENDED_RECALLS:
            self._records.open_recalls.pop(command.settlement_id, None)
        else:
            open_ = self._records.open_recalls.setdefault(
                command.settlement_id, OpenRecall(due_at=now)
            )
            open_.due_at = now
        self._note_overdue(command, known, now)
        return True

    def _note_overdue(self, command: RecallCommand, known: RecallRequest, now: datetime) -> None:
        settlement_id = command.settlement_id
        if command.state is RecallState.OVERDUE:
            attempt = self._records.histories[settlement_id].attempt
            assert attempt is not None, "what has completed was sent"
            since = known.requested_at.isoformat(timespec="microseconds")
            detail = {"rail": attempt.route.rail, "since": since}
            kind, number = CaseKind.RECALL_OVERDUE, str(known.seq + 1)
            self._records.open_case(kind, settlement_id, number, detail, now)
            return
        why = why_overdue_is_closed(command.state)
        for key, case in self._records.cases.items():
            is_its = case.settlement_id == settlement_id and case.kind is CaseKind.RECALL_OVERDUE
            if is_its and case.closed_at is None:
                self._records.cases[key] = msgspec.structs.replace(
                    case, closed_at=now, closed_by=ENGINE, close_reason=why
                )
