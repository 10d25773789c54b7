"""What a bank has charged for a payment, and how much of it is billed to FROM.

Charges are booked on the fees account of FROM's bank. They are billed to FROM only where the charge bearer that the
caller has named says so: with DEBT all of them, because the ordering side bears every charge; with SHAR those that
FROM's own bank has taken, because each side bears its own. With CRED the receiving side bears them, with SLEV the
scheme's rules, and a caller that named nobody has agreed to nothing: then they stay ours.

Promises: pure; never more than what was charged. Must never: take an agent for FROM's bank that is named otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from settlement_engine.domain.bank_codes import is_same_bank

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from settlement_engine.domain.payment import PaymentDetails

SENDER_BEARS: Final = "DEBT"
EACH_BEARS_ITS_OWN: Final = "SHAR"

CHARGED_BY_MAX: Final = 10
"""So many agents of a message are told apart; what further ones have taken counts as another bank's."""


def bearer_of(payment: PaymentDetails | None) -> str:
    """Return the charge bearer that the caller has named; empty if it named none."""
    return "" if payment is None else payment.charge_bearer


def rebilled_minor(
    bearer: str, charges_minor: int, from_bank: str, charged_by: Sequence[tuple[str, int]] = ()
) -> int:
    """Return how much of the charges is billed to FROM, in minor units.

    ``charged_by`` has the BIC of each agent and what it took, as far as the bank has said.
    """
    if bearer == SENDER_BEARS:
        return charges_minor
    if bearer != EACH_BEARS_ITS_OWN:
        return 0
    own = [minor for agent, minor in charged_by[:CHARGED_BY_MAX] if is_same_bank(agent, from_bank)]
    return min(charges_minor, sum(own))


def charged_by_text(charged_by: Sequence[tuple[str, int]]) -> str:
    """Return it as a detail of a transition: each BIC with its minor units."""
    named = [(agent, minor) for agent, minor in charged_by[:CHARGED_BY_MAX] if agent]
    return ", ".join(f"{agent} {minor}" for agent, minor in named)


def read_charged_by(text: str) -> tuple[tuple[str, int], ...]:
    """Read what ``charged_by_text`` has written. Raises ValueError for anything else."""
    pairs = [part.split(" ") for part in text.split(", ")] if text else []
    return tuple((agent, int(minor)) for agent, minor in pairs)


def is_as_borne(detail: Mapping[str, str], bearer: str, from_bank: str) -> bool:
    """Say whether the details of a return bill as much to FROM as the charge bearer says.

    Returns of versions before bill nothing, whatever the bearer.
    """
    if "rebilled_minor" not in detail:
        return True
    try:
        charged_by = read_charged_by(detail.get("charged_by", ""))
        charges = int(detail.get("charges_minor", "0"))
        return int(detail["rebilled_minor"]) == rebilled_minor(
            bearer, charges, from_bank, charged_by
        )
    except ValueError:
        return False
