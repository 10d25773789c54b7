"""What the bank does with a message, by its ledger and its script. No network code is here.

Promises: a payment that is in the ledger, by UETR or by message id and end-to-end id, is not processed again; the two
legs of a cover payment have one UETR, and each of their messages is a payment of its own. The response is its current
status: as a conflict (409), or as success if the sender marked the message as a possible duplicate. All changes of one
message are one transaction. The time is an argument.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from settlement_engine.domain.money import Money
from settlement_engine.messages.envelope import opened
from settlement_engine.messages.errors import MessageError
from settlement_engine.simulator import answers, orders
from settlement_engine.simulator.ach import AchOperator
from settlement_engine.simulator.balances import BalanceTeller
from settlement_engine.simulator.events import Events, SimulatorState
from settlement_engine.simulator.ledger import Names, Payment
from settlement_engine.simulator.scenarios import (
    RecallReply,
    Reply,
    Scenario,
    ScenarioStep,
    of_the_leg,
)
from settlement_engine.simulator.statement_issuing import StatementIssuer
from settlement_engine.simulator.statement_requests import answer_request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from settlement_engine.messages.camt056 import Cancellation
    from settlement_engine.messages.envelope import Opened
    from settlement_engine.simulator.ledger import Ledger
    from settlement_engine.simulator.scenarios import ScenarioScript

OK: Final = 200
ACCEPTED: Final = 202
BAD_REQUEST: Final = 400
NOT_FOUND: Final = 404
CONFLICT: Final = 409
UNPROCESSABLE: Final = 422
SERVER_ERROR: Final = 500
TRANSFERS_MAX: Final = 1_000


class Manner(Enum):
    """How a response is delivered."""

    WHOLE = auto()
    HALF = auto()  # the connection ends in the middle of the body
    LOST = auto()  # the connection ends without a response
    SILENT = auto()  # the connection stays open without a response


class BankResponse(msgspec.Struct, frozen=True, kw_only=True):
    """The bank's response and how it is delivered."""

    status: int = OK
    body: bytes = b""
    delay_ms: int = 0
    manner: Manner = Manner.WHOLE


BARRED: Final = "barred"
BARRED_SCENARIO: Final = Scenario(steps=(ScenarioStep(status="RJCT", code="CUST"),))
"""How a payment is treated that was recalled before it arrived."""

LOST: Final = BankResponse(manner=Manner.LOST)
SILENT: Final = BankResponse(manner=Manner.SILENT)
FAILED: Final = BankResponse(status=SERVER_ERROR)


class ReceivedMessage(NamedTuple):
    """A message, and the rail over which it came; empty where its content says it."""

    body: bytes
    rail: str = ""


class _Reported(NamedTuple):
    """A payment with the status and the reason code that are reported about it."""

    payment: Payment
    status: str
    code: str
    is_known: bool = False
    is_same: bool = True


class ScriptedBank:
    """The bank on its ledger. All calls must come from the ledger's thread."""

    def __init__(self, ledger: Ledger, script: ScenarioScript, *, calls_back: bool) -> None:
        self._ledger = ledger
        self._events = Events(ledger, calls_back=calls_back)
        self._operator = AchOperator(ledger, self._events)
        self.books = self._events.books
        self.issuer = StatementIssuer(ledger, self.books)
        self.teller = BalanceTeller(ledger, self.books)
        self.script = script

    @property
    def script(self) -> ScenarioScript:
        """What the bank does."""
        return self._script

    @script.setter
    def script(self, script: ScenarioScript) -> None:
        self._script = script
        self.books.codes = script.banks

    def work(self, now_ms: int) -> None:
        """Carry out all steps that are due."""
        self._events.work(now_ms)

    def receive_file(self, name: str, content: bytes, now_ms: int) -> bytes | None:
        """Process a NACHA file; returns its acknowledgement, or None if the sender receives none."""
        self.work(now_ms)
        return self._operator.receive(name, content, self.script, now_ms)

    def receive(self, body: bytes, now_ms: int, rail: str = "") -> BankResponse:
        """Process a message."""
        return self.receive_all([ReceivedMessage(body, rail)], now_ms)[0]

    def receive_all(self, messages: Sequence[ReceivedMessage], now_ms: int) -> list[BankResponse]:
        """Process several messages in one transaction, so that all of them wait for one write to the disk."""
        self.work(now_ms)
        with self._ledger.writing():
            return [self._respond(message, now_ms) for message in messages]

    def _respond(self, received: ReceivedMessage, now_ms: int) -> BankResponse:
        try:
            message = opened(received.body)
        except MessageError:
            return BankResponse(status=BAD_REQUEST)
        match message.kind:
            case "pacs.008" | "pacs.009":
                return self._payments(message, received.rail, now_ms)
            case "pacs.028":
                return self._enquiry(message, now_ms)
            case "camt.056":
                return self._recall(message, now_ms)
            case "camt.060":
                sources = (self.issuer, self.teller)
                body, is_there = answer_request(message.content, sources, self.script, now_ms)
                return BankResponse(status=OK if is_there else NOT_FOUND, body=body)
            case _:
                return BankResponse(status=UNPROCESSABLE)

    # --- payments -----------------------------------------------------------------------------------

    def _payments(self, message: Opened, rail: str, now_ms: int) -> BankResponse:
        """Enter each new payment of a message and recognise known ones; the first one's scenario sets the response."""
        transfers = message.content.transfers
        if len(transfers) > TRANSFERS_MAX:
            return BankResponse(status=UNPROCESSABLE)
        received = [self._payment(message, transfer, rail, now_ms) for transfer in transfers]
        other = next((each for each in received if isinstance(each, BankResponse)), None)
        if other is not None:
            return other
        reported = [each for each in received if isinstance(each, _Reported)]
        statuses = [
            answers.transaction_status(self._named(each.payment), each.status, each.code)
            for each in reported
        ]
        first = reported[0].payment
        name = f"RSP{first.id}-{first.times_received}"
        if not reported[0].is_known and first.treatment.reply is Reply.REFUSED:
            text = "the message is refused"
            body = answers.message_reject(first.message_id, "NARR", text, now_ms)
            return BankResponse(status=UNPROCESSABLE, body=body)
        body = answers.status_report(name, now_ms, statuses)
        if not reported[0].is_known:
            return _in_its_manner(first.treatment, body)
        is_marked = bool(message.head and message.head.is_possible_duplicate)
        is_resend = is_marked and all(each.is_same for each in reported)
        return BankResponse(status=OK if is_resend else CONFLICT, body=body)

    def _payment(
        self,
        message: Opened,
        transfer: Any,  # noqa: ANN401 -- of pacs.008 or pacs.009
        rail: str,
        now_ms: int,
    ) -> BankResponse | _Reported:
        """Enter or recognise one payment; returns a BankResponse if the sender is to receive no status."""
        values = orders.payment_values(message, transfer)
        names = orders.names_of(values)
        known = self._ledger.find(names)
        if known:
            self._ledger.received_again(known[0])
            if self._is_silent(known[0], now_ms):
                return SILENT
            payment = self._ledger.payment(known[0].id)
            is_same = payment.content_hash == values["content_hash"]
            return _Reported(payment, payment.status, payment.code, is_known=True, is_same=is_same)
        chosen, scenario = self._chosen(names, values, transfer)
        times, fails_until_ms = self._ledger.arrive(
            orders.reference_of(names, values["leg"]), now_ms + scenario.errors_for_ms
        )
        if now_ms < fails_until_ms:
            return FAILED
        if times <= scenario.lost_requests:
            return LOST
        values |= {"scenario": chosen, "plan": msgspec.json.encode(scenario).decode()}
        values |= {"rail": rail or orders.rail_of(transfer), "received_at_ms": now_ms}
        payment = self._ledger.enter(values)
        return _Reported(*self._events.begin(payment, scenario, now_ms))

    def _chosen(
        self,
        names: Names,
        values: dict[str, Any],
        transfer: Any,  # noqa: ANN401 -- of pacs.008 or pacs.009
    ) -> tuple[str, Scenario]:
        """Choose how a new payment is treated; one that was recalled before it came is rejected."""
        leg = values["leg"]
        if any(map(self._ledger.is_barred, orders.barring_references(names, leg))):
            return BARRED, BARRED_SCENARIO
        chosen = self.script.choose(*orders.criteria(values, transfer))
        return chosen, of_the_leg(self.script.scenario(chosen), leg)

    def _named(self, payment: Payment) -> Payment:
        """Return the payment, or another one if the scenario makes the bank confuse them."""
        if not payment.treatment.names_another_payment:
            return payment
        other = self._ledger.any_other(payment)
        if other is None:
            made_up = {"uetr": None, "end_to_end_id": "SOMEBODY-ELSES", "message_id": "ANOTHER"}
            return msgspec.structs.replace(payment, **made_up)
        return other

    # --- enquiries ----------------------------------------------------------------------------------

    def _enquiry(self, message: Opened, now_ms: int) -> BankResponse:
        content = message.content
        asked = [orders.names_asked(each) for each in content.questions] or [
            Names(message_id=group.message_id) for group in content.groups
        ]
        found = [payment for names in asked for payment in self._ledger.find(names)]
        references = [each for names in asked for each in orders.references_asked(names)]
        if any(now_ms < self._ledger.fails_until(reference) for reference in references):
            return FAILED
        if any(self._is_silent(payment, now_ms) for payment in found):
            return SILENT
        seen = [
            payment
            for payment in found
            if now_ms >= payment.received_at_ms + payment.treatment.visible_after_ms
        ]
        question = content.header.message_id
        if not seen:
            text = "no such payment"
            body = answers.message_reject(question, "NOOR", text, now_ms)
            return BankResponse(status=NOT_FOUND, body=body)
        statuses = [answers.transaction_status(each, each.status, each.code) for each in seen]
        return BankResponse(body=answers.status_report(f"STS{now_ms}", now_ms, statuses))

    def _is_silent(self, payment: Payment, now_ms: int) -> bool:
        return now_ms < payment.received_at_ms + payment.treatment.silent_for_ms

    # --- recalls ------------------------------------------------------------------------------------

    def _recall(self, message: Opened, now_ms: int) -> BankResponse:
        """Answer about the first payment of the message; the engine's recalls name exactly one."""
        for underlying in message.content.underlying:
            for cancellation in underlying.cancellations:
                return self._recall_of(message, cancellation, now_ms)
        return BankResponse(status=UNPROCESSABLE)

    def _recall_of(self, message: Opened, cancellation: Cancellation, now_ms: int) -> BankResponse:
        names = orders.names_asked(cancellation)
        found = self._ledger.find(names)
        about = f"RES{message.content.assignment.id}"[:35]
        if not found:
            is_barred = self.script.bars_recalled
            if is_barred:
                for reference in orders.references_asked(names):
                    self._ledger.bar(reference)
            said = ("CNCL", "") if is_barred else ("RJCR", "NOOR")
            return BankResponse(body=answers.resolution(about, *said, cancellation, now_ms))
        payment = found[0]
        if self._is_silent(payment, now_ms):
            return SILENT
        if payment.state == SimulatorState.REJECTED and payment.scenario != BARRED:
            status = answers.transaction_status(payment, payment.status, payment.code)
            return BankResponse(body=answers.status_report(about, now_ms, [status]))
        returned = None
        confirmation, code = self._decide_recall(payment, now_ms)
        if payment.state == SimulatorState.SETTLED and confirmation == "CNCL":
            returned = Money(payment.debited_minor or 0, payment.currency)
        body = answers.resolution(about, confirmation, code, payment, now_ms, returned)
        return BankResponse(body=body)

    def _decide_recall(self, payment: Payment, now_ms: int) -> tuple[str, str]:
        """Accept, refuse or postpone a recall. If a settled payment is to be returned, a pacs.004 follows."""
        if payment.state == SimulatorState.RECALLED or payment.scenario == BARRED:
            return "CNCL", ""
        if payment.state == SimulatorState.RETURNED:
            return "RJCR", "ARDT"
        treatment = payment.treatment
        if treatment.recall is RecallReply.REFUSE:
            return "RJCR", "LEGL"
        if treatment.recall is RecallReply.PENDING:
            if treatment.recall_after_ms:
                self._events.recall_later(payment, now_ms + treatment.recall_after_ms)
            return "PDCR", ""
        return self._events.recall_now(payment, now_ms)


def _in_its_manner(scenario: Scenario, body: bytes) -> BankResponse:
    """Make the response that the scenario demands."""
    delay_ms = scenario.reply_delay_ms
    match scenario.reply:
        case Reply.LOST:
            return SILENT if scenario.silent_for_ms else LOST
        case Reply.HALF:
            return BankResponse(body=body, delay_ms=delay_ms, manner=Manner.HALF)
        case Reply.CALLBACK:
            return BankResponse(status=ACCEPTED, delay_ms=delay_ms)
        case _:
            return BankResponse(body=body, delay_ms=delay_ms)
