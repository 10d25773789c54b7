"""Statements that we issue, in PostgreSQL (``ports.IssuedStatementStore``).

A statement is numbered, made and stored in one transaction that holds the lock of its account's statements. All that
it is made of lies before the instant until which bookings are complete, so that it can be made again at any time.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from settlement_engine.domain.issued_statements import (
    ENTRIES_ISSUED_MAX,
    AccountBooking,
    IssuedFile,
    IssuedFormat,
    IssuedStatement,
    next_period,
    require_closing,
    require_entries,
    require_issuable,
)
from settlement_engine.domain.ledger import Account, AccountKind, Leg
from settlement_engine.domain.past_balances import BOOKING_SECONDS_MAX
from settlement_engine.errors import NotFound
from settlement_engine.ports import IssuedPart
from settlement_engine.store.currencies import learn_currencies
from settlement_engine.store.database import DatabaseConnection
from settlement_engine.store.queries import query
from settlement_engine.store.rows import to_account

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import asyncpg

    from settlement_engine.domain.issued_statements import StatementBuilder, StatementOrder
    from settlement_engine.ports import IssuedFilter
    from settlement_engine.store.database import Connection, DatabaseSettings, Readers

TRANSACTION_SECONDS: Final = 120.0
"""How long the issue of one statement may take: one may have 50,000 entries."""

STATEMENT_SECONDS: Final = 60.0
BUILDING_SECONDS: Final = 60.0
"""How long the bytes are made, between two calls of the database."""


class PostgresIssuedStatements:
    """See ``ports.IssuedStatementStore``."""

    def __init__(self, settings: DatabaseSettings, readers: Readers) -> None:
        self._readers = readers
        patient = replace(
            settings,
            statement_timeout_seconds=STATEMENT_SECONDS,
            lock_timeout_seconds=STATEMENT_SECONDS,
            idle_in_transaction_timeout_seconds=BUILDING_SECONDS,
            transaction_timeout_seconds=TRANSACTION_SECONDS,
        )
        self._writing = DatabaseConnection(patient, is_writing=True)

    async def close(self) -> None:
        """Close the connection."""
        await self._writing.close()

    async def issue(self, order: StatementOrder, build: StatementBuilder) -> IssuedStatement:
        """Issue the statement of a booking date, or return it; see the port."""
        async with self._writing.session() as connection, connection.transaction():
            await connection.execute(query("lock_issued_statements"), order.account_id)
            known = await _latest(connection, order.account_id, order.booking_date)
            if known is not None and known.file(order.format) is not None:
                return replace(known, is_replay=True)
            issued, bookings = (
                await _begin(connection, order)
                if known is None
                else (known, await _bookings(connection, order, known.begins, known.ends))
            )
            content = await asyncio.to_thread(build, issued, bookings)
            await connection.execute(
                query("add_issued_file"), issued.id, order.format.value, content
            )
            made = await _latest(connection, order.account_id, order.booking_date)
        assert made is not None, "it has just been issued"
        return made

    async def issued(self, wanted: IssuedFilter) -> list[IssuedStatement]:
        """Return issued statements, the latest first."""
        rows = await self._readers.fetch(
            "list_issued_statements", wanted.account_id, None, wanted.before_id, wanted.limit
        )
        return [to_issued(row) for row in rows]

    async def issued_part(
        self, account_id: int, number: int, wanted: IssuedFormat, offset: int, bytes_max: int
    ) -> IssuedPart | None:
        """Return a part of the bytes of an issued statement."""
        row = await self._readers.fetchrow(
            "issued_file_part", account_id, number, wanted.value, offset, bytes_max
        )
        if row is None:
            return None
        return IssuedPart(sha256=row["sha256"], file_bytes=row["bytes"], content=row["part"])


async def _begin(
    connection: Connection, order: StatementOrder
) -> tuple[IssuedStatement, Sequence[AccountBooking]]:
    """Give the statement its number and its figures."""
    account_row = await connection.fetchrow(query("account_by_id"), order.account_id)
    if account_row is None:
        raise NotFound(f"there is no account {order.account_id}", listed_by="accounts list")
    await learn_currencies(connection, (account_row,))
    account = to_account(account_row)
    complete: datetime = await connection.fetchval(query("complete_until"), BOOKING_SECONDS_MAX)
    require_issuable(order, account.kind, complete)
    last = await _latest(connection, order.account_id)
    period = next_period(order, last, await _first_between(connection, order, last))
    bookings = await _bookings(connection, order, *period)
    credits_minor = sum(each.amount_minor for each in bookings if each.is_credit)
    debits_minor = sum(each.amount_minor for each in bookings if not each.is_credit)
    opening = (
        await _balance(connection, account.id, period.begins)
        if last is None
        else last.closing_minor
    )
    closing = opening + credits_minor - debits_minor
    require_closing(order, closing, await _balance(connection, account.id, period.ends))
    number = 1 if last is None else last.number + 1
    previous = None if last is None else last.booking_date
    figures = (opening, closing, credits_minor, debits_minor, len(bookings), previous)
    await connection.execute(
        query("add_issued_statement"),
        account.id,
        number,
        order.booking_date,
        *period,
        *figures,
        order.who,
    )
    issued = await _latest(connection, account.id, order.booking_date)
    assert issued is not None, "it has just been inserted"
    return issued, bookings


async def _latest(
    connection: Connection, account_id: int, day: object = None
) -> IssuedStatement | None:
    """Return the account's last statement, or that of a date."""
    row = await connection.fetchrow(query("list_issued_statements"), account_id, day, None, 1)
    await learn_currencies(connection, (row,))
    return None if row is None else to_issued(row)


async def _first_between(
    connection: Connection, order: StatementOrder, last: IssuedStatement | None
) -> datetime | None:
    if last is None or last.ends >= order.day.begins:
        return None
    found: datetime | None = await connection.fetchval(
        query("first_booking_between"), order.account_id, last.ends, order.day.begins
    )
    return found


async def _bookings(
    connection: Connection, order: StatementOrder, begins: datetime, ends: datetime
) -> list[AccountBooking]:
    rows = await connection.fetch(
        query("bookings_between"), order.account_id, begins, ends, ENTRIES_ISSUED_MAX + 1
    )
    bookings = [to_booking(row) for row in rows]
    require_entries(bookings, order)
    return bookings


async def _balance(connection: Connection, account_id: int, at: datetime) -> int:
    """Return the holder's balance at an instant: positive if we owe it."""
    row = await connection.fetchrow(query("balances_at"), [account_id], at)
    assert row is not None
    return int(row["credits_posted"]) - int(row["debits_posted"])


def to_booking(row: asyncpg.Record) -> AccountBooking:
    """Build a booking."""
    return AccountBooking(
        group_id=row["group_id"],
        posting=row["posting"],
        leg=Leg(row["leg"]),
        is_credit=row["is_credit"],
        amount_minor=row["amount_minor"],
        value_date=row["value_date"],
        from_bank=row["from_bank"] or "",
        to_bank=row["to_bank"] or "",
        obligation_id=row["obligation_id"] or "",
        end_to_end_id=row["end_to_end_id"] or "",
        uetr=row["uetr"] or "",
        reference=row["reference"],
    )


def to_issued(row: asyncpg.Record) -> IssuedStatement:
    """Build an issued statement with its files."""
    figures: dict[str, Any] = {
        name: int(row[name])
        for name in ("opening_minor", "closing_minor", "credits_minor", "debits_minor")
    }
    return IssuedStatement(
        id=row["id"],
        account=Account(
            id=row["account_id"],
            kind=AccountKind(row["kind"]),
            bank=row["bank"],
            currency=row["currency"],
            account_number=row["account_number"],
        ),
        number=row["number"],
        booking_date=row["day"],
        begins=row["begins"],
        ends=row["ends"],
        **figures,
        entries=row["entries"],
        previous_date=row["previous_day"],
        issued_by=row["issued_by"],
        issued_at=row["issued_at"],
        files=tuple(
            IssuedFile(format=IssuedFormat(kind), sha256=sha256, file_bytes=size)
            for kind, sha256, size in zip(row["formats"], row["hashes"], row["sizes"], strict=True)
        ),
    )
