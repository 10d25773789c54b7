"""Converts settlements, transitions and announcements to messages of the API.

Promises: amounts are written as decimal strings from integers, instants as UTC. It must never decide anything.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Final

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.timestamp_pb2 import Timestamp

from settlement_engine.api.payment import delivery_number, payment_message, warnings_about
from settlement_engine.domain.announcement import announcement_type, event_id
from settlement_engine.domain.finality import finality
from settlement_engine.domain.lifecycle import QUESTION, STATUS, TRANSITIONS, Ask
from settlement_engine.domain.money import format_amount
from settlement_engine.evidence.sentences import next_action, refusal_sentence
from settlement_engine.proto import settlement_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterable

    from settlement_engine.domain.compensation import Compensation
    from settlement_engine.domain.lifecycle import State
    from settlement_engine.domain.payment import Delivery
    from settlement_engine.domain.returns import Return
    from settlement_engine.domain.settlement import Instruction, Moved, Settlement
    from settlement_engine.ports import Announcement

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_SECONDS: Final = 86_400
_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
_MOVED_URL: Final = f"type.googleapis.com/{pb.SettlementMoved.DESCRIPTOR.full_name}"
_STATUSES: Final = {
    state: pb.SettlementStatus.ValueType(int(status)) for state, status in STATUS.items()
}
_REACHED: Final = {
    (state, event): row.reached
    for state, rows in TRANSITIONS.items()
    for event, row in rows.items()
}


def timestamp(at: datetime) -> Timestamp:
    """Convert an instant to a Timestamp, with microseconds."""
    since = at - _EPOCH
    return Timestamp(
        seconds=since.days * _DAY_SECONDS + since.seconds, nanos=since.microseconds * 1_000
    )


def status_number(state: State) -> pb.SettlementStatus.ValueType:
    """Return the API status of a state."""
    return _STATUSES[state]


def unix_seconds(at: datetime) -> int:
    """Convert an instant to whole Unix seconds."""
    since = at - _EPOCH
    return since.days * _DAY_SECONDS + since.seconds


def response(settlement: Settlement) -> pb.SettlementResponse:
    """Return the response to a request: its settlement's state and, if refused, the reason."""
    answer = pb.SettlementResponse()
    write_response(answer, settlement)
    return answer


def write_response(answer: pb.SettlementResponse, settlement: Settlement) -> None:
    """Fill in a response in place: copying a message would cost as much as writing it."""
    answer.settlement_id = str(settlement.id)
    answer.status = _STATUSES[settlement.state]
    answer.obligation_id = settlement.instruction.obligation_id
    if settlement.rail_reference or settlement.confirmation:
        answer.reference = settlement.rail_reference
        answer.confirmation_code = settlement.confirmation
    if settlement.is_replay:
        answer.replayed = True
    if settlement.ended_at is not None:
        answer.completed_at = unix_seconds(settlement.ended_at)
        answer.completed_time.CopyFrom(timestamp(settlement.ended_at))
    if settlement.refusal_code:
        detail = settlement.refusal_detail
        answer.refusal_code = settlement.refusal_code
        answer.refusal_detail = refusal_sentence(settlement.refusal_code, detail)
        answer.refusal_fields.update(detail)
    if settlement.instruction.payment is not None:
        answer.warnings.extend(warnings_about(settlement.instruction.payment))


def _returned(back: Return, currency: str) -> pb.SettlementReturn:
    """Convert one return of funds."""
    return pb.SettlementReturn(
        posting=back.posting,
        amount=format_amount(back.amount_minor, currency),
        charges=format_amount(back.charges_minor, currency),
        left=format_amount(back.left_minor, currency),
        reference=back.reference,
        value_date=back.value_date.isoformat() if back.value_date else "",
        rebilled=format_amount(back.rebilled_minor, currency),
    )


def _compensation(each: Compensation, currency: str) -> pb.SettlementCompensation:
    """Convert one settlement that compensates another one."""
    return pb.SettlementCompensation(
        settlement_id=str(each.settlement_id),
        status=_STATUSES[each.state],
        state=each.state.name,
        amount=format_amount(each.amount_minor, currency),
        returned=format_amount(each.returned_minor, currency),
    )


def status_response(
    settlement: Settlement,
    moves: Iterable[Moved] = (),
    *,
    has_metadata: bool = False,
    is_proved: bool = False,
    takes_enquiries: bool = True,
) -> pb.SettlementStatusResponse:
    """Return a settlement's status, and given its transitions its history; ``is_proved``: by statements."""
    instruction = settlement.instruction
    answer = pb.SettlementStatusResponse(
        settlement_id=str(settlement.id),
        obligation_id=instruction.obligation_id,
        status=_STATUSES[settlement.state],
        state=settlement.state.name,
        from_bank=instruction.from_bank,
        to_bank=instruction.to_bank,
        amount=format_amount(instruction.amount.minor, instruction.amount.currency),
        currency=instruction.amount.currency,
        priority=pb.Priority.ValueType(int(instruction.priority)),
        settlement_date=(settlement.value_date.toordinal() - _EPOCH_DAY) * _DAY_SECONDS,
        value_date=settlement.value_date.isoformat(),
        created_at=unix_seconds(settlement.created_at),
        created_time=timestamp(settlement.created_at),
        reference=settlement.rail_reference,
        confirmation_code=settlement.confirmation,
        is_frozen=settlement.is_frozen,
        caller=instruction.caller,
        idempotency_key=instruction.idempotency_key,
        moves=[move(moved) for moved in moves],
        returns=[_returned(back, instruction.amount.currency) for back in settlement.returns],
        delivery=delivery_number(_delivery(settlement)),
        requested_rail=instruction.rail,
        finality=pb.Finality.ValueType(finality(settlement.state, is_proved=is_proved)),
    )
    if has_metadata:
        _add_said(answer, instruction)
    _add_compensations(answer, settlement)
    _add_progress(answer, settlement, takes_enquiries=takes_enquiries)
    return answer


def _add_compensations(answer: pb.SettlementStatusResponse, settlement: Settlement) -> None:
    """Add which settlement it compensates, and which compensate it."""
    instruction = settlement.instruction
    if instruction.compensates is not None:
        answer.compensates = str(instruction.compensates)
    currency = instruction.amount.currency
    answer.compensations.extend(_compensation(each, currency) for each in settlement.compensations)


def _add_said(answer: pb.SettlementStatusResponse, instruction: Instruction) -> None:
    """Add what lists leave out: the caller's metadata, and what the payment says."""
    answer.metadata.update(instruction.metadata)
    if instruction.payment is not None:
        answer.payment.CopyFrom(payment_message(instruction.payment))


def _delivery(settlement: Settlement) -> Delivery:
    """Return the delivery that was recorded with the send intent; before it, the one that it will have."""
    attempt = settlement.attempt
    return settlement.instruction.delivery if attempt is None else attempt.route.delivery


def _add_progress(
    answer: pb.SettlementStatusResponse, settlement: Settlement, *, takes_enquiries: bool
) -> None:
    """Add what happens next, and the fields that a settlement has only from some state on."""
    answer.next_action = next_action(settlement.state, takes_enquiries=takes_enquiries)
    is_awaited = QUESTION.get(settlement.state) is Ask.ENQUIRE and not takes_enquiries
    if settlement.ended_at is not None:
        answer.ended_at = unix_seconds(settlement.ended_at)
        answer.ended_time.CopyFrom(timestamp(settlement.ended_at))
    elif settlement.next_action_at is not None and not is_awaited:
        answer.next_action_at.CopyFrom(timestamp(settlement.next_action_at))
    if settlement.attempt is not None:
        answer.rail = settlement.attempt.route.rail
        answer.end_to_end_id = settlement.attempt.references.end_to_end_id
        answer.uetr = str(settlement.attempt.references.uetr)
        answer.attempt = settlement.attempt.number
    if settlement.refusal_code:
        detail = settlement.refusal_detail
        answer.refusal_code = settlement.refusal_code
        answer.refusal_detail = refusal_sentence(settlement.refusal_code, detail)
        answer.refusal_fields.update(detail)


def move(moved: Moved) -> pb.Move:
    """Convert one transition, with the checkpoints that it reaches."""
    return pb.Move(
        sequence=moved.position,
        seq=moved.seq,
        from_state=moved.from_state.name,
        event=moved.event.name,
        to_state=moved.to_state.name,
        at=timestamp(moved.at),
        reached=_REACHED.get((moved.from_state, moved.event), ()),
        detail=moved.detail,
    )


def event(announcement: Announcement) -> pb.SettlementEvent:
    """Convert one announcement: the transition and its settlement's data are the payload."""
    moved = announcement.moved
    amount = announcement.amount
    status = _STATUSES[moved.to_state]
    payload = pb.SettlementMoved(
        settlement_id=str(moved.settlement_id),
        obligation_id=announcement.obligation_id,
        move=move(moved),
        status=status,
        from_bank=announcement.from_bank,
        to_bank=announcement.to_bank,
        amount=format_amount(amount.minor, amount.currency),
        currency=amount.currency,
        value_date=announcement.value_date.isoformat(),
        priority=pb.Priority.ValueType(int(announcement.priority)),
        compensates=str(announcement.compensates or ""),
        delivery=delivery_number(announcement.delivery),
    )
    return pb.SettlementEvent(
        event_id=event_id(moved),
        settlement_id=str(moved.settlement_id),
        event_type=announcement_type(moved),
        timestamp=unix_seconds(moved.at),
        payload=AnyMessage(type_url=_MOVED_URL, value=payload.SerializeToString()),
        sequence=moved.position,
        time=timestamp(moved.at),
        obligation_id=announcement.obligation_id,
        status=status,
    )
