"""How final a settlement is: from the recorded send intent to the bank's own booked statement.

Promises: pure, and a function of the state, and of whether the account's statements prove its bookings. A payment
whose funds were released, or were never held, has no finality: nothing of it may become final. Must never: count
a bank's acknowledgement, a promise or an absence as final.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

from settlement_engine.domain.lifecycle import State

if TYPE_CHECKING:
    from collections.abc import Mapping


class Finality(IntEnum):
    """How final it is; the numbers are those of the proto, and each includes those before it."""

    UNSPECIFIED = 0  # nothing was sent, or what was sent has ended without money
    SENT = 1  # the send intent is recorded: the rail may have the payment
    ACKNOWLEDGED = 2  # the rail has acknowledged the payment, which is not final
    SETTLED = 3  # the rail, or the bank's statement, says that the money moved
    RECONCILED = 4  # its bookings are matched in statements of the banks whose proof is zero


BY_STATE: Final[Mapping[State, Finality]] = {
    State.PENDING: Finality.UNSPECIFIED,
    State.VALIDATING: Finality.UNSPECIFIED,
    State.HELD: Finality.UNSPECIFIED,
    State.QUEUED: Finality.UNSPECIFIED,
    State.LOCKED: Finality.SENT,
    State.IN_DOUBT: Finality.SENT,
    State.SENT: Finality.ACKNOWLEDGED,
    State.RECALLING: Finality.ACKNOWLEDGED,
    State.COMPLETED: Finality.SETTLED,
    State.RETURNED: Finality.SETTLED,
    State.FAILED: Finality.UNSPECIFIED,
    State.ROLLED_BACK: Finality.UNSPECIFIED,
}
"""The finality of each state, without statements. RECALLING follows SENT: a recall is asked of a payment that the
rail has."""


def finality(state: State, *, is_proved: bool = False) -> Finality:
    """Return how final a settlement is. ``is_proved``: the statements prove all its bookings at banks.

    Only what has settled can be reconciled: a proof says nothing about a payment that has not moved money.
    """
    found = BY_STATE[state]
    return Finality.RECONCILED if is_proved and found is Finality.SETTLED else found
