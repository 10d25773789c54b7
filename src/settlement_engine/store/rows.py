"""Converts rows to domain values: the one module where a record becomes a settlement or an account."""

from __future__ import annotations

from datetime import MAXYEAR, UTC
from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.domain.compensation import Compensation
from settlement_engine.domain.identifiers import References
from settlement_engine.domain.ledger import Account, AccountKind, Leg, Transfer
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.money import Money
from settlement_engine.domain.payment import Delivery, read_payment
from settlement_engine.domain.returns import Return
from settlement_engine.domain.settlement import (
    Attempt,
    Attestation,
    Instruction,
    Moved,
    Priority,
    Recorded,
    Route,
    Settlement,
)
from settlement_engine.domain.windows import Window
from settlement_engine.errors import CorruptRecord

if TYPE_CHECKING:
    from datetime import date, datetime
    from uuid import UUID

    import asyncpg

_compensations: Final = msgspec.json.Decoder(tuple[Compensation, ...]).decode
_returns: Final = msgspec.json.Decoder(tuple[Return, ...]).decode
_decode: Final = msgspec.json.Decoder(dict[str, str]).decode
UNREADABLE: Final = (ArithmeticError, LookupError, TypeError, ValueError, msgspec.MsgspecError)
"""What reading a record raises that somebody has altered."""

_STATES: Final = {state.value: state for state in State}
_EVENTS: Final = {event.value: event for event in Event}


def to_instruction(row: asyncpg.Record) -> Instruction:
    """Build the instruction that the caller gave."""
    return Instruction(
        caller=row["caller"],
        idempotency_key=row["idempotency_key"],
        obligation_id=row["obligation_id"],
        from_bank=row["from_bank"],
        to_bank=row["to_bank"],
        amount=Money(row["amount_minor"], row["currency"]),
        value_date=row["requested_value_date"],
        priority=Priority(row["priority"]),
        metadata=_decode(row["metadata"]) if row["metadata"] else {},
        payment=read_payment(row["payment"]) if row["payment"] else None,
        rail=row["requested_rail"] or "",
        requested_delivery=Delivery(row["requested_delivery"])
        if row["requested_delivery"]
        else None,
        compensates=row["compensates"],
    )


def to_attempt(row: asyncpg.Record) -> Attempt | None:
    """Build the current attempt, or None before the first."""
    if row["number"] is None:
        return None
    return Attempt(
        number=row["number"],
        route=Route(
            rail=row["rail"],
            source_id=row["source_id"],
            agent_id=row["agent_id"],
            clearing_id=row["clearing_id"],
            target_id=row["target_id"],
            delivery=Delivery(row["delivery"] or Delivery.BOOK),
        ),
        references=References(
            uetr=row["uetr"], end_to_end_id=row["end_to_end_id"], message_id=row["message_id"]
        ),
        payload=row["payload"],
        recorded_at=row["recorded_at"],
        valid_until=row["valid_until"],
        sends=row["sends"],
        undelivered=row["undelivered"],
        trace=row["trace"] or "",
    )


def to_settlement(row: asyncpg.Record) -> Settlement:
    """Build a settlement. Raises CorruptRecord if its record cannot be read."""
    try:
        return _settlement(row)
    except UNREADABLE as error:
        raise corrupt(row["id"], error) from error


def corrupt(settlement_id: UUID, error: Exception) -> CorruptRecord:
    """Say that a record cannot be read, and why; whoever altered it did so outside the engine."""
    return CorruptRecord(
        f"the record of settlement {settlement_id} cannot be read",
        why=f"{type(error).__name__}: {error}",
        todo="Restore the record; `settlement-engine prove` names every other one that differs.",
    )


def _settlement(row: asyncpg.Record) -> Settlement:
    due_at = row["due_at"]
    # PostgreSQL's infinity arrives as the greatest datetime and means that the settlement is never due.
    is_timed = due_at is not None and due_at.year < MAXYEAR
    return Settlement(
        id=row["id"],
        instruction=to_instruction(row),
        state=State(row["state"]),
        seq=row["seq"],
        fencing_token=row["epoch"],
        created_at=row["created_at"],
        value_date=row["value_date"],
        ended_at=row["ended_at"],
        attempt=to_attempt(row),
        asked=row["asked"],
        refusal_code=row["refusal_code"] or "",
        refusal_detail=_decode(row["refusal_detail"]) if row["refusal_detail"] else {},
        rail_reference=row["rail_reference"] or "",
        confirmation=row["confirmation"] or "",
        is_frozen=row["is_frozen"],
        attestation=Attestation(row["attestation"] or ""),
        next_action_at=due_at if is_timed else None,
        returns=_returns(row["returns"]) if row["returns"] else (),
        compensations=_compensations(row["compensations"]) if row["compensations"] else (),
        recorded=Recorded(
            key_hash=row["key_hash"],
            content_hash=row["content_hash"],
            intent=_decode(row["intent"]) if row["intent"] else None,
        ),
    )


def to_moved(row: asyncpg.Record) -> Moved:
    """Build a transition from its eight columns."""
    position, settlement_id, seq, from_state, event, to_state, at, detail = row
    return Moved(
        position=position,
        settlement_id=settlement_id,
        seq=seq,
        from_state=_STATES[from_state],
        event=_EVENTS[event],
        to_state=_STATES[to_state],
        at=at,
        detail=_decode(detail) if detail else {},
    )


def to_account(row: asyncpg.Record) -> Account:
    """Build an account."""
    return Account(
        id=row["id"],
        kind=AccountKind(row["kind"]),
        bank=row["bank"],
        currency=row["currency"],
        account_number=row["account_number"],
        debits_posted=int(row["debits_posted"]),  # these three are numeric, wider than int8
        credits_posted=int(row["credits_posted"]),
        held=int(row["held"]),
        credit_limit=row["credit_limit"],
        is_active=row["is_active"],
        last_reconciled=_day(row.get("last_reconciled_at")),
    )


def _day(at: datetime | None) -> date | None:
    return None if at is None else at.astimezone(UTC).date()


def to_transfer(row: asyncpg.Record) -> Transfer:
    """Build a transfer."""
    return Transfer(
        group_id=row["group_id"],
        leg=Leg(row["leg"]),
        debit_id=row["debit_id"],
        credit_id=row["credit_id"],
        amount_minor=row["amount_minor"],
        currency=row["currency"],
        reference=row["reference"],
        at=row["at"],
        posting=row["posting"],
    )


def to_window(row: asyncpg.Record) -> Window:
    """Build a settlement window."""
    return Window(
        currency=row["currency"],
        zone=row["zone"],
        opens=row["window_start"],
        closes=row["window_end"],
        weekdays=frozenset(row["days_of_week"]),
    )
