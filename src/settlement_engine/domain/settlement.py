"""Instructions and settlements: what a caller requests, and the record of what becomes of it.

An ``Instruction`` is a validated request. A ``Settlement`` is the state of its processing, as the store keeps
it and as the engine works on it; ``Moved`` is one recorded change of that state. Promises: values only, never
changed in place. Must never: decide which event applies (``domain/decisions`` does).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.domain.identifiers import content_hash, key_hash
from settlement_engine.domain.lifecycle import ENDS, Event, State
from settlement_engine.domain.payment import Delivery, delivery_of, payment_content

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date, datetime
    from uuid import UUID

    from settlement_engine.domain.compensation import Compensation
    from settlement_engine.domain.identifiers import References
    from settlement_engine.domain.money import Money
    from settlement_engine.domain.payment import PaymentDetails
    from settlement_engine.domain.returns import Return

FIRST_ATTEMPT: Final = 1


class Priority(IntEnum):
    """How urgent the caller says it is; the numbers are those of the wire."""

    NORMAL = 0
    HIGH = 1
    URGENT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """A request to settle an obligation, as received and validated.

    ``value_date`` is None when the caller left it open: then the day of receipt counts. ``payment`` is what the
    caller said about the payment, ``rail`` the rail that it named, ``requested_delivery`` the delivery and
    ``compensates`` the settlement that it compensates; each may be left out.
    """

    caller: str
    idempotency_key: str
    obligation_id: str
    from_bank: str
    to_bank: str
    amount: Money
    value_date: date | None
    priority: Priority
    metadata: Mapping[str, str]
    payment: PaymentDetails | None = None
    rail: str = ""
    requested_delivery: Delivery | None = None
    compensates: UUID | None = None

    def content(self) -> dict[str, object]:
        """Return the fields that must be equal for a repeated call to count as a replay.

        Fields that are newer than the first version are left out where they say nothing, so that old keys replay.
        """
        content: dict[str, object] = {
            "obligation_id": self.obligation_id,
            "from_bank": self.from_bank,
            "to_bank": self.to_bank,
            "amount": self.amount.minor,
            "currency": self.amount.currency,
            "settlement_date": self.value_date.isoformat() if self.value_date else None,
            "priority": int(self.priority),
            "metadata": dict(self.metadata),
        }
        if self.payment is not None:
            content["payment"] = payment_content(self.payment)
        if self.rail:
            content["rail"] = self.rail
        if self.requested_delivery is not None:
            content["delivery"] = self.requested_delivery.value
        if self.compensates is not None:
            content["compensates"] = str(self.compensates)
        return content

    @property
    def delivery(self) -> Delivery:
        """How it is delivered: as requested, else by what the payment says; most payments say nothing."""
        if self.payment is None:
            return self.requested_delivery or Delivery.BOOK
        return delivery_of(self.requested_delivery, self.payment)

    @property
    def key_hash(self) -> UUID:
        """The 128-bit hash of caller and idempotency key; it is unique in the store."""
        return key_hash(self.caller, self.idempotency_key)

    @property
    def content_hash(self) -> bytes:
        """The hash of ``content``; a replay has the same one."""
        return content_hash(self.content())


class Attestation(StrEnum):
    """Whether two people attested the outcome, and whether the rail has disproved it since."""

    NONE = ""
    STANDS = "stands"
    DISPROVED = "disproved"


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """The rail, the four accounts and the delivery of a settlement: chosen with the hold, never changed."""

    rail: str
    source_id: int  # nostro(FROM): our account at FROM
    agent_id: int  # settlement(rail): our account at the rail's settlement agent
    clearing_id: int  # clearing(FROM): what FROM owes
    target_id: int  # vostro(TO): what we owe TO
    delivery: Delivery = (
        Delivery.BOOK
    )  # whose account moves; all were booked before there was a choice


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One payment at the rail: the bytes to send, recorded before the first transmission.

    ``sends`` counts the transmissions that were started, ``undelivered`` those that were proved never
    transmitted. The attempt may be abandoned only while both are equal. ``trace`` is the number under which a
    file carries the payment (NACHA: 15 digits), allocated before the bytes were built; other rails have none.
    """

    number: int
    route: Route
    references: References
    payload: bytes
    recorded_at: datetime
    valid_until: datetime
    sends: int = 1
    undelivered: int = 0
    trace: str = ""


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """What the store recorded when the settlement was written, to check what is read back later.

    ``intent`` holds the details of the move that held the funds for the attempt; None: no such move.
    """

    key_hash: UUID
    content_hash: bytes
    intent: Mapping[str, str] | None = None


@dataclass(slots=True, kw_only=True)
class Settlement:
    """The processing of an instruction: its state, its attempt and its owner.

    ``seq`` counts its moves. ``fencing_token`` is the fencing token of its owner: a write with an older one changes
    nothing. ``asked`` counts how often the question of the current state was asked without a new status;
    after the point of no return it is not reset until the end. ``returns`` are the returns after completion,
    ``compensations`` the settlements that compensate it, both oldest first. ``is_replay``: the call that returned
    it was a repetition. ``recorded`` is set when the settlement was read back from a store; it is None once this
    process has written the attempt itself. ``cover_due`` is the hash of the cover whose send intent this process has
    just written, until it is sent: one transmission, and only by the process that wrote it.
    """

    id: UUID
    instruction: Instruction
    state: State
    seq: int
    fencing_token: int
    created_at: datetime
    value_date: date
    ended_at: datetime | None = None
    attempt: Attempt | None = None
    asked: int = 0
    refusal_code: str = ""
    refusal_detail: Mapping[str, str] = field(default_factory=dict)
    rail_reference: str = ""
    confirmation: str = ""
    is_frozen: bool = False
    attestation: Attestation = Attestation.NONE
    next_action_at: datetime | None = None
    returns: tuple[Return, ...] = ()
    compensations: tuple[Compensation, ...] = ()
    is_replay: bool = field(default=False, compare=False)
    recorded: Recorded | None = field(default=None, compare=False)
    cover_due: str = field(default="", compare=False)

    @property
    def is_ended(self) -> bool:
        """Say whether the settlement is in a final state."""
        return self.state in ENDS


def new_settlement(settlement_id: UUID, instruction: Instruction, at: datetime) -> Settlement:
    """Return the settlement of an instruction that was stored at this instant, by the database's clock."""
    return Settlement(
        id=settlement_id,
        instruction=instruction,
        state=State.VALIDATING,
        seq=1,
        fencing_token=1,
        created_at=at,
        value_date=instruction.value_date or at.date(),
    )


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """One recorded change of state, with its position in the stream of all moves.

    Positions are gapless within a system epoch and increase over all engines; ``seq`` is gapless within the
    settlement.
    """

    position: int
    settlement_id: UUID
    seq: int
    from_state: State
    event: Event
    to_state: State
    at: datetime
    detail: Mapping[str, str]
