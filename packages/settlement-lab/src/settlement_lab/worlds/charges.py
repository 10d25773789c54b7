"""Charges of returns in a world: one bank takes them all, and the auditor's own rule says who is billed for them.

Promises: what a return's charges are depends on its amounts only. Must never: ask the engine's rules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from settlement_engine.domain.returns import StatedAmount

if TYPE_CHECKING:
    from settlement_engine.domain.returns import Return
    from settlement_engine.domain.settlement import Settlement

CHARGING_BANK: Final = "AAA"
"""Who takes the charges of every return: of the payments that it has sent itself, and of the others."""


def less_charges(part_minor: int, charges_minor: int) -> StatedAmount:
    """Return what the bank says of the first part that it sends back."""
    return StatedAmount(
        minor=part_minor - charges_minor,
        charges_minor=charges_minor,
        reference="R-1",
        charged_by=((CHARGING_BANK, charges_minor),),
    )


def billed_minor(history: Settlement, back: Return) -> int:
    """Return how much of a return's charges FROM bears, in minor units."""
    payment, sender = history.instruction.payment, history.instruction.from_bank
    bearer = payment.charge_bearer if payment is not None else ""
    is_senders = bearer == "DEBT" or (bearer == "SHAR" and sender == CHARGING_BANK)
    return back.charges_minor if is_senders else 0
