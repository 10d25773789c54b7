"""The rail ``swift``: asks the bank each question over HTTP, and reports the classified responses.

Promises: a payment that was never transmitted is reported as undelivered, also when the engine cancels the call; an
answer is reported as soon as it arrives. Must never: log any text of a message; alarms are logged without it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
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
from settlement_engine.rails.classification import Asked, Purpose, classify, read_body, unasked
from settlement_engine.rails.keeping import MessageKeeper
from settlement_engine.rails.swift.dialect import Dialect, read_terms
from settlement_engine.rails.transport.results import (
    ExchangeProgress,
    ExchangeResult,
    NothingSent,
    Response,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from settlement_engine.domain.identifiers import References
    from settlement_engine.domain.intent import PaymentTerms
    from settlement_engine.domain.kept_messages import KeptMessage
    from settlement_engine.domain.settlement import Settlement
    from settlement_engine.messages.envelope import Opened
    from settlement_engine.ports import Clock, Question, RailCapabilities
    from settlement_engine.ports.messages import Keep
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


class Leaving(NamedTuple):
    """A message on its way to the bank. ``message`` is to be stored first; None: its bytes are recorded."""

    question: Question
    asked: Asked
    body: bytes
    message: KeptMessage | None = None


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
        self._keeper = MessageKeeper(self.name, clock)
        self._types = {
            Purpose.SEND: settings.profile.transfer,
            Purpose.ENQUIRE: settings.profile.enquiry,
            Purpose.RECALL: settings.profile.recall,
        }

    @property
    def capabilities(self) -> RailCapabilities:
        """The rail's rules."""
        return self._capabilities

    def listen(self, receive: Receive) -> None:
        """Set the function that stores what the bank reports unasked."""
        self.receive = receive

    def keep_messages(self, keep: Keep) -> None:
        """Set the function that stores messages."""
        self._keeper.keep = keep

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
        await self._ask_all(questions, report, self._transfer)

    async def enquire(self, questions: Sequence[Question], report: Report) -> None:
        """Enquire by our references; answers acknowledged, settled, rejected or not found."""
        await self._ask_all(questions, report, self._enquiry)

    async def recall(self, questions: Sequence[Question], report: Report) -> None:
        """Recall payments; answers recalled, recall refused, settled, rejected, acknowledged."""
        await self._ask_all(questions, report, self._recall)

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

    def _transfer(self, question: Question) -> Leaving:
        names, marked = question.references, question.is_possible_duplicate
        body = self._dialect.sent(question.payload, is_possible_duplicate=marked)
        return self._leaving(question, Purpose.SEND, body, names.message_id, is_kept=not marked)

    def _enquiry(self, question: Question) -> Leaving:
        names, now = question.references, self._clock.now()
        question_id = _renamed(names, "Q")
        body = self._dialect.enquiry(question.payload, names, question_id, now)
        return self._leaving(question, Purpose.ENQUIRE, body, question_id)

    def _recall(self, question: Question) -> Leaving:
        names, now = question.references, self._clock.now()
        recall_id = _renamed(names, "R")
        body = self._dialect.recall(question.payload, names, recall_id, now)
        return self._leaving(question, Purpose.RECALL, body, recall_id)

    def _leaving(
        self,
        question: Question,
        purpose: Purpose,
        body: bytes,
        message_id: str,
        *,
        is_kept: bool = False,
    ) -> Leaving:
        """Make what leaves; ``is_kept``: its bytes are recorded with the send intent."""
        asked = Asked(
            purpose=purpose,
            payment=_names(question.references),
            question_id="" if purpose is Purpose.SEND else message_id,
            is_possible_duplicate=question.is_possible_duplicate,
        )
        if is_kept:
            return Leaving(question, asked, body)
        type_ = self._types[purpose]
        message = self._keeper.sent(question, body, type_=type_, message_id=message_id)
        return Leaving(question, asked, body, message)

    # --- requests and responses ---------------------------------------------------------------------

    async def _ask_all(
        self, questions: Sequence[Question], report: Report, write: Callable[[Question], Leaving]
    ) -> None:
        leaving: list[Leaving] = []
        for question in questions:
            try:
                leaving.append(write(question))
            except MessageError as error:
                log.warning("rail.unreadable_payload", rail=self.name, why=error.reason)
        stored = await self._stored(leaving, report)
        async with asyncio.TaskGroup() as group:
            for each in stored:
                group.create_task(self._ask(each, report))

    async def _stored(self, leaving: list[Leaving], report: Report) -> list[Leaving]:
        """Store what is not recorded yet; what cannot be stored does not leave."""
        own = [each for each in leaving if each.message is not None]
        is_stored = False
        try:
            is_stored = await self._keeper.store([each.message for each in own if each.message])
        finally:
            if not is_stored:
                for each in own:
                    self._report_not_sent(each, report, "it was not stored", is_held_back=True)
        return leaving if is_stored else [each for each in leaving if each.message is None]

    async def _ask(self, leaving: Leaving, report: Report) -> None:
        progress = ExchangeProgress()
        try:
            result = await self._transport.post(PATH, leaving.body, HEADERS, progress)
        except asyncio.CancelledError:
            if not progress.has_begun:
                self._report_not_sent(leaving, report, "not sent in time")
            raise
        await self._report(leaving, result, report)

    def _report_not_sent(
        self, leaving: Leaving, report: Report, why: str, *, is_held_back: bool = False
    ) -> None:
        """Report a send as undelivered. Held back: that says nothing about the bank."""
        for said in classify(leaving.asked, NothingSent(why)).reports:
            answer = _answer(leaving.question, said)
            report([msgspec.structs.replace(answer, is_held_back=is_held_back)])

    async def _report(self, leaving: Leaving, result: ExchangeResult, report: Report) -> None:
        question, message = leaving.question, read_body(result)
        classified = classify(leaving.asked, result, message)
        for alarm in classified.alarms:
            self._raise_alarm(alarm.name, str(question.settlement_id))
        said = one_of(classified.reports)
        kept = self._response(question, result, message)
        if said is not None:
            report([_answer(question, said, kept)])
            return
        if classified.reports:
            self._raise_alarm(CONTRADICTION, str(question.settlement_id))
        if kept is not None:
            await self._keeper.store([kept])

    def _response(
        self, question: Question, result: ExchangeResult, message: Opened | None
    ) -> KeptMessage | None:
        if not isinstance(result, Response):
            return None
        return self._keeper.received(question, result, message)

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


def _answer(question: Question, said: StatusReport, message: KeptMessage | None = None) -> Answer:
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
        message=message,
    )
