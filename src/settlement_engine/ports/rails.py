"""What the engine asks of rails and of screening, and what comes back.

A rail is made of parts: every one takes payments (``SendRail``), and has the parts besides that its bank
offers. ``RailCapabilities.asks`` says which; what is not offered is never asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

import msgspec

from settlement_engine.domain.decisions.resending import SendingRules
from settlement_engine.domain.lifecycle import Ask  # noqa: TC001 - msgspec reads it at run time
from settlement_engine.ports.lanes import LaneLimits

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from settlement_engine.domain.answer import Answer
    from settlement_engine.domain.backoff import Backoff
    from settlement_engine.domain.identifiers import References
    from settlement_engine.domain.intent import PaymentTerms
    from settlement_engine.domain.lifecycle import Event, State
    from settlement_engine.domain.settlement import Settlement
    from settlement_engine.ports.inbound import InboundMessage


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """One payment to send, to ask about or to recall. ``payload`` are the bytes recorded with P.

    ``is_possible_duplicate`` is set on every sending but the first.
    """

    settlement_id: UUID
    attempt: int
    references: References
    payload: bytes
    valid_until: datetime
    is_possible_duplicate: bool = False


class MessageType(msgspec.Struct, frozen=True, kw_only=True):
    """A type of message of a rail: its versions, and the question that it puts. None: the bank says it to us."""

    name: str
    versions: tuple[str, ...]
    ask: Ask | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RailCapabilities(SendingRules):
    """The rail's rules, as data: those that decisions stand on, and those of asking.

    ``answer_timeout_seconds`` is how long a question may stay open before it counts as silence.
    ``validity_seconds`` is how long an attempt's bytes may be sent. ``currencies``, ``banks`` (folded codes of
    those that take orders over it) and the amounts, in minor units by currency, say which payments it carries;
    None, or a currency left out, is no bound. ``lane`` bounds what is put to one bank at a time. ``enquiry``
    says how often is asked about a payment that is in doubt, sent or being recalled; a state that it leaves
    out follows the engine's settings. ``messages`` are the types that it writes and reads.
    """

    answer_timeout_seconds: float
    validity_seconds: float
    currencies: frozenset[str] | None = None
    banks: frozenset[str] | None = None
    amount_min_minor: Mapping[str, int] = field(default_factory=dict)
    amount_max_minor: Mapping[str, int] = field(default_factory=dict)
    lane: LaneLimits = field(default_factory=LaneLimits)
    enquiry: Mapping[State, Backoff] = field(default_factory=dict)
    messages: tuple[MessageType, ...] = ()


Receive: TypeAlias = "Callable[[Sequence[InboundMessage]], Awaitable[None]]"
"""Stores inbound messages; raises Unavailable when they could not be stored."""

Report: TypeAlias = "Callable[[Sequence[Answer]], None]"
"""Takes in answers as they become known, in any order and grouping."""


class Rail(Protocol):
    """What every rail has. It classifies answers and never decides."""

    @property
    def name(self) -> str:
        """The rail's name in records and labels."""
        ...

    @property
    def capabilities(self) -> RailCapabilities:
        """The rail's rules."""
        ...

    def listen(self, receive: Receive) -> None:
        """Name who stores what the rail delivers without being asked.

        The rail acknowledges a message to its sender only after ``receive`` has returned, and lets the
        sender try again when it has raised.
        """
        ...

    async def start(self) -> None:
        """Open what the rail needs."""
        ...

    async def stop(self) -> None:
        """Close it again; harmless where it was not started."""
        ...


class SendRail(Rail, Protocol):
    """A rail that takes payments: the one part that no rail is without.

    ``send``, like ``enquire`` and ``recall`` of the other parts, puts a batch of questions and calls ``report``
    with answers. Whatever was not reported when the call returns or raises, or when the engine stops waiting
    for it, is silence.

    A call begins when its lane has room, so that the engine's time-out does not run while a payment waits
    for its turn. A rail that makes payments wait inside a call all the same (for a connection) tells of
    those that never left: it reports them as undelivered before it lets a cancellation or an error go on.
    """

    def prepare(self, settlement: Settlement, references: References) -> bytes:
        """Build the exact bytes of an attempt. Pure: the same input gives the same bytes."""
        ...

    def read(self, payload: bytes) -> PaymentTerms | None:
        """Say what the bytes of an attempt ask the bank to do; None when they cannot be read. Pure."""
        ...

    async def send(self, questions: Sequence[Question], report: Report) -> None:
        """Deliver the bytes; answers acknowledged, settled, rejected or undelivered."""
        ...


@runtime_checkable
class EnquiryRail(Protocol):
    """The part of a rail whose bank can be asked about payments. Without it silence stays silence."""

    async def enquire(self, questions: Sequence[Question], report: Report) -> None:
        """Ask by our references; answers acknowledged, settled, rejected or not found."""
        ...


@runtime_checkable
class RecallRail(Protocol):
    """The part of a rail whose bank takes recalls. Without it nothing that was sent is recalled."""

    async def recall(self, questions: Sequence[Question], report: Report) -> None:
        """Ask for it back; answers recalled, recall refused, settled, rejected, acknowledged."""
        ...


class BankPayment(msgspec.Struct, frozen=True, kw_only=True):
    """A payment of ours as the bank's own book has it.

    ``event`` is what the bank would answer if it were asked now; ``facts`` are its words for a person.
    """

    reference: str
    event: Event
    received_at: datetime
    facts: Mapping[str, str]


class BankPage(msgspec.Struct, frozen=True, kw_only=True):
    """Part of what a bank has of ours. ``after`` asks for the next part; empty means that this was all."""

    payments: Sequence[BankPayment]
    after: str = ""


@runtime_checkable
class PaymentLister(Protocol):
    """The part of a rail whose bank gives lists: it says what it has of ours, asked for or not."""

    async def payments_since(self, since: datetime, after: str = "") -> BankPage:
        """Return a page of what the bank has received of us since then, oldest first."""
        ...


class StatementFile(msgspec.Struct, frozen=True, kw_only=True):
    """A statement as the bank gave it, under the bank's own name of it. It is read and judged elsewhere."""

    name: str
    content: bytes
    received_at: datetime


class StatementPage(msgspec.Struct, frozen=True, kw_only=True):
    """Part of the statements that a bank gives. ``after`` asks for the next part; empty: that was all."""

    statements: Sequence[StatementFile]
    after: str = ""


@runtime_checkable
class StatementSource(Protocol):
    """The part of a rail whose bank gives account statements over it."""

    async def statements_since(self, since: datetime, after: str = "") -> StatementPage:
        """Return statements that the bank has made available since then, oldest first, as they are."""
        ...


class Screening(Protocol):
    """Compliance and risk. Answers are CLEARED, PARKED or REFUSED with a refusal; silence is asked again."""

    async def screen(self, settlements: Sequence[Settlement], report: Report) -> None:
        """Ask about a batch."""
        ...
