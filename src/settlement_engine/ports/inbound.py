"""What rails deliver without being asked, stored before it is acknowledged.

A rail verifies and reads a message, hands it over as it came together with what it says, and acknowledges
it to its sender only after ``receive`` has returned. From then on the message outlives any process: each
of its reports is worked off, in the order of receipt, by the engine that owns the payment.
"""

from __future__ import annotations

from enum import StrEnum, auto
from typing import TYPE_CHECKING, Protocol
from uuid import UUID  # noqa: TC003 - msgspec resolves the field types of its structs at run time

import msgspec

from settlement_engine.domain.lifecycle import Event  # noqa: TC001 - the same
from settlement_engine.domain.returns import NOT_STATED, StatedAmount

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

CONTENT_BYTES_MAX = 1_048_576
"""A larger message is refused to its sender."""

REPORTS_MAX = 10_000
"""One message speaks of at most so many payments."""


class MessageSource(StrEnum):
    """How a message came in."""

    CALLBACK = auto()  # the sender called us
    INBOX = auto()  # a file was picked up
    PUSHED = auto()  # over a connection of ours


class PaymentReferences(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The names by which a bank may speak of a payment; an empty one was not given.

    ``rail_reference`` is the rail's own. Names of different payments in one report identify none.
    """

    uetr: UUID | None = None
    end_to_end_id: str = ""
    message_id: str = ""
    rail_reference: str = ""


class StatusReport(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one message says of one payment, in the engine's events and the sender's words."""

    event: Event
    references: PaymentReferences
    code: str = ""
    text: str = ""
    confirmation: str = ""
    stated: StatedAmount = NOT_STATED


class InboundMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A verified message as it came. The same content on the same rail is the same message."""

    rail: str
    source: MessageSource
    content: bytes
    reports: tuple[StatusReport, ...]
    sender_reference: str = ""


class OpenReport(msgspec.Struct, frozen=True, kw_only=True):
    """A report that is still to be worked off. Without ``settlement_id`` no payment of ours was found."""

    id: int
    rail: str
    report: StatusReport
    received_at: datetime
    settlement_id: UUID | None = None
    attempt: int = 0


class ReportOutcome(StrEnum):
    """What became of a report."""

    APPLIED = auto()  # it led to a transition
    NO_NEWS = auto()  # it repeats what is known, or means nothing in this state
    NOT_HEARD = auto()  # it means something only as the answer to a question
    UNKNOWN_PAYMENT = auto()  # no payment of ours: a case for a person


class ReportClosing(msgspec.Struct, frozen=True, kw_only=True):
    """How a report ended."""

    report_id: int
    outcome: ReportOutcome


class InboundStore(Protocol):
    """Keeps inbound messages. Every call is one transaction, durable when it returns.

    Raises Unavailable when the database is out of reach; the same call may be made again.
    """

    async def record(self, messages: Sequence[InboundMessage]) -> list[bool]:
        """Store messages with their reports; False for each that was stored before."""
        ...

    async def open_reports(
        self, owner: int, limit: int, in_flight: Sequence[int] = ()
    ) -> list[OpenReport]:
        """Return, oldest first, open reports that ``owner`` may work off.

        Those are of payments that it owns, that nobody owns, that have ended, or that are unknown.
        """
        ...

    async def close_reports(self, closings: Sequence[ReportClosing]) -> None:
        """Close reports; an unknown payment becomes a case for a person, once. Closed ones stay so."""
        ...

    async def open_count(self) -> tuple[int, Mapping[str, int]]:
        """Count what is open: in all, and by rail."""
        ...
