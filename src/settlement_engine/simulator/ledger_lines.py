"""The list of the ledger that is compared with the engine's books: one JSON object for each payment.

It begins with the fields of ``/dev/bank-ledger``, with the same meaning; a field that the bank does not know is
empty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import msgspec

from settlement_engine.domain.money import format_amount

if TYPE_CHECKING:
    from settlement_engine.simulator.ledger import Payment


class LedgerLine(msgspec.Struct, frozen=True, kw_only=True):
    """One payment, or one leg of a cover payment: ``payment`` or ``cover``, else ``leg`` is empty."""

    reference: str
    settlement_id: str
    obligation_id: str
    from_bank: str
    to_bank: str
    amount: str
    currency: str
    state: str
    times_received: int
    times_debited: int
    rail: str
    uetr: str
    end_to_end_id: str
    message_id: str
    trace: str
    debited_amount: str
    returned_amount: str
    scenario: str
    leg: str


def ledger_line(payment: Payment) -> LedgerLine:
    """Make the line of one payment."""
    currency = payment.currency
    return LedgerLine(
        reference=payment.end_to_end_id,
        settlement_id=_settlement_id(payment.instruction_id),
        obligation_id="",
        from_bank=payment.from_bank,
        to_bank=payment.to_bank,
        amount=format_amount(payment.amount_minor, currency),
        currency=currency,
        state=payment.state,
        times_received=payment.times_received,
        times_debited=0 if payment.debited_minor is None else 1,
        rail=payment.rail,
        uetr=payment.uetr or "",
        end_to_end_id=payment.end_to_end_id,
        message_id=payment.message_id,
        trace=payment.trace or "",
        debited_amount=format_amount(payment.debited_minor or 0, currency),
        returned_amount=format_amount(payment.returned_minor, currency),
        scenario=payment.scenario,
        leg=payment.leg,
    )


def _settlement_id(instruction_id: str) -> str:
    """Return the settlement's id if the instruction id is one (32 hexadecimal digits), else an empty string."""
    try:
        return str(UUID(hex=instruction_id))
    except ValueError:
        return ""
