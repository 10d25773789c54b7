"""The nouns: what a caller asks for, and what becomes of it.

``Instruction`` is a validated wish. ``Settlement`` is its life in our house, as the store keeps it and
as the engine carries it. Data changes shape four times only: wire, instruction, settlement, row.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.domain.identifiers import content_hash, key_hash
from settlement_engine.domain.lifecycle import ENDS, Event, State

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date, datetime
    from uuid import UUID

    from settlement_engine.domain.identifiers import References
    from settlement_engine.domain.money import Money
    from settlement_engine.domain.returns import Return

FIRST_ATTEMPT: Final = 1


class Priority(IntEnum):
    """How urgent the caller says it is; the numbers are those of the wire."""

    NORMAL = 0
    HIGH = 1
    URGENT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """A request to settle an obligation, as received and found well formed.

    ``value_date`` is None when the caller left it open: then the day of receipt counts.
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

    def content(self) -> dict[str, object]:
        """Name what must be equal for a replay to be a replay."""
        return {
            "obligation_id": self.obligation_id,
            "from_bank": self.from_bank,
            "to_bank": self.to_bank,
            "amount": self.amount.minor,
            "currency": self.amount.currency,
            "settlement_date": self.value_date.isoformat() if self.value_date else None,
            "priority": int(self.priority),
            "metadata": dict(self.metadata),
        }

    @property
    def key_hash(self) -> UUID:
        """The 128 bits under which the caller's key is unique."""
        return key_hash(self.caller, self.idempotency_key)

    @property
    def content_hash(self) -> bytes:
        """The fingerprint of ``content``."""
        return content_hash(self.content())


class Attestation(StrEnum):
    """Whether an end stands on the word of two people, and whether the rail has proved them wrong."""

    NONE = ""
    STANDS = "stands"
    DISPROVED = "disproved"


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """The four accounts of a settlement and its rail, chosen with the lock and kept for ever."""

    rail: str
    source_id: int  # nostro(FROM): our money at FROM
    agent_id: int  # settlement(rail): our account at the rail's settlement agent
    clearing_id: int  # clearing(FROM): what FROM owes
    target_id: int  # vostro(TO): what we owe TO


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One payment at the rail: what was to be sent, recorded before the first byte leaves.

    ``sends`` counts how often the question was put, ``undelivered`` how often it was proved that not a
    byte left. Only while both are equal may the attempt be abandoned.
    """

    number: int
    route: Route
    references: References
    payload: bytes
    recorded_at: datetime
    valid_until: datetime
    sends: int = 1
    undelivered: int = 0


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """What the store has kept of a settlement for checking what is read back with it.

    ``intent`` are the details of the move that locked funds for the attempt; None: there is no such move.
    """

    key_hash: UUID
    content_hash: bytes
    intent: Mapping[str, str] | None = None


@dataclass(slots=True, kw_only=True)
class Settlement:
    """The life of an instruction.

    ``seq`` counts its moves, ``epoch`` fences its owners: a write under an older epoch changes nothing.
    ``asked`` counts how often the present state's question has been put without bringing news; beyond the
    line P it goes on counting from state to state, until the end. ``returns`` are what has come back of it
    after completion, oldest first. ``recorded`` is set on what was read back
    from a store, and None once this process has written the attempt and holds it in memory.
    """

    id: UUID
    instruction: Instruction
    state: State
    seq: int
    epoch: int
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
    recorded: Recorded | None = field(default=None, compare=False)

    @property
    def is_ended(self) -> bool:
        """Say whether nothing more is owed to the caller."""
        return self.state in ENDS


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """One recorded change of state, with its place in the stream of everything that happened.

    ``position`` is gapless over the whole engine and grows with time; ``seq`` is gapless within the
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
