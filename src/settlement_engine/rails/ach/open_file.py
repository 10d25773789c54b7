"""The open file of one bank: the payments that wait in it, and those of a closed one that wait for its acknowledgement.

Promises: a payment is reported as undelivered only while it is in the open file; from the moment at which its file
is being closed, only what the operator says counts. Must never: know how a file is stored or placed.
"""

from __future__ import annotations

import asyncio
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from settlement_engine.domain.lifecycle import Event
from settlement_engine.domain.preconditions import Refusal, RefusalCode
from settlement_engine.ports import Answer

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from settlement_engine.ports import Question, Report
    from settlement_engine.ports.rail_files import AttemptKey, FileItem
    from settlement_engine.rails.ach.orders import AchOrder

NOT_CLOSED: Final = "its file was not closed: nothing has left"
WITHDRAWN: Final = "withdrawn from the open file: nothing has left"


class Stage(Enum):
    """Where a payment is."""

    OPEN = auto()  # in the open file: nothing has left
    CLOSING = auto()  # its file is being stored: only the store knows
    CLOSED = auto()  # in a stored file: it may have left


class WaitingPayment:
    """A payment of one call. ``ended`` is set when it has its answer, or when nobody waits for one any more."""

    def __init__(self, question: Question, order: AchOrder, item: FileItem, report: Report) -> None:
        self.question = question
        self.order = order
        self.item = item
        self.stage = Stage.OPEN
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._report = report

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
        self.ended.set_result(None)
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

    def __init__(self) -> None:
        self._payments: dict[AttemptKey, WaitingPayment] = {}
        self._by_trace: dict[str, WaitingPayment] = {}
        self.changed = asyncio.Event()

    @property
    def open_count(self) -> int:
        """Count the payments that wait in the open file."""
        return sum(each.stage is Stage.OPEN for each in self._payments.values())

    def put(self, payment: WaitingPayment) -> None:
        """Put a payment into the open file; the same attempt replaces an earlier call's."""
        self._payments[payment.item.key] = payment
        self._by_trace[payment.item.trace] = payment
        self.changed.set()

    def let_go(self, payment: WaitingPayment) -> None:
        """Forget a payment whose call ends; from the open file it is undelivered."""
        if self._payments.get(payment.item.key) is not payment:
            return
        del self._payments[payment.item.key]
        self._by_trace.pop(payment.item.trace, None)
        if payment.stage is Stage.OPEN:
            payment.answer(Event.UNDELIVERED, text=NOT_CLOSED, is_held_back=True)

    def withdraw(self, settlement_id: UUID) -> bool:
        """Take a payment out of the open file, because its caller cancels it; False if it is not in it."""
        for payment in self._payments.values():
            if payment.item.settlement_id == settlement_id and payment.stage is Stage.OPEN:
                refusal = Refusal(code=RefusalCode.CANCELLED_BY_CALLER, detail={"text": WITHDRAWN})
                payment.answer(Event.UNDELIVERED, text=WITHDRAWN, refusal=refusal)
                self.let_go(payment)
                return True
        return False

    def begin_closing(self, most: int) -> list[WaitingPayment]:
        """Take the payments of the next file, in the order of their traces; they can be withdrawn no more."""
        ready = [each for each in self._payments.values() if each.stage is Stage.OPEN]
        chosen = sorted(ready, key=lambda each: each.item.trace)[:most]
        for each in chosen:
            each.stage = Stage.CLOSING
        return chosen

    def in_stage(self, stage: Stage) -> list[WaitingPayment]:
        """List the payments that are in a stage."""
        return [each for each in self._payments.values() if each.stage is stage]

    def move(self, payments: Iterable[WaitingPayment], stage: Stage) -> None:
        """Note where payments are; one whose call has ended meanwhile stays forgotten."""
        for each in payments:
            each.stage = stage
        self.changed.set()

    def find(self, trace: str) -> WaitingPayment | None:
        """Return the payment with a trace, if its call still waits."""
        return self._by_trace.get(trace)
