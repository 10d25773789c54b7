"""A rail of ISO 20022 over HTTP: asks the bank of a payment each question, and reports the classified responses.

Promises: an order goes to the bank that keeps our account, and to no other; a payment that was never transmitted is
reported as undelivered, also when the engine cancels the call; an answer is reported as soon as it arrives. Must
never: log any text of a message; alarms are logged without it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
import structlog

from settlement_engine.domain.lifecycle import Event
from settlement_engine.errors import Contention, Unavailable
from settlement_engine.messages.errors import MessageError
from settlement_engine.ports import (
    Answer,
    InboundMessage,
    MessageSource,
    StatementAnswer,
    StatusReport,
)
from settlement_engine.ports.inbound import CONTENT_BYTES_MAX, REPORTS_MAX
from settlement_engine.rails.classification import Asked, Purpose, classify, read_body
from settlement_engine.rails.iso20022.balance_requests import IsoBalances
from settlement_engine.rails.iso20022.connections import heard_scope
from settlement_engine.rails.iso20022.names import message_id_of, names_of
from settlement_engine.rails.iso20022.orders import read_order, read_terms
from settlement_engine.rails.iso20022.statement_requests import STATEMENT_BYTES_MAX, answer_of
from settlement_engine.rails.iso20022.validation import MessageValidation
from settlement_engine.rails.keeping import MessageKeeper
from settlement_engine.rails.reports import Alarm
from settlement_engine.rails.transport.results import (
    ExchangeProgress,
    ExchangeResult,
    NothingSent,
    Response,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from datetime import date

    from settlement_engine.domain.bank_directory import CorrespondentRoute
    from settlement_engine.domain.identifiers import References
    from settlement_engine.domain.intent import PaymentTerms
    from settlement_engine.domain.kept_messages import KeptMessage
    from settlement_engine.domain.settlement import Instruction, Settlement
    from settlement_engine.messages.envelope import Opened
    from settlement_engine.messages.schemas import MessageSchemas
    from settlement_engine.ports import (
        Clock,
        Question,
        RailCapabilities,
        StatementQuestion,
    )
    from settlement_engine.ports.messages import Keep
    from settlement_engine.ports.rails import Receive, Report
    from settlement_engine.rails.iso20022.connections import BankConnection, Connections

log: Final[structlog.typing.FilteringBoundLogger] = structlog.get_logger(__name__)

PATH: Final = "/messages"
CONTRADICTION: Final = "CONTRADICTION"
"""The alarm for a response that contains two different final statuses of its payment."""

UNREACHED: Final = "no bank of this rail takes this order"
READ_AT_ONCE_BYTES_MAX: Final = 65_536
"""A longer message is parsed in a thread, so that it does not block the event loop."""

HEADERS: Final = {"content-type": "application/xml"}
FINAL: Final = frozenset(
    {Event.SETTLED, Event.REJECTED, Event.RECALLED, Event.RECALL_REFUSED, Event.NOT_FOUND}
)


class Leaving(NamedTuple):
    """A message on its way to a bank; without ``bank`` there is nobody who takes it.

    ``message`` is to be stored first; None: its bytes are recorded.
    """

    question: Question
    asked: Asked
    body: bytes
    bank: BankConnection | None
    message: KeptMessage | None = None


class IsoRail(IsoBalances):
    """A rail that takes payments, enquiries and recalls."""

    def __init__(
        self,
        name: str,
        connections: Connections,
        clock: Clock,
        count_alarm: Callable[[str, str], None] | None = None,
        schemas: MessageSchemas | None = None,
    ) -> None:
        self.name = name
        self._connections = connections
        self._clock = clock
        self._count_alarm = count_alarm
        self._validation = MessageValidation(schemas)
        self._rules, self._rules_end = self._rules_on(clock.now().date())
        self.receive: Receive | None = None
        self._keeper = MessageKeeper(name, clock)

    @property
    def capabilities(self) -> RailCapabilities:
        """The rail's rules, as they are today."""
        if self._rules_end is not None and self._clock.now().date() >= self._rules_end:
            self._rules, self._rules_end = self._rules_on(self._clock.now().date())
        return self._rules

    def _rules_on(self, day: date) -> tuple[RailCapabilities, date | None]:
        return self._connections.capabilities(day), self._connections.limits_change_on(day)

    def listen(self, receive: Receive) -> None:
        """Set the function that stores what the bank reports unasked."""
        self.receive = receive

    def keep_messages(self, keep: Keep) -> None:
        """Set the function that stores messages."""
        self._keeper.keep = keep

    def know_accounts(self, our_account: Callable[[str, str], str]) -> None:
        """Set the look-up of our account at FROM, for connections whose configuration leaves it out."""
        for each in self._connections.all:
            each.dialect.know_accounts(our_account)

    def know_correspondents(self, route: Callable[[str, str], CorrespondentRoute | None]) -> None:
        """Set the look-up of the correspondent through which TO is paid."""
        for each in self._connections.all:
            each.dialect.know_correspondents(route)

    async def start(self) -> None:
        """Open the connections."""
        for each in self._connections.all:
            await each.transport.start()

    async def stop(self) -> None:
        """Close them."""
        for each in self._connections.all:
            await each.transport.stop()

    def prepare(self, settlement: Settlement, references: References) -> bytes:
        """Build the document of an attempt."""
        instruction = settlement.instruction
        bank = self._connections.of(instruction.from_bank, instruction.amount.currency)
        assert bank is not None, "a payment is routed only where somebody takes it"
        return bank.dialect.order(settlement, references)

    def fault_of(self, instruction: Instruction) -> str:
        """Say what the rail cannot carry of a payment, with its field; empty when it can carry everything."""
        bank = self._connections.of(instruction.from_bank, instruction.amount.currency)
        if bank is None:
            return ""
        fault = bank.dialect.fault_of(instruction)
        now = self._clock.now()
        return fault or self._validation.fault_of_order(bank.dialect, instruction, now)

    def read(self, payload: bytes) -> PaymentTerms | None:
        """Parse what a document asks the bank to do; None when it cannot be read."""
        return read_terms(payload)

    async def send(self, questions: Sequence[Question], report: Report) -> None:
        """Send documents; answers acknowledged, settled, rejected or undelivered."""
        await self._ask_all(questions, report, Purpose.SEND)

    async def enquire(self, questions: Sequence[Question], report: Report) -> None:
        """Enquire by our references; answers acknowledged, settled, rejected or not found."""
        await self._ask_all(questions, report, Purpose.ENQUIRE)

    async def recall(self, questions: Sequence[Question], report: Report) -> None:
        """Recall payments; answers recalled, recall refused, settled, rejected, acknowledged."""
        await self._ask_all(questions, report, Purpose.RECALL)

    def gives_statements(self, bank: str, currency: str) -> bool:
        """Say whether one of its banks keeps our account."""
        return self._connections.of(bank, currency) is not None

    async def statement(self, question: StatementQuestion) -> StatementAnswer:
        """Ask a bank for a statement (camt.060)."""
        bank = self._connections.of(question.bank, question.currency)
        if bank is None:
            return StatementAnswer(reason=UNREACHED, was_reached=False)
        try:
            body = bank.dialect.statement_request(question, self._clock.now())
            self._validation.check(body)
        except MessageError as error:
            return StatementAnswer(reason=str(error), was_reached=False)
        result = await bank.transport.post(PATH, body, HEADERS, bytes_max=STATEMENT_BYTES_MAX)
        return answer_of(result)

    async def take(self, body: bytes, senders: Collection[str]) -> None:
        """Store a message that a bank sent unasked; it may be acknowledged when this returns.

        ``senders`` are the connections as which the bank is known. Raises MessageError for a message that is
        unreadable or too large, NotPermitted for one about a payment of others, and Unavailable if it was not stored.
        """
        assert self.receive is not None, "listen() is called before the bank can call"
        banks = self._connections.named(senders)
        assert banks, "the sender of a call-back is one of the rail's banks"
        if len(body) > CONTENT_BYTES_MAX:
            raise MessageError("message", f"has more than {CONTENT_BYTES_MAX} bytes")
        final = frozenset(banks[0].profile.settled_by).intersection(
            *(each.profile.settled_by for each in banks)
        )
        is_long = len(body) > READ_AT_ONCE_BYTES_MAX
        hear = self._validation.unasked
        found = await asyncio.to_thread(hear, body, final) if is_long else hear(body, final)
        if len(found.reports) > REPORTS_MAX:
            raise MessageError("message", f"reports on more than {REPORTS_MAX} payments")
        for alarm in found.alarms:
            self._raise_alarm(alarm.name)
        message = InboundMessage(
            rail=self.name,
            source=MessageSource.CALLBACK,
            content=body,
            reports=found.reports,
            scope=heard_scope(banks),
            sender=min(each.name for each in banks),
        )
        await self.receive([message])

    # --- messages to the banks ----------------------------------------------------------------------

    def _leaving(self, question: Question, purpose: Purpose) -> Leaving:
        """Write a question to the bank that it is for. Raises MessageError for what is no order of ours."""
        order, names = read_order(question.payload), question.references
        bank = self._connections.of(order.bank, order.transfer.amount.currency)
        message_id = message_id_of(names, purpose)
        asked = Asked(
            purpose=purpose,
            payment=names_of(names, order.transfer.end_to_end_id),
            question_id="" if purpose is Purpose.SEND else message_id,
            is_possible_duplicate=question.is_possible_duplicate,
            settled_by=frozenset(bank.profile.settled_by) if bank else frozenset(),
        )
        if bank is None:
            return Leaving(question, asked, b"", None)
        if purpose is Purpose.SEND:
            marked = question.is_possible_duplicate
            body = bank.dialect.sent(question.payload, order, is_possible_duplicate=marked)
            if not marked:
                return Leaving(question, asked, body, bank)  # recorded with the send intent
            type_ = order.definition
        elif purpose is Purpose.ENQUIRE:
            body = bank.dialect.enquiry(order, names, message_id, self._clock.now())
            type_ = bank.profile.enquiry
        else:
            body = bank.dialect.recall(order, names, message_id, self._clock.now())
            type_ = bank.profile.recall
        message = self._keeper.sent(question, body, type_=type_, message_id=message_id)
        return Leaving(question, asked, body, bank, message)

    # --- requests and responses ---------------------------------------------------------------------

    async def _ask_all(
        self, questions: Sequence[Question], report: Report, purpose: Purpose
    ) -> None:
        leaving: list[Leaving] = []
        for question in questions:
            try:
                leaving.append(self._leaving(question, purpose))
            except MessageError as error:
                log.warning("rail.unreadable_payload", rail=self.name, why=error.reason)
        valid = [each for each in leaving if self._may_leave(each, report)]
        stored = await self._stored(valid, report)
        async with asyncio.TaskGroup() as group:
            for each in stored:
                if each.bank is None:
                    self._report_not_sent(each, report, UNREACHED)
                else:
                    group.create_task(self._ask(each.bank, each, report))

    def _may_leave(self, leaving: Leaving, report: Report) -> bool:
        """Say whether a message is valid; a document without a mark was validated with its payment."""
        if leaving.message is None:
            return True
        try:
            self._validation.check(leaving.body)
        except MessageError as error:
            self._raise_alarm(Alarm.INVALID_MESSAGE.name, str(leaving.question.settlement_id))
            self._report_not_sent(leaving, report, f"it would be invalid: {error.reason}")
            return False
        return True

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

    async def _ask(self, bank: BankConnection, leaving: Leaving, report: Report) -> None:
        progress = ExchangeProgress()
        try:
            result = await bank.transport.post(PATH, leaving.body, HEADERS, progress)
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
        classified = self._validation.classify(leaving.asked, result, message)
        for alarm in classified.alarms:
            self._raise_alarm(alarm.name, str(question.settlement_id))
        statuses = await self._without_returns(classified.reports, result, leaving.bank)
        said = one_of(statuses)
        kept = self._response(question, result, message)
        if said is not None:
            report([_answer(question, said, kept)])
            return
        if statuses:
            self._raise_alarm(CONTRADICTION, str(question.settlement_id))
        if kept is not None:
            await self._keeper.store([kept])

    async def _without_returns(
        self, reports: Sequence[StatusReport], result: ExchangeResult, bank: BankConnection | None
    ) -> list[StatusReport]:
        """Store returns in a response as a message of their own, to be booked whatever was asked; return the rest."""
        returns = tuple(each for each in reports if each.event is Event.RETURNED)
        if returns and isinstance(result, Response) and self.receive is not None:
            assert bank is not None, "a response comes from a bank"
            message = InboundMessage(
                rail=self.name,
                source=MessageSource.PUSHED,
                content=result.body,
                reports=returns,
                scope=heard_scope((bank,)),
                sender=bank.name,
            )
            try:
                await self.receive([message])
            except (Unavailable, Contention) as error:
                why = error.why or error.what
                log.warning("rail.return_not_stored", rail=self.name, why=why)
        return [each for each in reports if each.event is not Event.RETURNED]

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
        promises_return=said.promises_return,
        message=message,
    )
