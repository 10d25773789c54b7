"""What can be said of an account whose bank gives a balance and no statements: the two balances, side by side.

Promises: a comparison is no proof, and says so: two errors that offset each other leave balances equal. The balances
are of the same instant. Must never: make an account balanced, or a settlement reconciled.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.domain.statements import BalanceType

if TYPE_CHECKING:
    from settlement_engine.domain.statements import Statement

NO_PROOF: Final = "balance compared, no proof"
"""What every such result begins with."""

_BOOKED: Final = (
    BalanceType.CLOSING,
    BalanceType.CLOSING_INTERMEDIATE,
    BalanceType.INTERMEDIATE,
)


class StatedBalance(msgspec.Struct, frozen=True):
    """A booked balance as a bank states it, in minor units, positive if the bank owes us. ``source`` says where."""

    minor: int
    as_of: datetime
    source: str


class BalanceComparison(msgspec.Struct, frozen=True):
    """The bank's balance and ours, of the same instant, in minor units with the sign of the bank's statement."""

    as_of: datetime
    our_minor: int
    their_minor: int
    source: str

    @property
    def difference_minor(self) -> int:
        """Return their balance less ours."""
        return self.their_minor - self.our_minor

    @property
    def reason(self) -> str:
        """Say what was found."""
        found = "the bank states ours" if self.difference_minor == 0 else "the bank states another"
        return f"{NO_PROOF}: {found} ({self.source}, as of {self.as_of.isoformat()})"


def booked_balance(said: Statement, source: str) -> StatedBalance | None:
    """Return the booked balance of an intraday report (camt.052), also of one without entries.

    It is of the instant at which the report was created; without such an instant nothing can be compared with it.
    """
    balance = said.balance(*_BOOKED)
    as_of = created_at(said)
    if balance is None or as_of is None or balance.currency != said.account.currency:
        return None
    return StatedBalance(minor=balance.minor, as_of=as_of, source=source)


def created_at(said: Statement) -> datetime | None:
    """Return when a statement was created; None if it does not say so with a time zone."""
    try:
        found = datetime.fromisoformat(said.created)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None
