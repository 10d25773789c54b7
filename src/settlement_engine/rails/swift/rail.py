"""The rail ``swift``: asks the bank each question over HTTP, and reports the classified responses.

Promises: a payment that was never transmitted is reported as undelivered, also when the engine cancels the call; an
answer is reported as soon as it arrives. Must never: log any text of a message; alarms are logged without it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import structlog

from settlement_engine.domain.lifecycle import Event
from settlement_engine.messages.errors import MessageError
from settlement_engine.ports import (
    Answer,
    InboundMessage,
    MessageSource,
    PaymentReferences,
    StatusReport,
)
from settlement_engine.ports.inbound import CONTENT_BYTES_MAX, REPORTS_MAX
from settlement_engine.rails.classification import Asked, Purpose, classify, unasked
from settlement_engine.rails.swift.dialect import Dialect, read_terms
from settlement_engine.rails.transport.results import ExchangeProgress, ExchangeResult, NothingSent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from settlement_engine.domain.identifiers import References
    from settlement_engine.domain.intent import PaymentTerms
    from settlement_engine.domain.settlement import Settlement
    from settlement_engine.ports import Clock, Question, RailCapabilities
    from settlement_engine.ports.rails import Receive, Report
    from settlement_engine.rails.swift.profile import SwiftProfile
    from settlement_engine.rails.transport.http import HttpTransport

log: Final[structlog.typing.FilteringBoundLogger] = structlog.get_logger(__name__)

RAIL_NAME: Final = "swift"
PATH: Final = "/messages"
CONTRADICTION: Final = "CONTRADICTION"
"""The alarm for a response that contains two different final statuses of its payment."""

READ_AT_ONCE_BYTES_MAX: Final = 65_536
"""A longer message is parsed in a thread, so that it does not block the event loop."""

HEADERS: Final = {"content-type": "application/xml"}
FINAL: Final = frozenset(
    {Event.SETTLED, Event.REJECTED, Event.RECALLED, Event.RECALL_REFUSED, Event.NOT_FOUND}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SwiftSettings:
    """Our institution, the profile of the bank, and which payments the rail carries: None means no limit.

    ``banks`` are folded codes.
    """

    our_code: str
    profile: SwiftProfile
    banks: frozenset[str] | None = None
    currencies: frozenset[str] | None = None


class SwiftRail:
    """A rail that takes payments, enquiries and recalls."""

    name: Final = RAIL_NAME

    def __init__(
        self,
        settings: SwiftSettings,
        transport: HttpTransport,
        clock: Clock,
        count_alarm: Callable[[str, str], None] | None = None,
    ) -> None:
        self._dialect = Dialect(settings.our_code, settings.profile)
        self._transport = transport
        self._clock = clock
        self._count_alarm = count_alarm
        self._capabilities = replace(
            settings.profile.capabilities(), banks=settings.banks, currencies=settings.currencies
        )
        self.receive: Receive | None = None

    @property
    def capabilities(self) -> RailCapabilities:
        """The rail's rules."""
        return self._capabilities

    def listen(self, receive: Receive) -> None:
        """Set the function that stores what the bank reports unasked."""
        self.receive = receive

    async def start(self) -> None:
        """Open the connections."""
        await self._transport.start()

    async def stop(self) -> None:
        """Close them."""
        await self._transport.stop()

    def prepare(self, settlement: Settlement, references: References) -> bytes:
        """Build the document of an attempt."""
        return self._dialect.transfer(settlement, references)

    def read(self, payload: bytes) -> PaymentTerms | None:
        """Parse what a document asks the bank to do; None when it cannot be read."""
        return read_terms(payload)

    async def send(self, questions: Sequence[Question], report: Report) -> None:
        """Send documents; answers acknowledged, settled, rejected or undelivered."""
        await self._ask_all(questions, report, Purpose.SEND, self._transfer)

    async def enquire(self, questions: Sequence[Question], report: Report) -> None:
        """Enquire by our references; answers acknowledged, settled, rejected or not found."""
        await self._ask_all(questions, report, Purpose.ENQUIRE, self._enquiry)

    async def recall(self, questions: Sequence[Question], report: Report) -> None:
        """Recall payments; answers recalled, recall refused, settled, rejected, acknowledged."""
        await self._ask_all(questions, report, Purpose.RECALL, self._recall)

    async def take(self, body: bytes) -> None:
        """Store a message that the bank sent unasked; it may be acknowledged when this returns.

        Raises MessageError for a message that is unreadable or too large, and Unavailable if it was not stored.
        """
        assert self.receive is not None, "listen() is called before the bank can call"
        if len(body) > CONTENT_BYTES_MAX:
            raise MessageError("message", f"has more than {CONTENT_BYTES_MAX} bytes")
        is_long = len(body) > READ_AT_ONCE_BYTES_MAX
        found = await asyncio.to_thread(unasked, body) if is_long else unasked(body)
        if len(found.reports) > REPORTS_MAX:
            raise MessageError("message", f"reports on more than {REPORTS_MAX} payments")
        for alarm in found.alarms:
            self._raise_alarm(alarm.name)
        message = InboundMessage(
            rail=self.name,
            source=MessageSource.CALLBACK,
            content=body,
            reports=found.reports,
        )
        await self.receive([message])

    # --- messages to the bank -----------------------------------------------------------------------

    def _transfer(self, question: Question) -> tuple[str, bytes]:
        marked = question.is_possible_duplicate
        return "", self._dialect.sent(question.payload, is_possible_duplicate=marked)

    def _enquiry(self, question: Question) -> tuple[str, bytes]:
        names, now = question.references, self._clock.now()
        question_id = _renamed(names, "Q")
        return question_id, self._dialect.enquiry(question.payload, names, question_id, now)

    def _recall(self, question: Question) -> tuple[str, bytes]:
        names, now = question.references, self._clock.now()
        recall_id = _renamed(names, "R")
        return recall_id, self._dialect.recall(question.payload, names, recall_id, now)

    # --- requests and responses ---------------------------------------------------------------------

    async def _ask_all(
        self,
        questions: Sequence[Question],
        report: Report,
        purpose: Purpose,
        write: Callable[[Question], tuple[str, bytes]],
    ) -> None:
        async with asyncio.TaskGroup() as group:
            for question in questions:
                try:
                    question_id, body = write(question)
                except MessageError as error:
                    log.warning("rail.unreadable_payload", rail=self.name, why=error.reason)
                    continue
                asked = Asked(
                    purpose=purpose,
                    payment=_names(question.references),
                    question_id=question_id,
                    is_possible_duplicate=question.is_possible_duplicate,
                )
                group.create_task(self._ask(question, asked, body, report))

    async def _ask(self, question: Question, asked: Asked, body: bytes, report: Report) -> None:
        progress = ExchangeProgress()
        try:
            result = await self._transport.post(PATH, body, HEADERS, progress)
        except asyncio.CancelledError:
            if not progress.has_begun:
                self._report(question, asked, NothingSent("not sent in time"), report)
            raise
        self._report(question, asked, result, report)

    def _report(
        self, question: Question, asked: Asked, result: ExchangeResult, report: Report
    ) -> None:
        classified = classify(asked, result)
        for alarm in classified.alarms:
            self._raise_alarm(alarm.name, str(question.settlement_id))
        said = one_of(classified.reports)
        if said is not None:
            report([_answer(question, said)])
        elif classified.reports:
            self._raise_alarm(CONTRADICTION, str(question.settlement_id))

    def _raise_alarm(self, alarm: str, settlement_id: str = "") -> None:
        """Log the alarm, and count it."""
        log.warning("rail.alarm", rail=self.name, alarm=alarm, id=settlement_id)
        if self._count_alarm is not None:
            self._count_alarm(self.name, alarm.lower())


def one_of(reports: Sequence[StatusReport]) -> StatusReport | None:
    """Choose one report of a response: a final one, else the last; None if two final ones differ."""
    final = [each for each in reports if each.event in FINAL]
    if len({each.event for each in final}) > 1:
        return None
    return (final or [*reports])[-1] if reports else None


def _names(references: References) -> PaymentReferences:
    return PaymentReferences(
        uetr=references.uetr,
        end_to_end_id=references.end_to_end_id,
        message_id=references.message_id,
    )


def _renamed(references: References, letter: str) -> str:
    """Derive the id of an enquiry or recall from the payment's message id, so that it is always the same."""
    return letter + references.message_id[1:]


def _answer(question: Question, said: StatusReport) -> Answer:
    reference = said.references.rail_reference
    is_settled = said.event is Event.SETTLED
    return Answer(
        settlement_id=question.settlement_id,
        attempt=question.attempt,
        event=said.event,
        code=said.code,
        text=said.text,
        rail_reference=reference,
        confirmation=said.confirmation or (reference if is_settled else ""),
        stated=said.stated,
    )
