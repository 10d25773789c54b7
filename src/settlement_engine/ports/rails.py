"""What the engine asks of rails and of screening, and the answers.

A rail consists of parts: every rail takes payments (``SendRail``); the other parts depend on what its bank offers.
``RailCapabilities.asks`` lists them. Promises: a part that a rail does not have is never asked. Must never: let a
rail decide about a settlement; it only classifies what the bank says.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime  # noqa: TC003 - msgspec reads them at run time
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

import msgspec

from settlement_engine.domain.decisions.resending import SendingRules
from settlement_engine.domain.lifecycle import Ask  # noqa: TC001 - msgspec reads it at run time
from settlement_engine.ports.lanes import LaneLimits

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from uuid import UUID

    from settlement_engine.domain.answer import Answer
    from settlement_engine.domain.backoff import Backoff
    from settlement_engine.domain.bank_directory import CorrespondentRoute
    from settlement_engine.domain.identifiers import References
    from settlement_engine.domain.intent import PaymentTerms
    from settlement_engine.domain.lifecycle import Event, State
    from settlement_engine.domain.payment import Delivery
    from settlement_engine.domain.settlement import Instruction, Settlement
    from settlement_engine.ports.inbound import InboundMessage


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """One payment to send, enquire about or recall. ``payload`` are the bytes recorded with the send intent.

    ``is_possible_duplicate`` is set on every transmission but the first. ``trace`` is the attempt's, and
    ``fencing_token`` that of the engine that asks: a file is closed only while it is the settlement's.
    ``recorded_at`` is the time of the send intent: however often a payment is asked for, it waits since then.
    ``seq`` is the settlement's sequence number when it was asked about. ``cover_due`` is the hash of the cover that may
    be sent now, once; empty: none. ``has_ended``: the payment is recalled after it was completed. ``asked_at`` is the
    time of the question by the database's clock, as far as the engine knows it. ``sends`` counts the attempt's
    transmissions; every recovery of a restored database adds one to those that are open.
    """

    settlement_id: UUID
    attempt: int
    references: References
    payload: bytes
    valid_until: datetime
    is_possible_duplicate: bool = False
    trace: str = ""
    fencing_token: int = 0
    recorded_at: datetime | None = None
    seq: int = 0
    cover_due: str = ""
    has_ended: bool = False
    asked_at: datetime | None = None
    sends: int = 1


class MessageType(msgspec.Struct, frozen=True, kw_only=True):
    """A type of message of a rail, its versions, and the question it asks; None: the bank sends it to us."""

    name: str
    versions: tuple[str, ...]
    ask: Ask | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RailCapabilities(SendingRules):
    """The rail's rules, as data: those that decisions depend on, and those of sending and enquiring.

    ``answer_timeout_seconds`` is how long a question may stay open before it counts as not answered.
    ``validity_seconds`` is how long an attempt's bytes may be sent. ``currencies``, ``banks`` (folded codes of
    those reachable over it) and the amounts, in minor units by currency, say which payments it carries; None,
    or a currency left out, means no limit; ``scope`` says which banks and currencies go together, where not all do.
    ``needs`` lists the fields of the payment details without which it cannot write its message, by delivery, such
    as ``creditor.account.iban``. ``lane`` limits what one bank is asked at a time. ``enquiry`` says how often a
    payment that is in doubt, sent or being recalled is enquired about; for a state that is left out, the engine's
    settings apply. ``messages`` are the types that it writes and reads. ``recall_within_seconds`` is how long after
    completion a payment may be recalled; ``recall_answer_seconds`` is how long the bank has to answer, or
    ``recall_answer_banking_days``, counted on the rail's calendar; None means no limit. ``listed_as`` is the rail by
    which the bank directory says that a bank is reached, if it is another name.
    """

    answer_timeout_seconds: float
    validity_seconds: float
    currencies: frozenset[str] | None = None
    banks: frozenset[str] | None = None
    scope: frozenset[str] | None = None
    amount_min_minor: Mapping[str, int] = field(default_factory=dict)
    amount_max_minor: Mapping[str, int] = field(default_factory=dict)
    needs: Mapping[Delivery, tuple[str, ...]] = field(default_factory=dict)
    lane: LaneLimits = field(default_factory=LaneLimits)
    enquiry: Mapping[State, Backoff] = field(default_factory=dict)
    messages: tuple[MessageType, ...] = ()
    recall_within_seconds: float | None = None
    recall_answer_seconds: float | None = None
    recall_answer_banking_days: int | None = None
    listed_as: str = ""


Receive: TypeAlias = "Callable[[Sequence[InboundMessage]], Awaitable[None]]"
"""Stores inbound messages; raises Unavailable when they could not be stored."""

Report: TypeAlias = "Callable[[Sequence[Answer]], None]"
"""Receives answers as they arrive, in any order and grouping."""


class Rail(Protocol):
    """What every rail has. It classifies what the bank says and never decides."""

    @property
    def name(self) -> str:
        """The rail's name in records and labels."""
        ...

    @property
    def capabilities(self) -> RailCapabilities:
        """The rail's rules."""
        ...

    def listen(self, receive: Receive) -> None:
        """Set the function that stores the messages which the bank sends unasked.

        The rail acknowledges a message to its sender only after ``receive`` has returned; if it raises, the
        rail lets the sender try again.
        """
        ...

    async def start(self) -> None:
        """Open connections and files that the rail needs. Raises Misconfigured."""
        ...

    async def stop(self) -> None:
        """Close them again; harmless if the rail was not started."""
        ...


class SendRail(Rail, Protocol):
    """A rail that takes payments: the part that every rail has.

    ``send``, like ``enquire`` and ``recall`` of the other parts, asks a batch of questions and calls ``report``
    with the answers. A question that was not reported when the call returns or raises, or when the engine's
    time-out ends it, counts as not answered.

    A call begins when its lane has room, so the engine's time-out does not run while a payment waits in the
    queue. If payments still wait inside a call, for example for a connection, the rail must report those that
    were never transmitted as undelivered before it propagates a cancellation or an error.
    """

    def prepare(self, settlement: Settlement, references: References) -> bytes:
        """Build the exact bytes of an attempt. Pure: the same input gives the same bytes.

        ``settlement.instruction`` has the payment details, and the delivery: BOOK pays us at the rail's settlement
        agent, PAY_OUT pays TO, or TO's customer.
        """
        ...

    def read(self, payload: bytes) -> PaymentTerms | None:
        """Parse the bytes of an attempt; None when they cannot be read. Pure."""
        ...

    async def send(self, questions: Sequence[Question], report: Report) -> None:
        """Send the bytes; answers acknowledged, settled, rejected or undelivered."""
        ...


@runtime_checkable
class DetailsRail(Protocol):
    """The part of a rail that cannot carry all payment details: other characters, accounts or charge bearers."""

    def fault_of(self, instruction: Instruction) -> str:
        """Say what it cannot carry of a payment, with its field; empty when it can carry everything. Pure."""
        ...


@runtime_checkable
class CorrespondentsRail(Protocol):
    """The part of a rail whose orders may name a correspondent between the bank that pays and the one that is paid."""

    def know_correspondents(self, route: Callable[[str, str], CorrespondentRoute | None]) -> None:
        """Set the look-up of the correspondent through which a bank is paid, by bank and currency.

        It answers from memory, with None where there is none.
        """
        ...


@runtime_checkable
class OurAccountsRail(Protocol):
    """The part of a rail whose messages name our account with the bank that pays."""

    def know_accounts(self, our_account: Callable[[str, str], str]) -> None:
        """Set the look-up of our account by bank and currency, for banks whose configuration leaves it out.

        It answers from memory, with an empty text where there is none.
        """
        ...


@runtime_checkable
class EnquiryRail(Protocol):
    """The part of a rail whose bank answers enquiries. Without it a missing response stays missing."""

    async def enquire(self, questions: Sequence[Question], report: Report) -> None:
        """Enquire by our references; answers acknowledged, settled, rejected or not found."""
        ...


@runtime_checkable
class RecallRail(Protocol):
    """The part of a rail whose bank takes recalls. Without it a sent payment is never recalled."""

    async def recall(self, questions: Sequence[Question], report: Report) -> None:
        """Request payments back; answers recalled, recall refused, settled, rejected, acknowledged."""
        ...


class BankPayment(msgspec.Struct, frozen=True, kw_only=True):
    """A payment of ours as the bank's own records have it.

    ``event`` is what the bank would answer to an enquiry now; ``facts`` are its details for a person.
    """

    reference: str
    event: Event
    received_at: datetime
    facts: Mapping[str, str]


class BankPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of our payments at a bank. ``after`` is the key of the next page; empty on the last one."""

    payments: Sequence[BankPayment]
    after: str = ""


@runtime_checkable
class PaymentLister(Protocol):
    """The part of a rail whose bank lists the payments that it has received from us."""

    async def payments_since(self, since: datetime, after: str = "") -> BankPage:
        """Return a page of the payments that the bank has received from us since then, oldest first."""
        ...


class StatementQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """One statement: of our account at a bank, by the number that the bank knows, for one day."""

    bank: str
    account_number: str
    currency: str
    day: date


class StatementAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A bank's answer: the bytes of a statement file, unchanged, or why there are none.

    ``was_reached`` says whether the bank has answered. The bytes are parsed and checked elsewhere.
    """

    content: bytes = b""
    reason: str = ""
    was_reached: bool = True


@runtime_checkable
class StatementSource(Protocol):
    """The part of a rail whose bank gives out account statements over it."""

    def gives_statements(self, bank: str, currency: str) -> bool:
        """Say whether this rail reaches the bank that keeps our account."""
        ...

    async def statement(self, question: StatementQuestion) -> StatementAnswer:
        """Ask the bank for a statement. It may be asked again: nothing changes at the bank."""
        ...


class BalanceQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """The booked balance of our account at a bank, by the number that the bank knows, as it is now."""

    bank: str
    account_number: str
    currency: str


class BalanceAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A booked balance in minor units, positive if the bank owes us, and its time; or why there is none."""

    minor: int | None = None
    as_of: datetime | None = None
    reason: str = ""


@runtime_checkable
class BalanceSource(Protocol):
    """The part of a rail whose bank states the balance of an account over it (``get_account_balance``)."""

    def gives_balances(self, bank: str, currency: str) -> bool:
        """Say whether this rail reaches the bank that keeps our account, and the bank states balances."""
        ...

    async def balance(self, question: BalanceQuestion) -> BalanceAnswer:
        """Ask the bank for a balance. It may be asked again: nothing changes at the bank."""
        ...


class Screening(Protocol):
    """Compliance and risk. Answers are CLEARED, PARKED or REFUSED with a refusal; else it is asked again."""

    async def screen(self, settlements: Sequence[Settlement], report: Report) -> None:
        """Screen a batch and report the answers."""
        ...
