"""Statements of banks in PostgreSQL (``ports.StatementStore``).

Everything is appended. A statement is judged and appended in one transaction that holds the lock of its account,
so that two engines never judge by the same state. Entries are written in batches.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.domain.bank_codes import folded_bank
from settlement_engine.domain.bank_directory import ListedBank
from settlement_engine.domain.chain_problems import KeptHead
from settlement_engine.domain.continuity import KEPT
from settlement_engine.domain.statement_import import (
    ACCOUNTS_MAX,
    FILES_AT_ONCE,
    NEIGHBOURS_MAX,
    AccountAtBank,
    StatementWithEntries,
    hash_of_key,
    imported,
    neighbour_days,
)
from settlement_engine.domain.statements import END_OF_DAY, Statement
from settlement_engine.errors import WrongState
from settlement_engine.ports import FilePart, UnreadStatement
from settlement_engine.store import statement_rows
from settlement_engine.store.database import DatabaseConnections
from settlement_engine.store.queries import query

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    import asyncpg

    from settlement_engine.domain.statement_chain import StatementHead
    from settlement_engine.domain.statement_import import (
        FoundStatement,
        ImportedStatement,
        ReceivedFile,
    )
    from settlement_engine.ports import Judge, StatementFilter
    from settlement_engine.store.database import Connection, DatabaseSettings, Readers

TRANSACTION_SECONDS: Final = 120.0
"""How long the import of one statement may take: one may have 500,000 entries."""

STATEMENT_SECONDS: Final = 60.0
BETWEEN_STATEMENTS_SECONDS: Final = 30.0
"""How long the statement is judged, and its rows are encoded, between two calls of the database."""

ENTRIES_AT_ONCE: Final = 5_000
DETAILS_SHOWN_MAX: Final = 100
"""How many details of an entry are read back with it."""

_SOURCES: Final = sorted(source.value for source in END_OF_DAY)


class PostgresStatements:
    """See ``ports.StatementStore``."""

    def __init__(self, settings: DatabaseSettings, readers: Readers) -> None:
        self._readers = readers
        patient = replace(
            settings,
            statement_timeout_seconds=STATEMENT_SECONDS,
            lock_timeout_seconds=STATEMENT_SECONDS,
            idle_in_transaction_timeout_seconds=BETWEEN_STATEMENTS_SECONDS,
            transaction_timeout_seconds=TRANSACTION_SECONDS,
        )
        self._writing = DatabaseConnections(patient, FILES_AT_ONCE, is_writing=True)

    async def close(self) -> None:
        """Close the connection."""
        await self._writing.close()

    async def keep_file(self, file: ReceivedFile) -> None:
        """Store a file's bytes; see the port."""
        await self._writing.fetch(
            "keep_statement_file", file.name, file.csv_mapping, file.content, file.who
        )

    async def accounts_by_numbers(self, numbers: Sequence[str]) -> list[AccountAtBank]:
        """Return our accounts at banks that may have one of these numbers."""
        compact = ["".join(each.split()).upper() for each in numbers]
        rows = await self._readers.fetch(
            "accounts_by_numbers", compact, [*compact, *numbers], ACCOUNTS_MAX + 1
        )
        if len(rows) > ACCOUNTS_MAX:
            what = f"the statements of the file may belong to more than {ACCOUNTS_MAX:,} accounts"
            raise WrongState(what)
        return [_to_account(row) for row in rows]

    async def accounts_at_banks(
        self, bank: str, *, after_id: int, limit: int
    ) -> list[AccountAtBank]:
        """Return our active accounts at banks; see the port."""
        folded = folded_bank(bank) or None
        rows = await self._readers.fetch("accounts_at_banks", folded, after_id, limit)
        return [_to_account(row) for row in rows]

    async def last_days(self, account_ids: Sequence[int]) -> dict[int, date]:
        """Return the last day of the statements of each account that has any."""
        rows = await self._readers.fetch("last_statement_days", list(account_ids), _SOURCES)
        return {row["id"]: row["ends"] for row in rows}

    async def kept_heads(self, account_id: int) -> list[KeptHead]:
        """Return the kept end-of-day statements of an account. Raises WrongState for too many."""
        rows = await self._readers.fetch("kept_heads", account_id, _SOURCES, NEIGHBOURS_MAX + 1)
        if len(rows) > NEIGHBOURS_MAX:
            raise WrongState(f"account {account_id} has more than {NEIGHBOURS_MAX:,} statements")
        return [
            KeptHead(id=row["id"], head=statement_rows.to_head(row), misdated=row["misdated"])
            for row in rows
        ]

    async def unread(self, account_ids: Sequence[int], limit: int) -> list[UnreadStatement]:
        """Return the statements of which entries could not be searched; see the port."""
        rows = await self._readers.fetch("unread_statements", list(account_ids), limit)
        return [
            UnreadStatement(
                account_id=row["account_id"],
                id=row["id"],
                begins=row["begins"],
                ends=row["ends"],
                entries=row["entries"],
                first_entry=row["first_entry"],
                why=row["why"],
            )
            for row in rows
        ]

    async def import_found(
        self, found: FoundStatement, account_id: int | None, judge: Judge
    ) -> ImportedStatement:
        """Judge one statement, and append it with its outcome; see the port."""
        async with self._writing.transaction() as connection:
            kept: list[StatementHead] = []
            if account_id is not None and found.head is not None:
                await connection.execute(query("lock_statements"), account_id)
                kept = await _heads(connection, account_id, found.head)
            outcome = await asyncio.to_thread(judge, kept)  # a large statement takes long
            result = imported(found, outcome)
            if result.outcome == "ALREADY_IMPORTED":
                return result
            is_kept = outcome.outcome in KEPT
            row = statement_rows.statement_row(found, result, is_kept=is_kept)
            statement_id = await connection.fetchval(query("add_statement"), *row)
            if is_kept:
                assert isinstance(found.found, Statement), "only statements are kept"
                assert statement_id is not None, "the lock keeps another import from adding it"
                await _add_entries(connection, statement_id, found.found)
        return replace(result, id=statement_id or 0)

    async def statements(self, wanted: StatementFilter) -> list[ImportedStatement]:
        """Return statements with their outcomes, the latest first."""
        rows = await self._readers.fetch_as_planned(
            "list_statements",
            wanted.before_id,
            wanted.has_problem,
            wanted.account_id,
            wanted.limit,
        )
        return [statement_rows.to_imported(row) for row in rows]

    async def statement(
        self, statement_id: int, *, after_entry: int = 0, entries_max: int = 0
    ) -> StatementWithEntries | None:
        """Return a statement, and its entries behind a number."""
        row = await self._readers.fetchrow("statement_by_id", statement_id)
        if row is None:
            return None
        entries = await self._readers.fetch(
            "statement_entries_after", statement_id, after_entry, entries_max, DETAILS_SHOWN_MAX
        )
        return StatementWithEntries(
            statement=statement_rows.to_imported(row),
            entries=tuple(statement_rows.to_entry(each) for each in entries),
        )

    async def file_part(self, sha256: bytes, offset: int, bytes_max: int) -> FilePart | None:
        """Return a part of a file's bytes."""
        row = await self._readers.fetchrow("statement_file_part", sha256, offset, bytes_max)
        return None if row is None else FilePart(row["name"], row["bytes"], row["part"])


async def _heads(
    connection: Connection, account_id: int, head: StatementHead
) -> list[StatementHead]:
    """Read the kept statements that change the outcome of this one."""
    first, last = neighbour_days(head)
    rows = await connection.fetch(
        query("statement_heads"),
        account_id,
        bytes.fromhex(head.content_hash),
        hash_of_key(head.identity()),
        hash_of_key(head.period()),
        _SOURCES,
        first,
        last,
        NEIGHBOURS_MAX + 1,
    )
    if len(rows) > NEIGHBOURS_MAX:
        what = f"the account has more than {NEIGHBOURS_MAX:,} statements around {head.ends}"
        raise WrongState(what)
    return [statement_rows.to_head(row) for row in rows]


async def _add_entries(connection: Connection, statement_id: int, said: Statement) -> None:
    """Write entries and details in batches, each encoded beside the event loop: a statement may be large."""
    entries = statement_rows.entry_batches(said, ENTRIES_AT_ONCE)
    while (batch := await asyncio.to_thread(next, entries, None)) is not None:
        await connection.execute(query("add_statement_entries"), statement_id, *batch)
    details = statement_rows.detail_batches(said, ENTRIES_AT_ONCE)
    while (batch := await asyncio.to_thread(next, details, None)) is not None:
        await connection.execute(query("add_entry_details"), statement_id, *batch)


def _to_account(row: asyncpg.Record) -> AccountAtBank:
    listed = row["listed"]
    return AccountAtBank(
        id=row["id"],
        bank=row["bank"],
        currency=row["currency"],
        number=row["account_number"],
        is_at_agent=row["is_at_agent"],
        listed=None if listed is None else msgspec.json.decode(listed, type=ListedBank),
    )
