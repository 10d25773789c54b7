"""The messages of the mock rail: the bytes of a payment, and of a status that the bank sends.

Promises: the JSON is canonical (one order of the fields, no spaces), so the same payment always gives the same
bytes; reading raises only the errors in ``UNREADABLE_ERRORS``. Must never: decide what a message means.
"""

from __future__ import annotations

from datetime import date  # noqa: TC003 - msgspec reads the annotations
from typing import Final
from uuid import UUID  # noqa: TC003 - msgspec reads the annotations

import msgspec

from settlement_engine.domain.identifiers import References
from settlement_engine.domain.intent import PaymentTerms
from settlement_engine.domain.lifecycle import Event  # noqa: TC001 - msgspec reads the annotations
from settlement_engine.ports import InboundMessage, MessageSource, PaymentReferences, StatusReport

RAIL_NAME: Final = "mock"


class MockPayment(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
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
    """Parse what a message asks the bank to do; None when it cannot be read."""
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


class StatusMessage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The status of a payment as the bank sends it unasked."""

    uetr: UUID
    end_to_end_id: str
    status: Event
    code: str = ""
    text: str = ""


def status_message(
    references: References, event: Event, code: str = "", text: str = ""
) -> InboundMessage:
    """Make the inbound message with which a status of the bank arrives."""
    status = StatusMessage(
        uetr=references.uetr,
        end_to_end_id=references.end_to_end_id,
        status=event,
        code=code,
        text=text,
    )
    named = PaymentReferences(uetr=status.uetr, end_to_end_id=status.end_to_end_id)
    return InboundMessage(
        rail=RAIL_NAME,
        source=MessageSource.PUSHED,
        content=msgspec.json.encode(status),
        reports=(StatusReport(event=event, references=named, code=code, text=text),),
    )


write_payment: Final = msgspec.json.Encoder().encode
read_payment: Final = msgspec.json.Decoder(MockPayment).decode
UNREADABLE_ERRORS: Final = (msgspec.DecodeError, UnicodeDecodeError)
