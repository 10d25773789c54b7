"""Unsolicited reports of a bank, as the messages in which they arrive."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any

import msgspec

from settlement_engine.errors import SettlementEngineError
from settlement_engine.ports import (
    InboundMessage,
    MessageSource,
    PaymentReferences,
    StatusReport,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from uuid import UUID

    from settlement_engine.domain.identifiers import References
    from settlement_engine.ports import Answer, Question

    Receive = Callable[[Sequence[InboundMessage]], Awaitable[None]]

_numbers = itertools.count(1)


def message_of(rail: str, answer: Answer, names: References | None) -> InboundMessage:
    """Make the message of a report; without references it is about an unknown payment."""
    references = (
        PaymentReferences(uetr=names.uetr, rail_reference=answer.rail_reference)
        if names is not None
        else PaymentReferences(end_to_end_id=f"UNKNOWN-{next(_numbers)}")
    )
    report = StatusReport(
        event=answer.event,
        references=references,
        code=answer.code,
        text=answer.text,
        confirmation=answer.confirmation,
        stated=answer.stated,
        promises_return=answer.promises_return,
        entry=answer.entry,
    )
    content = msgspec.json.encode((next(_numbers), report))
    return InboundMessage(
        rail=rail, source=MessageSource.PUSHED, content=content, reports=(report,)
    )


class Unasked:
    """Delivers unsolicited messages from a test rail to the engine."""

    def __init__(self, rail: str) -> None:
        self.rail = rail
        self.receive: Receive | None = None
        self.names: dict[tuple[UUID, int], References] = {}
        self._deliveries: set[asyncio.Task[Any]] = set()

    def note(self, questions: Iterable[Question]) -> None:
        """Record the references of the payments that were sent."""
        for question in questions:
            self.names[question.settlement_id, question.attempt] = question.references

    def say(self, answers: Iterable[Answer]) -> None:
        """Report something; the engine decides whether it is stored."""
        self.deliver([message_of(self.rail, answer, self._names(answer)) for answer in answers])

    def deliver(self, messages: Sequence[InboundMessage]) -> None:
        """Deliver messages; the engine decides whether they are stored."""
        task = asyncio.get_running_loop().create_task(self._deliver(messages))
        self._deliveries.add(task)
        task.add_done_callback(self._deliveries.discard)

    def _names(self, answer: Answer) -> References | None:
        return self.names.get((answer.settlement_id, answer.attempt or 1))

    async def _deliver(self, messages: Sequence[InboundMessage]) -> None:
        assert self.receive is not None, "the engine receives what rails deliver"
        try:
            await self.receive(messages)
        except SettlementEngineError:
            return
