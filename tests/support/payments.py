"""The message format of rails that exist only for tests: one line of words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from settlement_engine.domain.intent import PaymentTerms
from settlement_engine.domain.money import Money

if TYPE_CHECKING:
    from settlement_engine.domain.identifiers import References
    from settlement_engine.domain.settlement import Settlement


def payment_bytes(settlement: Settlement, references: References) -> bytes:
    """Return bytes with obligation, references, banks and amount."""
    payment_request, amount = settlement.instruction, settlement.instruction.amount
    names = f"{payment_request.obligation_id} {references.end_to_end_id} "
    sides = f"{payment_request.from_bank}\t{payment_request.to_bank}"
    return f"{names}\t{sides}\t{amount.minor}\t{amount.currency}".encode()


def payment_terms(payload: bytes) -> PaymentTerms | None:
    """Return the terms in such bytes."""
    try:
        _, from_bank, to_bank, minor, currency = payload.decode().split("\t")
        amount = str(Money(int(minor), currency))
    except ValueError:
        return None
    return PaymentTerms(from_bank=from_bank, to_bank=to_bank, amount=amount, currency=currency)
