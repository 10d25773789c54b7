"""The open files of one bank: the payments that wait in them, and those of a closed one that wait for an answer.

There are two: one for payments that are to be settled on the day of their file, and one for all others.

Promises: a payment is reported as undelivered only while it is in the open file; from the moment at which its file
is being closed, only what the operator says counts. The time for the acknowledgement begins when the file is closed,
never while a payment waits for that. Must never: know how a file is stored or placed.
"""

from __future__ import annotations

import asyncio
import math
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from settlement_engine.domain.lifecycle import Event
from settlement_engine.domain.preconditions import Refusal, RefusalCode
from settlement_engine.ports import Answer

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from uuid import UUID

    from settlement_engine.ports import Question, Report
    from settlement_engine.ports.rail_files import AttemptKey, FileItem
    from settlement_engine.rails.ach.orders import AchOrder

NOT_CLOSED: Final = "its file was not closed: nothing has left"
TOO_LATE: Final = "its file was not closed while it was valid: nothing has left"
WITHDRAWN: Final = "withdrawn from the open file: nothing has left"

GATHER_SECONDS: Final = 1.0
"""For so long a file that is due already waits for other payments that an engine has just taken over."""


class Stage(Enum):
    """Where a payment is."""

    OPEN = auto()  # in the open file: nothing has left
    CLOSING = auto()  # its file is being stored: only the store knows
    CLOSED = auto()  # in a stored file: it may have left


class WaitingPayment:
    """A payment of one call. ``ended`` is set when it has its answer, or when nobody waits for one any more.

    ``put_at`` is the loop's time at which it was put into the open file here.
    """

    def __init__(self, question: Question, order: AchOrder, item: FileItem, report: Report) -> None:
        loop = asyncio.get_running_loop()
        self.question = question
        self.order = order
        self.item = item
        self.stage = Stage.OPEN
        self.ended: asyncio.Future[None] = loop.create_future()
        self.put_at = loop.time()
        self._report = report
        self._timer: asyncio.TimerHandle | None = None

    def age_seconds(self, now: datetime) -> float:
        """Return for how long it has waited, since its send intent: also in other calls, and in other engines."""
        recorded_at = self.question.recorded_at
        return 0.0 if recorded_at is None else max((now - recorded_at).total_seconds(), 0.0)

    def give_up(self) -> None:
        """End without an answer: nobody waits for one any more."""
        if self._timer is not None:
            self._timer.cancel()
        if not self.ended.done():
            self.ended.set_result(None)

    def give_up_after(self, seconds: float) -> None:
        """Wait for an answer no longer than that."""
        if not self.ended.done():
            self._timer = asyncio.get_running_loop().call_later(seconds, self.give_up)

    def answer(
        self,
        event: Event,
        *,
        code: str = "",
        text: str = "",
        refusal: Refusal | None = None,
        is_held_back: bool = False,
    ) -> None:
        """Report an answer, once."""
        if self.ended.done():
            return
        self.give_up()
        answer = Answer(
            settlement_id=self.question.settlement_id,
            attempt=self.question.attempt,
            event=event,
            code=code,
            text=text,
            refusal=refusal,
            is_held_back=is_held_back,
        )
        self._report([answer])


class OpenFile:
    """See the module."""

    def __init__(self, acknowledged_seconds: float) -> None:
        self._acknowledged_seconds = acknowledged_seconds
        self._payments: dict[AttemptKey, WaitingPayment] = {}
        self._by_trace: dict[str, WaitingPayment] = {}
        self._left_closing: set[AttemptKey] = set()
        self.changed = asyncio.Event()

    def due_seconds(
        self,
        now: datetime,
        close_after_seconds: float,
        *,
        is_same_day: bool = False,
        closing_seconds: float = math.inf,
    ) -> float | None:
        """Return in how many seconds one of the two files is to be closed; None while nothing waits for that.

        It is as old as the oldest send intent in it, so no restart and no other call of the payment makes it younger.
        What is taken over comes batch after batch, so a file that is too old already is given a moment to gather it.
        ``closing_seconds`` is when its window closes, for a file that has one.
        """
        if self.in_file(Stage.CLOSING, is_same_day=is_same_day):
            return 0.0
        waiting = self.in_file(Stage.OPEN, is_same_day=is_same_day)
        if not waiting:
            return None
        here = asyncio.get_running_loop().time() - min(each.put_at for each in waiting)
        age = max(here, *(each.age_seconds(now) for each in waiting))
        left = min(close_after_seconds - age, closing_seconds)
        return max(left, min(close_after_seconds, GATHER_SECONDS) - here, 0.0)

    def expire(self, now: datetime) -> float | None:
        """Let go of those that are valid no more, which must not leave; returns for how long all others are valid."""
        valid_seconds: list[float] = []
        for each in self.in_stage(Stage.OPEN):
            left = (each.question.valid_until - now).total_seconds()
            if left > 0:
                valid_seconds.append(left)
                continue
            each.answer(Event.UNDELIVERED, text=TOO_LATE, is_held_back=True)
            self.let_go(each)
        return min(valid_seconds, default=None)

    @property
    def open_count(self) -> int:
        """Count the payments that wait in an open file."""
        return len(self.in_stage(Stage.OPEN))

    def put(self, payment: WaitingPayment) -> None:
        """Put a payment into the open file; the same attempt replaces an earlier call's."""
        self._payments[payment.item.key] = payment
        self._by_trace[payment.item.trace] = payment
        self.changed.set()

    def let_go(self, payment: WaitingPayment) -> None:
        """Forget a payment whose call ends; from the open file it is undelivered.

        While its file is being stored only the store knows: whoever ended the call asks for ``left_closing``.
        """
        if self._payments.get(payment.item.key) is not payment:
            return
        del self._payments[payment.item.key]
        self._by_trace.pop(payment.item.trace, None)
        if payment.stage is Stage.OPEN:
            payment.answer(Event.UNDELIVERED, text=NOT_CLOSED, is_held_back=True)
        elif payment.stage is Stage.CLOSING and not payment.ended.done():
            self._left_closing.add(payment.item.key)

    def left_closing(self, keys: Iterable[AttemptKey]) -> frozenset[AttemptKey]:
        """Return those of the attempts whose call has ended while their file was being stored."""
        return frozenset(self._left_closing.intersection(keys))

    def forget_left(self, keys: Iterable[AttemptKey]) -> None:
        """Forget them: the store has said where they are."""
        self._left_closing.difference_update(keys)

    def withdraw(self, settlement_id: UUID) -> bool:
        """Take a payment out of the open file, because its caller cancels it; False if it is not in it."""
        for payment in self._payments.values():
            if payment.item.settlement_id == settlement_id and payment.stage is Stage.OPEN:
                refusal = Refusal(code=RefusalCode.CANCELLED_BY_CALLER, detail={"text": WITHDRAWN})
                payment.answer(Event.UNDELIVERED, text=WITHDRAWN, refusal=refusal)
                self.let_go(payment)
                return True
        return False

    def begin_closing(self, most: int, *, is_same_day: bool) -> list[WaitingPayment]:
        """Take the payments of the next file, in the order of their traces; they can be withdrawn no more."""
        ready = self.in_file(Stage.OPEN, is_same_day=is_same_day)
        chosen = sorted(ready, key=lambda each: each.item.trace)[:most]
        for each in chosen:
            each.stage = Stage.CLOSING
        return chosen

    def in_stage(self, stage: Stage) -> list[WaitingPayment]:
        """List the payments that are in a stage."""
        return [each for each in self._payments.values() if each.stage is stage]

    def in_file(self, stage: Stage, *, is_same_day: bool) -> list[WaitingPayment]:
        """List those of them that are, or were, in one of the two open files."""
        return [each for each in self.in_stage(stage) if each.order.same_day is is_same_day]

    def move(self, payments: Iterable[WaitingPayment], stage: Stage) -> None:
        """Note where payments are; one whose call has ended meanwhile stays forgotten."""
        for each in payments:
            each.stage = stage
            if stage is Stage.CLOSED:
                each.give_up_after(self._acknowledged_seconds)
        self.changed.set()

    def find(self, trace: str) -> WaitingPayment | None:
        """Return the payment with a trace, if its call still waits."""
        return self._by_trace.get(trace)
