"""Everything that is kept about one settlement, in shapes that can be written down and read back.

A dossier is a copy made in one snapshot: what explains the history to a person (``explanation.py``) and what
is exported as evidence (``evidence.py``) both stand on it and on nothing else. It holds facts only; it
must never hold a secret, and nothing in it is computed but the names of announcements.
"""

from __future__ import annotations

from datetime import date, datetime  # noqa: TC003 - msgspec reads the types
from typing import Annotated, Final
from uuid import UUID  # noqa: TC003 - as above

import msgspec

from settlement_engine.domain.kept_messages import MessageDirection  # noqa: TC001 - as above
from settlement_engine.domain.ledger import AccountKind  # noqa: TC001 - as above
from settlement_engine.domain.lifecycle import Event, State  # noqa: TC001 - as above
from settlement_engine.domain.money import EXPONENT_MAX, MoneyError, exponent
from settlement_engine.domain.payment import Delivery, PaymentDetails
from settlement_engine.domain.settlement import Attestation  # noqa: TC001 - as above

ANSWERS_MAX: Final = 5_000
"""No more different answers that changed nothing are copied: the latest ones, beside the count of all."""

EXCEPTIONS_MAX: Final = 1_000
"""No more of these are copied of one settlement."""

PROPOSALS_MAX: Final = 8
"""At most this many proposals are copied, because each has a file beside it: the approved ones first,
then the latest ones. The total number is recorded."""


MESSAGES_MAX: Final = 500
"""No more messages are listed: the latest ones, beside the count of all that were looked at."""

MESSAGE_FILES_MAX: Final = 100
MESSAGE_FILES_BYTES_MAX: Final = 4 * 1024 * 1024
"""No more messages, and no more bytes of them, are copied: the latest ones. The others are listed with their hash."""


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all parts have in common: nothing changes them, and nothing that is unknown is in them."""


class InstructionRecord(Record, frozen=True, kw_only=True, omit_defaults=True):
    """What the caller asked for. ``content_sha256`` is the fingerprint by which a replay is recognised.

    ``exponent`` is how many decimals the currency has in the book; older versions did not write it, and knew
    neither ``payment``, ``rail`` nor ``delivery``, which are what the caller asked for.
    """

    caller: str
    idempotency_key: str
    obligation_id: str
    from_bank: str
    to_bank: str
    amount: str
    amount_minor: int
    currency: str
    value_date: date | None
    priority: int
    metadata: dict[str, str]
    content_sha256: str
    exponent: Annotated[int, msgspec.Meta(ge=0, le=EXPONENT_MAX)] | None = None
    payment: PaymentDetails | None = None
    rail: str = ""
    delivery: Delivery | None = None


class StandingRecord(Record, frozen=True, kw_only=True):
    """Where the settlement stood. ``owner`` is the engine that had its question open; 0 is nobody.

    ``proposals`` is how often people proposed how it ended, whether that is copied or not.
    """

    settlement_id: UUID
    state: State
    seq: int
    created_at: datetime
    ended_at: datetime | None
    value_date: date
    owner: int
    proposals: int
    asked: int
    next_action_at: datetime | None
    refusal_code: str
    refusal_detail: dict[str, str]
    rail_reference: str
    confirmation: str
    attestation: Attestation
    is_frozen: bool


class MoveRecord(Record, frozen=True, kw_only=True):
    """One recorded change of state, and the name under which it was announced."""

    position: int
    seq: int
    from_state: State
    event: Event
    to_state: State
    at: datetime
    detail: dict[str, str]
    event_id: str
    event_type: str


class AnswerRecord(Record, frozen=True, kw_only=True):
    """An answer that changed no state, and how many ``times`` it came between two moves.

    ``at`` is the first time and ``last_at`` the last one; None, as older versions wrote it, is the same.
    ``asked`` counts the enquiries without a response up to the last one.
    """

    at: datetime
    state: State
    event: Event
    attempt: int
    asked: int
    times: int = 1
    last_at: datetime | None = None


class AnswersRecord(Record, frozen=True, kw_only=True):
    """The latest of them, in the order in which they first came, and how often any came in all."""

    total: int
    latest: tuple[AnswerRecord, ...]


class AttemptRecord(Record, frozen=True, kw_only=True, omit_defaults=True):
    """One payment at the rail; its exact bytes are kept beside it. Only a payment in a file has a trace.

    Older versions wrote no ``delivery``.
    """

    number: int
    rail: str
    source_id: int
    agent_id: int
    clearing_id: int
    target_id: int
    uetr: UUID
    end_to_end_id: str
    message_id: str
    payload_sha256: str
    payload_bytes: int
    recorded_at: datetime
    valid_until: datetime
    sends: int
    undelivered: int
    trace: str = ""
    delivery: Delivery = Delivery.BOOK


class MessageRecord(Record, frozen=True, kw_only=True):
    """A message between us and a bank, oldest first.

    ``file`` is the name of the file with its bytes; empty if it was not copied. ``response_status`` is the HTTP
    status of a response, else 0.
    """

    direction: MessageDirection
    attempt: int
    rail: str
    type: str
    message_id: str
    response_status: int
    at: datetime
    sha256: str
    bytes: int
    file: str


class MessagesRecord(Record, frozen=True, kw_only=True):
    """The latest messages, oldest first. ``is_whole``: these are all."""

    is_whole: bool = True
    latest: tuple[MessageRecord, ...] = ()


NO_MESSAGES: Final = MessagesRecord()


class HoldRecord(Record, frozen=True, kw_only=True):
    """Money held on an account for this settlement. ``outcome`` is empty while the hold stands."""

    account_id: int
    amount_minor: int
    currency: str
    locked_at: datetime
    resolved_at: datetime | None
    outcome: str


class TransferRecord(Record, frozen=True, kw_only=True):
    """One movement between two accounts. Older versions wrote no ``posting``: there was one."""

    leg: int
    debit_id: int
    credit_id: int
    amount_minor: int
    currency: str
    reference: str
    at: datetime
    posting: int = 1


class AccountRecord(Record, frozen=True, kw_only=True):
    """Whose account it is. Balances are not part of one settlement."""

    id: int
    kind: AccountKind
    bank: str
    currency: str
    account_number: str


class ExceptionRecord(Record, frozen=True, kw_only=True):
    """An exception that needs a person. ``detail`` is what was recorded with it."""

    id: int
    kind: str
    detail: dict[str, str]
    opened_at: datetime
    acknowledged_at: datetime | None
    acknowledged_by: str
    closed_at: datetime | None
    closed_by: str
    close_reason: str


class ProposalRecord(Record, frozen=True, kw_only=True):
    """What one person attested and what another decided; the evidence's bytes are kept beside it."""

    id: int
    finding: str
    reason: str
    evidence_name: str
    evidence_bytes: int
    evidence_sha256: str
    content_sha256: str
    proposed_by: str
    proposed_at: datetime
    expires_at: datetime
    decision: str
    decided_by: str
    decided_at: datetime | None
    finished_at: datetime | None
    ending: str


def payload_file(attempt: int) -> str:
    """Name the file with the bytes of an attempt."""
    return f"payload-{attempt}.bin"


def message_file(number: int) -> str:
    """Name the file with the bytes of a message."""
    return f"message-{number}.bin"


class Dossier(Record, frozen=True, kw_only=True):
    """The whole of it, as it was at ``taken_at`` by the database's clock.

    ``payloads`` are the bytes of attempts by number, ``papers`` those of proposals' evidence by id, and
    ``contents`` those of messages by their number in the list, from 1. Older versions wrote no messages.
    """

    taken_at: datetime
    instruction: InstructionRecord
    standing: StandingRecord
    moves: tuple[MoveRecord, ...]
    answers: AnswersRecord
    attempts: tuple[AttemptRecord, ...]
    payloads: dict[int, bytes]
    hold: HoldRecord | None
    transfers: tuple[TransferRecord, ...]
    accounts: tuple[AccountRecord, ...]
    exceptions: tuple[ExceptionRecord, ...]
    proposals: tuple[ProposalRecord, ...]
    papers: dict[int, bytes]
    messages: MessagesRecord = NO_MESSAGES
    contents: dict[int, bytes] = msgspec.field(default_factory=dict)


def decimals_of(instruction: InstructionRecord) -> int:
    """Return how many decimals the amounts of a dossier have, as they are booked.

    A package of before that was written down may be of a currency that is none any more: then there is
    only the text of the amount to go by.
    """
    if instruction.exponent is not None:
        return instruction.exponent
    try:
        return exponent(instruction.currency)
    except MoneyError:
        return len(instruction.amount.partition(".")[2])
