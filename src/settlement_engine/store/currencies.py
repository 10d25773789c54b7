"""The exponents of currencies: loaded before an amount in a currency unknown to this process is shown.

A newer version may have added a currency since this process started, and an older one may have booked in a
currency that has left ISO 4217. The table has both, and its rows never change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from settlement_engine.domain.money import MoneyError, are_booked, book_exponents
from settlement_engine.errors import CorruptRecord
from settlement_engine.store.queries import query

if TYPE_CHECKING:
    from collections.abc import Sequence

    import asyncpg


async def learn_currencies(
    connection: asyncpg.Connection[asyncpg.Record], rows: Sequence[asyncpg.Record | None]
) -> None:
    """Load the table if the rows are in a currency that this process does not know."""
    first = rows[0] if rows else None
    if first is None or "currency" not in first:
        return
    if not are_booked(row["currency"] for row in rows if row is not None):
        keep_exponents(await connection.fetch(query("currencies")))


def keep_exponents(rows: Sequence[asyncpg.Record]) -> None:
    """Register the exponents. Raises CorruptRecord if one differs from what was known before."""
    try:
        book_exponents({row["code"]: row["exponent"] for row in rows})
    except MoneyError as error:
        what = "the table of currencies was altered"
        raise CorruptRecord(what, why=str(error)) from error
