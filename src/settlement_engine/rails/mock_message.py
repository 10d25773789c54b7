"""The mock rail's message: what stands in the bytes of an attempt.

Canonical: the fields have one order and no space between them, so that the same payment is the same
bytes. Reading does not raise anything but what ``UNREADABLE_ERRORS`` names.
"""

from __future__ import annotations

from datetime import date  # noqa: TC003 - msgspec reads the annotations
from typing import Final
from uuid import UUID  # noqa: TC003 - msgspec reads the annotations

import msgspec

from settlement_engine.domain.identifiers import References
from settlement_engine.domain.intent import PaymentTerms


class Payment(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The message of an attempt, as the mock rail writes it and the bank reads it."""

    uetr: UUID
    end_to_end_id: str
    message_id: str
    settlement_id: UUID
    obligation_id: str
    from_bank: str
    to_bank: str
    amount: str
    currency: str
    value_date: date
    simulate: str = ""


def read_terms(payload: bytes) -> PaymentTerms | None:
    """Say what a message asks the bank to do; None when nobody can read it."""
    try:
        payment = read_payment(payload)
    except UNREADABLE_ERRORS:
        return None
    return PaymentTerms(
        from_bank=payment.from_bank,
        to_bank=payment.to_bank,
        amount=payment.amount,
        currency=payment.currency,
        references=References(
            uetr=payment.uetr,
            end_to_end_id=payment.end_to_end_id,
            message_id=payment.message_id,
        ),
    )


write_payment: Final = msgspec.json.Encoder().encode
read_payment: Final = msgspec.json.Decoder(Payment).decode
UNREADABLE_ERRORS: Final = (msgspec.DecodeError, UnicodeDecodeError)
