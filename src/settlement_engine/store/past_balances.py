"""Balances of the past in PostgreSQL (``ports.PastBalances``).

They are recorded for every quarter of an hour, once it is complete. A balance is read from the newest recorded
quarter and the transfers after it, so that its cost does not grow with the history.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from settlement_engine.domain.past_balances import BOOKING_SECONDS_MAX, QUARTER, PastBalance
from settlement_engine.store.database import DatabaseConnection
from settlement_engine.store.queries import query

if TYPE_CHECKING:
    from collections.abc import Sequence

    from settlement_engine.store.database import DatabaseSettings, Readers

QUARTERS_AT_ONCE: Final = 96
"""How many quarters one transaction records at most: those of a day. More are waiting after a long standstill."""

RECORDING_SECONDS: Final = 120.0
"""How long one transaction may take: the first one after an upgrade reads the oldest transfer of a long history."""


class PostgresPastBalances:
    """See ``ports.PastBalances``."""

    def __init__(self, settings: DatabaseSettings, readers: Readers) -> None:
        self._readers = readers
        patient = replace(
            settings,
            statement_timeout_seconds=RECORDING_SECONDS,
            transaction_timeout_seconds=RECORDING_SECONDS,
        )
        self._writing = DatabaseConnection(patient, is_writing=True)

    async def close(self) -> None:
        """Close the connection."""
        await self._writing.close()

    async def complete_until(self) -> datetime:
        """Return the instant before which every booking is visible."""
        row = await self._readers.fetchrow("complete_until", BOOKING_SECONDS_MAX)
        assert row is not None
        at: datetime = row["at"]
        return at

    async def balances_at(self, account_ids: Sequence[int], at: datetime) -> list[PastBalance]:
        """Return for each account the sums of all its transfers before the instant."""
        rows = await self._readers.fetch("balances_at", list(account_ids), at)
        found = {
            row["id"]: PastBalance(
                account_id=row["id"],
                debits_posted=int(row["debits_posted"]),
                credits_posted=int(row["credits_posted"]),
            )
            for row in rows
        }
        return [found[each] for each in account_ids]

    async def record_balances(self) -> int:
        """Record the balances of a few quarters that have passed; return how many they were."""
        async with self._writing.session() as connection, connection.transaction():
            await connection.execute(query("lock_balance_moments"))
            complete: datetime = await connection.fetchval(
                query("complete_until"), BOOKING_SECONDS_MAX
            )
            last: datetime = await connection.fetchval(query("last_balance_moment"), complete)
            until = quarters_until(last, complete)
            if until <= last:
                return 0
            recorded: int = await connection.fetchval(query("record_balances"), last, until)
        return recorded


def quarters_until(last: datetime, complete: datetime) -> datetime:
    """Return the last quarter's end that one transaction records: at most ``QUARTERS_AT_ONCE`` after ``last``."""
    passed = (complete.astimezone(UTC) - last.astimezone(UTC)) // QUARTER
    return last + min(passed, QUARTERS_AT_ONCE) * QUARTER
