"""Inbound messages: what banks send unasked is stored before it is acknowledged.

A rail verifies and parses a message, passes on its bytes and its reports, and acknowledges it to the sender only
after ``receive`` has returned. Then the message survives the end of any process. The engine that owns the payment
processes the reports in the order of receipt. Must never: drop a stored report.
"""

from __future__ import annotations

from enum import StrEnum, auto
from typing import TYPE_CHECKING, Protocol
from uuid import UUID  # noqa: TC003 - msgspec resolves the field types of its structs at run time

import msgspec

from settlement_engine.domain.lifecycle import Event  # noqa: TC001 - the same
from settlement_engine.domain.returns import NOT_STATED, StatedAmount
from settlement_engine.domain.statement_evidence import EntryEvidence  # noqa: TC001 - the same

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

CONTENT_BYTES_MAX = 1_048_576
"""The largest message in bytes; a larger one is refused to its sender."""

REPORTS_MAX = 10_000
"""The most payments that one message reports on."""


class MessageSource(StrEnum):
    """How a message came in."""

    CALLBACK = auto()  # the sender called us
    INBOX = auto()  # a file was picked up
    PUSHED = auto()  # received over a connection that we opened
    STATEMENT = (
        auto()
    )  # entries of a bank's statement, handed over by ``engine/statement_evidence.py``


class PaymentReferences(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The references by which a bank may identify a payment; an empty one was not given.

    ``transaction_id`` is our end-to-end id where the caller's stands in its place. ``instruction_id`` is the id of
    the settlement, in 32 hexadecimal digits. ``trace`` is that of the attempt (``domain.settlement.Attempt``).
    ``rail_reference`` is the rail's own: it is looked up only if no other of the payment's was given, among those
    that the rail has stated so far. If the references belong to different payments, the report identifies none.
    """

    uetr: UUID | None = None
    end_to_end_id: str = ""
    message_id: str = ""
    transaction_id: str = ""
    instruction_id: str = ""
    trace: str = ""
    rail_reference: str = ""


class StatusReport(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The status of one payment in a message: an event of the state machine, with the sender's code and text."""

    event: Event
    references: PaymentReferences
    code: str = ""
    text: str = ""
    confirmation: str = ""
    stated: StatedAmount = NOT_STATED
    promises_return: bool = False
    entry: EntryEvidence | None = None  # the entry of a bank's statement that says it


class InboundMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A verified message, unchanged. The same content from the same sender on the same rail is the same message.

    ``sender`` is the rail's name for the bank. ``scope`` are the payments that it may report on
    (``domain/payment_scope.py``); empty means all of the rail. A call-back that names any other payment of ours is
    refused; in a message that was fetched, such a report is one on an unknown payment.
    """

    rail: str
    source: MessageSource
    content: bytes
    reports: tuple[StatusReport, ...]
    sender_reference: str = ""
    scope: frozenset[str] = frozenset()
    sender: str = ""


class Receipt(StrEnum):
    """What became of a message that was received."""

    STORED = auto()
    REPEATED = auto()  # it was stored before: nothing changed
    REFUSED = auto()  # a call-back that names a payment of another rail or bank: nothing was stored


class OpenReport(msgspec.Struct, frozen=True, kw_only=True):
    """A report that is still to be processed. Without ``settlement_id`` no payment of ours was found.

    ``is_known``: it says again that a cover was refused, which is recorded. ``is_of_earlier_cover``: it says that a
    cover was paid after all, which was refused and repaired.
    """

    id: int
    rail: str
    report: StatusReport
    received_at: datetime
    settlement_id: UUID | None = None
    attempt: int = 0
    is_known: bool = False
    is_of_earlier_cover: bool = False


class ReportOutcome(StrEnum):
    """The result of processing a report."""

    APPLIED = auto()  # it led to a transition
    NO_NEWS = auto()  # it repeats what is known, or has no meaning in this state
    NOT_HEARD = auto()  # it is valid only as the response to a question
    UNKNOWN_PAYMENT = auto()  # no payment of ours: a case for a person


class ReportClosing(msgspec.Struct, frozen=True, kw_only=True):
    """A processed report with its result."""

    report_id: int
    outcome: ReportOutcome


class InboundStore(Protocol):
    """Keeps inbound messages. Every call is one transaction, durable when it returns.

    Raises Unavailable when the database is out of reach; the same call may be made again.
    """

    async def record(self, messages: Sequence[InboundMessage]) -> list[Receipt]:
        """Store messages with their reports, each completely or not at all.

        A call-back is refused if one of its reports names payments of ours by our own references, and none of them
        is in its sender's scope on its rail. The rail's own references are no reason: two banks may use the same.
        """
        ...

    async def open_reports(
        self, engine_id: int, limit: int, in_flight: Sequence[int] = ()
    ) -> list[OpenReport]:
        """Return, oldest first, open reports that the engine ``engine_id`` may process.

        They are about payments that it owns, that no engine owns, that have ended, or that are unknown.
        """
        ...

    async def close_reports(self, closings: Sequence[ReportClosing]) -> None:
        """Close reports; an unknown payment becomes one case for a person. Closed reports stay closed."""
        ...

    async def open_count(self) -> tuple[int, Mapping[str, int]]:
        """Count the open reports: in total, and by rail."""
        ...
