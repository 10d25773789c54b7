"""The proof of the proofs: each account's are made anew from its statements and the sums of its days.

Promises: days whose sums have changed since the last run are left out, and so are statements that came after it, and
decisions about statements; all others are compared. One account is in memory at a time. Must never: record a proof.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.domain.booking_days import first_day
from settlement_engine.domain.proof import BalanceProof, ReconciledBooks, at_day, prove
from settlement_engine.domain.statement_chain import chain_of
from settlement_engine.domain.statements import END_OF_DAY
from settlement_engine.store import reconciliation_rows as rows_of
from settlement_engine.store.queries import query
from settlement_engine.store.statement_rows import to_head

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import date

    import asyncpg

    from settlement_engine.store.database import Connection

    Found = tuple[str, str, str]

ACCOUNTS_AT_ONCE: Final = 100

_SOURCES: Final = sorted(source.value for source in END_OF_DAY)


async def proofs(connection: Connection) -> AsyncIterator[Found]:
    """Check that the last proof of each day is what the statements and the sums of the days give."""
    after = 0
    while rows := await connection.fetch(query("audit_proved_accounts"), after, ACCOUNTS_AT_ONCE):
        for row in rows:
            account_id = row["account_id"]
            stored = await _stored(connection, account_id)
            made = await _made(connection, row)
            due = {each.booking_date: each for each in made}
            due |= {day: each for day in stored if (each := at_day(made, day)) is not None}
            for day, each in sorted(due.items()):
                is_due = row["unproved_from"] is None or day < row["unproved_from"]
                if is_due and each != stored.get(day):
                    yield f"account {account_id} on {day}", _said(each), _said(stored.get(day))
        after = rows[-1]["account_id"]


async def _made(connection: Connection, account: asyncpg.Record) -> list[BalanceProof]:
    """Make the proofs of an account. How the bank numbers its statements is configured: only gaps of money count."""
    account_id = account["account_id"]
    known = (account["last_statement_id"], account["last_decision_id"])
    rows = await connection.fetch(query("audit_heads"), account_id, _SOURCES, *known)
    heads = [to_head(row) for row in rows]
    chain = chain_of(heads, numbers_count_by_one=False)
    days = rows_of.to_statement_days(await connection.fetch(query("statement_days"), account_id))
    begins = first_day(chain, days)
    sums = await connection.fetch(query("reconciliation_books"), account_id)
    balance = await connection.fetchrow(query("reconciliation_balance"), account_id, begins)
    assert balance is not None, "an account is never deleted"
    books = ReconciledBooks(
        days=tuple(map(rows_of.to_day_sums, sums)),
        balance_minor=None,
        open_before_minor=int(balance["open_before_minor"]),
        open_before=balance["open_before"],
    )
    return [_compared(each) for each in prove(chain, books, heads, days)]


async def _stored(connection: Connection, account_id: int) -> dict[date, BalanceProof]:
    rows = await connection.fetch(query("last_proofs"), account_id)
    return {row["booking_date"]: _compared(rows_of.to_proof(row)) for row in rows}


def _compared(proof: BalanceProof) -> BalanceProof:
    """Leave out why a proof is held back: that depends on the configuration."""
    return msgspec.structs.replace(proof, held_back_by="")


def _said(proof: BalanceProof | None) -> str:
    if proof is None:
        return "no proof"
    said = msgspec.structs.astuple(proof)[1:-1]
    return " ".join(map(str, said))
