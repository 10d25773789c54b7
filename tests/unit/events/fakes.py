"""An outbox, a meter and a dead-letter queue in memory, for the tests of the component ``events``."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from uuid import UUID

from settlement_engine.domain.deadletters import DeadLetter
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.money import Money
from settlement_engine.domain.notices import OutboxNotice, RecallStepped
from settlement_engine.domain.recalls import RecallState
from settlement_engine.domain.settlement import Moved
from settlement_engine.ports import Announcement

MOVES = (
    (State.PENDING, Event.ADMITTED, State.VALIDATING),
    (State.VALIDATING, Event.CLEARED, State.LOCKED),
    (State.LOCKED, Event.ACKNOWLEDGED, State.SENT),
    (State.SENT, Event.SETTLED, State.COMPLETED),
)
BEGUN = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)


def announcement(
    position: int, *, settlement: int = 1, seq: int = 1, move=MOVES[0], detail=None
) -> Announcement:
    from_state, event, to_state = move
    return Announcement(
        moved=Moved(
            position=position,
            settlement_id=UUID(int=settlement),
            seq=seq,
            from_state=from_state,
            event=event,
            to_state=to_state,
            at=BEGUN + timedelta(milliseconds=position),
            detail=detail or {},
        ),
        obligation_id=f"OBL-{settlement}",
        from_bank="ALPHA",
        to_bank="BETA",
        amount=Money(1250, "EUR"),
        value_date=date(2026, 1, 31),
        priority=1,
    )


class MemoryOutbox:
    """The Stream port in memory. ``timeline`` makes the moves of a restored database other ones."""

    def __init__(self) -> None:
        self.announcements: list[Announcement] = []
        self.marked = 0
        self.marks = 0
        self.trouble: Exception | None = None
        self.ahead_trouble: Exception | None = None
        self.readings: list[tuple[int, int]] = []
        self.marking = asyncio.Event()
        self.may_mark = asyncio.Event()
        self.may_mark.set()

    def add(self, count: int, *, timeline: int = 0) -> None:
        for _ in range(count):
            index = len(self.announcements)
            self.announcements.append(
                announcement(
                    index + 1,
                    settlement=timeline * 10**9 + index // 4 + 1,
                    seq=index % 4 + 1,
                    move=MOVES[index % 4],
                )
            )

    def restore(self, position: int) -> None:
        del self.announcements[position:]
        self.marked = min(self.marked, position)

    async def read(self, after, limit, settlement_id=None):
        self._fail()
        await asyncio.sleep(0)
        assert settlement_id is None
        self.readings.append((after, limit))
        if after > self.marked and self.ahead_trouble is not None:
            trouble, self.ahead_trouble = self.ahead_trouble, None
            raise trouble
        # Positions are gapless but for the test that plants a gap: then this is still right.
        near = self.announcements[max(0, after - 1) : after + limit]
        return [one for one in near if one.moved.position > after][:limit]

    async def head(self):
        self._fail()
        return self.announcements[-1].moved.position if self.announcements else 0

    async def published(self):
        self._fail()
        return self.marked

    async def mark_published(self, position):
        self._fail()
        self.marking.set()
        await self.may_mark.wait()
        self.marks += 1
        self.marked = max(self.marked, position)

    def _fail(self):
        if self.trouble is not None:
            raise self.trouble


def notice(position: int) -> OutboxNotice:
    """A step of a recall of another settlement each time."""
    return OutboxNotice(
        position=position,
        at=BEGUN + timedelta(milliseconds=position),
        fact=RecallStepped(
            settlement_id=UUID(int=10**9 + position),
            seq=1,
            state=RecallState.REQUESTED,
            obligation_id=f"OBL-{position}",
            from_bank="ALPHA",
            to_bank="BETA",
            amount_minor=1250,
            currency="EUR",
            detail={"reason": "paid twice"},
        ),
    )


class MemoryNoticeOutbox:
    """The NoticeOutbox port in memory."""

    def __init__(self) -> None:
        self.notices: list[OutboxNotice] = []
        self.marked = (0, 0)
        self.looks = 0

    def add(self, count: int) -> None:
        for _ in range(count):
            self.notices.append(notice(len(self.notices) + 1))

    async def read(self, after: int, limit: int) -> list[OutboxNotice]:
        await asyncio.sleep(0)
        return [each for each in self.notices if each.position > after][:limit]

    async def head(self) -> int:
        return self.notices[-1].position if self.notices else 0

    async def published(self) -> tuple[int, int]:
        self.looks += 1
        return self.marked

    async def mark_published(self, position: int, sequence: int) -> None:
        if position >= self.marked[0]:
            self.marked = (position, sequence)


class CountingMeter:
    """Counts invariant warnings; the rest of the port is not used here."""

    def __init__(self) -> None:
        self.invariant_warnings: Counter[str] = Counter()

    def moved(self, steps, commit_seconds=None):
        raise NotImplementedError

    def lanes(self, reports):
        """Ignore."""

    def rail_answered(self, rail, ask, seconds, answered, silent):
        raise NotImplementedError

    def batch(self, stage, size, seconds):
        raise NotImplementedError

    def invariant_warning(self, kind, count=1):
        self.invariant_warnings[kind] += count


class MemoryDeadLetters:
    """The DeadLetterStore port in memory."""

    def __init__(self) -> None:
        self.kept: list[DeadLetter] = []
        self.counted = 0
        self.trouble: Exception | None = None

    async def keep_dead_letter(self, subject, payload, why, origin=None, *, kept_bytes_max=None):
        if self.trouble is not None:
            raise self.trouble
        if origin is not None and any(each.origin == origin for each in self.kept):
            return False
        self.kept.append(
            DeadLetter(
                id=len(self.kept) + 1,
                subject=subject,
                payload=payload[:kept_bytes_max],
                why=why,
                received_at=BEGUN,
                kept_bytes=len(payload[:kept_bytes_max]),
                payload_bytes=len(payload),
                payload_hash=sha256(payload).digest(),
                origin=origin,
            )
        )
        return True

    async def waiting_dead_letters(self, limit):
        self.counted += 1
        return min(len(self.kept), limit)

    async def dead_letters(self, limit):
        return self.kept[-limit:]
