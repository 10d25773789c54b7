"""Makes the records of a dossier from the engine's values.

Every field is copied as it is stored; nothing is computed except the ids of announcements.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from settlement_engine.domain.announcement import announcement_type, event_id
from settlement_engine.domain.money import exponent, format_amount
from settlement_engine.evidence.dossier import (
    AccountRecord,
    AttemptRecord,
    CompensatedRecord,
    CompensationRecord,
    CompensationsRecord,
    ExceptionRecord,
    InstructionRecord,
    MessageRecord,
    MessagesRecord,
    MoveRecord,
    ProposalRecord,
    RecallStepRecord,
    StandingRecord,
    TransferRecord,
    message_file,
    payload_file,
)
from settlement_engine.messages.naming import MessageName, name_of

ENTRY_TEXT_CHARACTERS_MAX: Final = 2_000
"""The most characters of an entry's text that are copied."""

if TYPE_CHECKING:
    from collections.abc import Iterable

    from settlement_engine.domain.exceptions import ExceptionCase
    from settlement_engine.domain.kept_messages import MessageDirection
    from settlement_engine.domain.ledger import Account, Transfer
    from settlement_engine.domain.proposals import Proposal
    from settlement_engine.domain.recalls import RecallRequest
    from settlement_engine.domain.settlement import Attempt, Moved, Settlement
    from settlement_engine.domain.statements import StatementReferences


def instant(at: datetime) -> datetime:
    """Return the time in UTC, as all times of a dossier are written."""
    return at.astimezone(UTC)


def instant_or_none(at: datetime | None) -> datetime | None:
    """Return the time in UTC, or None."""
    return at.astimezone(UTC) if at is not None else None


def record_instruction(settlement: Settlement) -> InstructionRecord:
    """Record the instruction, with the content hash that was stored when it was accepted."""
    instruction, recorded = settlement.instruction, settlement.recorded
    content_hash = recorded.content_hash if recorded is not None else instruction.content_hash
    return InstructionRecord(
        caller=instruction.caller,
        idempotency_key=instruction.idempotency_key,
        obligation_id=instruction.obligation_id,
        from_bank=instruction.from_bank,
        to_bank=instruction.to_bank,
        amount=format_amount(instruction.amount.minor, instruction.amount.currency),
        amount_minor=instruction.amount.minor,
        currency=instruction.amount.currency,
        value_date=instruction.value_date,
        priority=int(instruction.priority),
        metadata=dict(instruction.metadata),
        content_sha256=content_hash.hex(),
        exponent=exponent(instruction.amount.currency),
        payment=instruction.payment,
        rail=instruction.rail,
        delivery=instruction.requested_delivery,
        compensates=instruction.compensates,
    )


def record_standing(settlement: Settlement, owner: int, proposals: int) -> StandingRecord:
    """Record the present state."""
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


def record_compensations(
    settlement: Settlement, compensated: Settlement | None
) -> CompensationsRecord:
    """Record what a settlement compensates, and what compensates it."""
    return CompensationsRecord(
        compensated=_record_compensated(compensated) if compensated is not None else None,
        made=tuple(
            CompensationRecord(
                settlement_id=each.settlement_id,
                state=each.state,
                amount_minor=each.amount_minor,
                returned_minor=each.returned_minor,
            )
            for each in settlement.compensations
        ),
    )


def _record_compensated(settlement: Settlement) -> CompensatedRecord:
    instruction = settlement.instruction
    assert settlement.ended_at is not None, "what is compensated has completed"
    return CompensatedRecord(
        settlement_id=settlement.id,
        from_bank=instruction.from_bank,
        to_bank=instruction.to_bank,
        amount_minor=instruction.amount.minor,
        currency=instruction.amount.currency,
        completed_at=instant(settlement.ended_at),
    )


def record_move(moved: Moved) -> MoveRecord:
    """Record a move with the id of its announcement."""
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
    """Record an attempt without its bytes."""
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
        trace=attempt.trace,
        delivery=route.delivery,
    )


class CopiedMessage(NamedTuple):
    """A message as the store has it. ``type`` None: it is not parsed yet; ``content`` None: it was not copied."""

    direction: MessageDirection
    attempt: int
    rail: str
    type: str | None
    message_id: str
    response_status: int
    sha256: bytes
    at: datetime
    size_bytes: int
    content: bytes | None


def record_messages(
    copied: Iterable[CopiedMessage], attempts: Iterable[Attempt], *, is_whole: bool
) -> tuple[MessagesRecord, dict[int, bytes]]:
    """Record messages, oldest first, and return the bytes of those that are not an attempt's.

    Transmissions of a rail that does not use messages are left out.
    """
    payloads = {attempt.number: attempt.payload for attempt in attempts}
    latest: list[MessageRecord] = []
    contents: dict[int, bytes] = {}
    for each in copied:
        name = _message_name(each)
        if name is None:
            continue
        number = len(latest) + 1
        file = ""
        if each.content is not None and payloads.get(each.attempt) == each.content:
            file = payload_file(each.attempt)
        elif each.content is not None:
            file = message_file(number)
            contents[number] = each.content
        latest.append(
            MessageRecord(
                direction=each.direction,
                attempt=each.attempt,
                rail=each.rail,
                type=name.type,
                message_id=name.message_id or each.message_id,
                response_status=each.response_status,
                at=instant(each.at),
                sha256=each.sha256.hex(),
                bytes=each.size_bytes,
                file=file,
            )
        )
    return MessagesRecord(is_whole=is_whole, latest=tuple(latest)), contents


def _message_name(message: CopiedMessage) -> MessageName | None:
    """Return the type that a message states; None if it is of no known type."""
    if message.type is not None:
        return MessageName(message.type, message.message_id)
    if message.content is None:
        return MessageName("", message.message_id)
    name = name_of(message.content)
    return name if name.type else None


def record_recall(recall: RecallRequest | None) -> tuple[RecallStepRecord, ...]:
    """Record the steps of a recall, oldest first; none if there is no recall."""
    return tuple(
        RecallStepRecord(
            seq=step.seq,
            event=step.event,
            state=step.state,
            at=instant(step.at),
            detail=dict(step.detail),
        )
        for step in (recall.steps if recall is not None else ())
    )


def record_transfers(transfers: Iterable[Transfer]) -> tuple[TransferRecord, ...]:
    """Record transfers, in the order of their postings and legs."""
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
    """Record accounts, in the order of their ids."""
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
    """Return the ids of all accounts in a dossier."""
    found = {held_on} if held_on is not None else set()
    for attempt in attempts:
        route = attempt.route
        found |= {route.source_id, route.agent_id, route.clearing_id, route.target_id}
    for transfer in transfers:
        found |= {transfer.debit_id, transfer.credit_id}
    return found


def record_exception(case: ExceptionCase) -> ExceptionRecord:
    """Record an exception that needs a person."""
    return ExceptionRecord(
        id=case.id,
        kind=case.kind.value,
        detail=dict(case.detail),
        opened_at=instant(case.opened_at),
        acknowledged_at=instant_or_none(case.acknowledged_at),
        acknowledged_by=case.acknowledged_by,
        closed_at=instant_or_none(case.closed_at),
        closed_by=case.closed_by,
        close_reason=case.close_reason,
    )


def record_proposal(proposal: Proposal) -> ProposalRecord:
    """Record a proposal and the decision on it."""
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


def references_in(said: Iterable[StatementReferences]) -> tuple[str, ...]:
    """Return the references of an entry and a payment inside it, each once."""
    return tuple(dict.fromkeys(name for each in said for name in each.ours()))


def text_of(*texts: str) -> str:
    """Return the texts of an entry and a payment inside it as one."""
    return " ".join(text for text in texts if text)[:ENTRY_TEXT_CHARACTERS_MAX]
