"""All records of one settlement, as values that can be written to files and read back.

A dossier is a copy made in one database snapshot. The explanation for people (``explanation.py``) and the
exported evidence (``bundle.py``) are made from it alone. It contains records only; it must never contain a
secret, and nothing in it is computed except the ids of announcements.
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
from settlement_engine.domain.recalls import RecallState  # noqa: TC001 - as above
from settlement_engine.domain.settlement import Attestation  # noqa: TC001 - as above

ANSWERS_MAX: Final = 5_000
"""The most answers without a change of state that are copied: the latest ones. All are counted."""

EXCEPTIONS_MAX: Final = 1_000
"""The most exceptions of one settlement that are copied."""

PROPOSALS_MAX: Final = 8
"""The most proposals that are copied, because each comes with a file: the approved ones first, then the
latest ones. The total number is recorded."""


MESSAGES_MAX: Final = 500
"""The most messages that are listed: the latest ones."""

MESSAGE_FILES_MAX: Final = 100
MESSAGE_FILES_BYTES_MAX: Final = 4 * 1024 * 1024
"""The most messages, and bytes of messages, that are copied: the latest ones. Others are listed with their hash."""


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base of all records: they are immutable, and unknown fields are refused."""


class InstructionRecord(Record, frozen=True, kw_only=True, omit_defaults=True):
    """The instruction of the caller. ``content_sha256`` is the hash by which a replay is recognised.

    ``exponent`` is the number of decimals with which the currency is booked. Older versions did not write it,
    and knew neither ``payment``, ``rail``, ``delivery`` nor ``compensates``, which the caller may give.
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
    compensates: UUID | None = None


class StandingRecord(Record, frozen=True, kw_only=True):
    """The state of the settlement. ``owner`` is the id of the engine that processes it; 0 if none does.

    ``proposals`` is the number of all proposals, copied or not.
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
    """One recorded change of state, with the id of its announcement."""

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
    """An answer that changed no state, and how many ``times`` it was received between two moves.

    ``at`` is the first time and ``last_at`` the last one; None, as older versions wrote it, means ``at``.
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
    """The latest answers, in the order of their first receipt, and how many were received in total."""

    total: int
    latest: tuple[AnswerRecord, ...]


class AttemptRecord(Record, frozen=True, kw_only=True, omit_defaults=True):
    """One payment at the rail; its exact bytes are in ``Dossier.payloads``. Only a payment in a file has a trace.

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
    """Money held on an account for this settlement. ``outcome`` is empty while the hold is open."""

    account_id: int
    amount_minor: int
    currency: str
    locked_at: datetime
    resolved_at: datetime | None
    outcome: str


class TransferRecord(Record, frozen=True, kw_only=True):
    """One movement between two accounts. Older versions wrote no ``posting``: a settlement had only one."""

    leg: int
    debit_id: int
    credit_id: int
    amount_minor: int
    currency: str
    reference: str
    at: datetime
    posting: int = 1


class AccountRecord(Record, frozen=True, kw_only=True):
    """An account that the settlement uses. Balances are not included: they depend on other settlements."""

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
    """What one person attested and what another decided; the evidence's bytes are in ``Dossier.papers``."""

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


class RecallStepRecord(Record, frozen=True, kw_only=True):
    """One step of a recall after completion. ``event`` is null for the request itself."""

    seq: int
    event: Event | None
    state: RecallState
    at: datetime
    detail: dict[str, str]


class CompensatedRecord(Record, frozen=True, kw_only=True):
    """The settlement that this one compensates, as far as it never changes."""

    settlement_id: UUID
    from_bank: str
    to_bank: str
    amount_minor: int
    currency: str
    completed_at: datetime


class CompensationRecord(Record, frozen=True, kw_only=True):
    """A settlement that compensates this one. ``returned_minor`` has come back of it, in minor units."""

    settlement_id: UUID
    state: State
    amount_minor: int
    returned_minor: int


class CompensationsRecord(Record, frozen=True, kw_only=True):
    """The links between a settlement and its compensations, oldest first. Most settlements have none."""

    compensated: CompensatedRecord | None = None
    made: tuple[CompensationRecord, ...] = ()


NO_COMPENSATIONS: Final = CompensationsRecord()


ENTRIES_MAX: Final = 100
"""The most entries of statements that are copied: the latest ones."""


class EntryRecord(Record, frozen=True, kw_only=True):
    """An entry of a bank's statement about this settlement, or (``detail`` > 0) one of the payments inside it.

    ``amount_minor`` is the entry's, signed; ``told_minor`` is what it says of this payment, without a sign.
    ``closed_by`` is the rule of matching that closes a debit's difference from what was sent. Older versions did not
    write it.
    ``references`` and ``text`` are those of the entry and the payment. The hashes are those of the statement's
    content and of its file, which `settlement-engine statements export` writes.
    """

    statement: int
    entry: int
    detail: int
    says: str
    told_minor: int
    account_id: int
    bank_statement_id: str
    source: str
    content_sha256: str
    file_sha256: str
    booking_date: date | None
    amount_minor: int
    currency: str
    status: str
    is_reversal: bool
    references: tuple[str, ...]
    text: str
    closed_by: str = ""


def payload_file(attempt: int) -> str:
    """Name the file with the bytes of an attempt."""
    return f"payload-{attempt}.bin"


def message_file(number: int) -> str:
    """Name the file with the bytes of a message."""
    return f"message-{number}.bin"


class Dossier(Record, frozen=True, kw_only=True):
    """All records of a settlement, as they were at ``taken_at`` by the database's clock.

    ``payloads`` are the bytes of attempts by number, ``papers`` those of proposals' evidence by id, and
    ``contents`` those of messages by their number in the list, from 1. ``recall`` are the steps of a recall after
    completion, oldest first, ``entries`` what statements say of it. Older versions wrote no messages, no recall, no
    compensations and no entries.
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
    recall: tuple[RecallStepRecord, ...] = ()
    compensations: CompensationsRecord = NO_COMPENSATIONS
    entries: tuple[EntryRecord, ...] = ()


def decimals_of(instruction: InstructionRecord) -> int:
    """Return how many decimals the amounts of a dossier have, as they are booked.

    Evidence of older versions has no exponent. If its currency has left ISO 4217 since, the number is taken
    from the text of the amount.
    """
    if instruction.exponent is not None:
        return instruction.exponent
    try:
        return exponent(instruction.currency)
    except MoneyError:
        return len(instruction.amount.partition(".")[2])
