"""Our names of a payment, and of what is asked about it, in messages to banks. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from settlement_engine.ports import PaymentReferences
from settlement_engine.rails.classification import Purpose

if TYPE_CHECKING:
    from settlement_engine.domain.identifiers import References


def names_of(references: References, end_to_end_id: str) -> PaymentReferences:
    """Return the references in a payment's message: its end-to-end id may be the caller's."""
    return PaymentReferences(
        uetr=references.uetr,
        end_to_end_id=end_to_end_id,
        message_id=references.message_id,
    )


def message_id_of(references: References, purpose: Purpose) -> str:
    """Return a message's id; that of an enquiry or recall is derived from the payment's, so it is always the same."""
    if purpose is Purpose.SEND:
        return references.message_id
    letter = "Q" if purpose is Purpose.ENQUIRE else "R"
    return letter + references.message_id[1:]
