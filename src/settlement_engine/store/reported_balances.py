"""Balances that banks have reported within the day (camt.052), and ours at their instants, in PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.domain.balance_comparison import booked_balance
from settlement_engine.domain.statements import Source, Statement
from settlement_engine.errors import NotFound
from settlement_engine.store.statement_rows import readable

if TYPE_CHECKING:
    from datetime import datetime

    from settlement_engine.domain.balance_comparison import StatedBalance
    from settlement_engine.store.database import Readers

REPORTS_AT_ONCE: Final = 20
"""Among so many of the latest intraday reports one with a balance is looked for."""

_REPORT: Final = msgspec.json.Decoder(Statement)


async def reported_balance(readers: Readers, account_id: int) -> StatedBalance | None:
    """Return the booked balance of the latest report of an account that has one.

    Raises CorruptRecord for a report that this program cannot read.
    """
    rows = await readers.fetch("intraday_reports", account_id, REPORTS_AT_ONCE)
    source = Source.CAMT052.value
    with readable(f"a balance that the bank of account {account_id} has reported"):
        found = (booked_balance(_REPORT.decode(row["content"]), source) for row in rows)
        return next((each for each in found if each is not None), None)


async def balance_at(readers: Readers, account_id: int, at: datetime) -> int:
    """Return an account's balance at an instant. Raises NotFound."""
    row = await readers.fetchrow("balances_at", [account_id], at)
    if row is None:
        raise NotFound(f"there is no account {account_id}")
    return int(row["debits_posted"]) - int(row["credits_posted"])
