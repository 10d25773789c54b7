"""What statements, reports and the API ask of the store about balances of the past. Amounts are in minor units."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from settlement_engine.domain.past_balances import PastBalance


class PastBalances(Protocol):
    """Reads the balances of past instants, and records them so that they can be read. Raises Unavailable."""

    async def complete_until(self) -> datetime:
        """Return the instant before which every booking is visible: nothing is booked before it any more."""
        ...

    async def balances_at(self, account_ids: Sequence[int], at: datetime) -> list[PastBalance]:
        """Return for each account the sums of all its transfers before the instant, in the given order."""
        ...

    async def record_balances(self) -> int:
        """Record the balances of a few quarters of an hour that have passed; return how many they were.

        What is recorded is complete and final. Several engines may call it at once. Raises Contention.
        """
        ...
