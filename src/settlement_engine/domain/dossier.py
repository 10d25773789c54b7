"""Everything that is kept about one settlement, in shapes that can be written down and read back.

A dossier is a copy made in one snapshot: what explains a life to a person (``explanation.py``) and what
is exported as evidence (``evidence.py``) both stand on it and on nothing else. It holds facts only; it
must never hold a secret, and nothing in it is computed but the names of announcements.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Annotated, Final
from uuid import UUID  # noqa: TC003 - msgspec reads the types

import msgspec

from settlement_engine.domain.announcement import announcement_type, event_id
from settlement_engine.domain.ledger import AccountKind  # noqa: TC001 - as above
from settlement_engine.domain.lifecycle import Event, State  # noqa: TC001 - as above
from settlement_engine.domain.money import EXPONENT_MAX, MoneyError, exponent, format_amount
from settlement_engine.domain.settlement import Attestation  # noqa: TC001 - as above

if TYPE_CHECKING:
    from collections.abc import Iterable

    from settlement_engine.domain.exceptions import Matter, Proposal
    from settlement_engine.domain.ledger import Account, Transfer
    from settlement_engine.domain.settlement import Attempt, Moved, Settlement

ANSWERS_MAX: Final = 5_000
"""No more different answers that changed nothing are copied: the latest ones, beside the count of all."""

EXCEPTIONS_MAX: Final = 1_000
"""No more of these are copied of one settlement."""

PROPOSALS_MAX: Final = 8
"""No more of what people proposed is copied, because each has a file beside it: what was approved before
all else, then the latest ones. How many there were in all is told."""


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all parts have in common: nothing changes them, and nothing that is unknown is in them."""


class InstructionRecord(Record, frozen=True, kw_only=True):
    """What the caller asked for. ``content_sha256`` is the fingerprint that tells a replay.

    ``exponent`` is how many decimals the currency has in the book; older versions did not write it.
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
    ``asked`` counts the enquiries without news up to the last one.
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


class AttemptRecord(Record, frozen=True, kw_only=True):
    """One payment at the rail; its exact bytes are kept beside it."""

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
    """A matter for a person. ``detail`` is what was written down with it."""

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


class Dossier(Record, frozen=True, kw_only=True):
    """The whole of it, as it was at ``taken_at`` by the database's clock.

    ``payloads`` are the bytes of attempts by number, ``papers`` those of proposals' evidence by id.
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


def instant(at: datetime) -> datetime:
    """Return the instant in UTC, in which all of a dossier's are written."""
    return at.astimezone(UTC)


def instant_or_none(at: datetime | None) -> datetime | None:
    """Do the same for what may not have happened."""
    return at.astimezone(UTC) if at is not None else None


def record_instruction(settlement: Settlement) -> InstructionRecord:
    """Write down what was asked for, with the fingerprint that was kept when it was taken in."""
    wish, recorded = settlement.instruction, settlement.recorded
    content_hash = recorded.content_hash if recorded is not None else wish.content_hash
    return InstructionRecord(
        caller=wish.caller,
        idempotency_key=wish.idempotency_key,
        obligation_id=wish.obligation_id,
        from_bank=wish.from_bank,
        to_bank=wish.to_bank,
        amount=format_amount(wish.amount.minor, wish.amount.currency),
        amount_minor=wish.amount.minor,
        currency=wish.amount.currency,
        value_date=wish.value_date,
        priority=int(wish.priority),
        metadata=dict(wish.metadata),
        content_sha256=content_hash.hex(),
        exponent=exponent(wish.amount.currency),
    )


def decimals_of(wish: InstructionRecord) -> int:
    """Return how many decimals the amounts of a dossier have, as they are booked.

    A package of before that was written down may be of a currency that is none any more: then there is
    only the text of the amount to go by.
    """
    if wish.exponent is not None:
        return wish.exponent
    try:
        return exponent(wish.currency)
    except MoneyError:
        return len(wish.amount.partition(".")[2])


def record_standing(settlement: Settlement, owner: int, proposals: int) -> StandingRecord:
    """Write down where it stands."""
    due_at = settlement.next_action_at
    return StandingRecord(
        settlement_id=settlement.id,
        state=settlement.state,
        seq=settlement.seq,
        created_at=instant(settlement.created_at),
        ended_at=instant_or_none(settlement.ended_at),
        value_date=settlement.value_date,
        owner=owner,
        proposals=proposals,
        asked=settlement.asked,
        next_action_at=None if settlement.is_ended else instant_or_none(due_at),
        refusal_code=settlement.refusal_code,
        refusal_detail=dict(settlement.refusal_detail),
        rail_reference=settlement.rail_reference,
        confirmation=settlement.confirmation,
        attestation=settlement.attestation,
        is_frozen=settlement.is_frozen,
    )


def record_move(moved: Moved) -> MoveRecord:
    """Write down a move with the name of its announcement."""
    return MoveRecord(
        position=moved.position,
        seq=moved.seq,
        from_state=moved.from_state,
        event=moved.event,
        to_state=moved.to_state,
        at=instant(moved.at),
        detail=dict(moved.detail),
        event_id=event_id(moved),
        event_type=announcement_type(moved),
    )


def record_attempt(attempt: Attempt, payload_sha256: str) -> AttemptRecord:
    """Write down an attempt without its bytes."""
    route, names = attempt.route, attempt.references
    return AttemptRecord(
        number=attempt.number,
        rail=route.rail,
        source_id=route.source_id,
        agent_id=route.agent_id,
        clearing_id=route.clearing_id,
        target_id=route.target_id,
        uetr=names.uetr,
        end_to_end_id=names.end_to_end_id,
        message_id=names.message_id,
        payload_sha256=payload_sha256,
        payload_bytes=len(attempt.payload),
        recorded_at=instant(attempt.recorded_at),
        valid_until=instant(attempt.valid_until),
        sends=attempt.sends,
        undelivered=attempt.undelivered,
    )


def record_transfers(transfers: Iterable[Transfer]) -> tuple[TransferRecord, ...]:
    """Write down transfers, in the order of their postings and legs."""
    return tuple(
        TransferRecord(
            leg=transfer.leg.value,
            debit_id=transfer.debit_id,
            credit_id=transfer.credit_id,
            amount_minor=transfer.amount_minor,
            currency=transfer.currency,
            reference=transfer.reference,
            at=instant(transfer.at),
            posting=transfer.posting,
        )
        for transfer in sorted(transfers, key=lambda each: (each.posting, each.leg))
        if transfer.at is not None
    )


def record_accounts(accounts: Iterable[Account]) -> tuple[AccountRecord, ...]:
    """Write down whose the accounts are, by number."""
    return tuple(
        AccountRecord(
            id=account.id,
            kind=account.kind,
            bank=account.bank,
            currency=account.currency,
            account_number=account.account_number,
        )
        for account in sorted(accounts, key=lambda each: each.id)
    )


def account_ids(
    attempts: Iterable[Attempt], transfers: Iterable[Transfer], held_on: int | None
) -> set[int]:
    """Name every account that a dossier speaks of."""
    found = {held_on} if held_on is not None else set()
    for attempt in attempts:
        route = attempt.route
        found |= {route.source_id, route.agent_id, route.clearing_id, route.target_id}
    for transfer in transfers:
        found |= {transfer.debit_id, transfer.credit_id}
    return found


def record_exception(matter: Matter) -> ExceptionRecord:
    """Write down a matter for a person."""
    return ExceptionRecord(
        id=matter.id,
        kind=matter.kind.value,
        detail=dict(matter.detail),
        opened_at=instant(matter.opened_at),
        acknowledged_at=instant_or_none(matter.acknowledged_at),
        acknowledged_by=matter.acknowledged_by,
        closed_at=instant_or_none(matter.closed_at),
        closed_by=matter.closed_by,
        close_reason=matter.close_reason,
    )


def record_proposal(proposal: Proposal) -> ProposalRecord:
    """Write down what was proposed, and what became of it."""
    return ProposalRecord(
        id=proposal.id,
        finding=proposal.finding.value,
        reason=proposal.reason,
        evidence_name=proposal.evidence_name,
        evidence_bytes=proposal.evidence_bytes,
        evidence_sha256=proposal.evidence_sha256.hex(),
        content_sha256=proposal.content_sha256.hex(),
        proposed_by=proposal.proposed_by,
        proposed_at=instant(proposal.proposed_at),
        expires_at=instant(proposal.expires_at),
        decision=proposal.decision.value,
        decided_by=proposal.decided_by,
        decided_at=instant_or_none(proposal.decided_at),
        finished_at=instant_or_none(proposal.finished_at),
        ending=proposal.ending.value,
    )
