"""What statements say about our payments, in PostgreSQL (``ports.EvidenceStore``).

A step is one transaction that holds the row of its statement: two engines search two statements, and what is found
is stored with its reports and with the place that was reached. Lookups and writes are one statement for a batch, and
read by key whatever the planner believes of tables that have grown just now: a step is bounded by its rows.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.domain.continuity import StatementOutcome
from settlement_engine.domain.statement_evidence import (
    EntryRow,
    MentionedPayment,
    MentionKind,
    StatementPart,
    Told,
    evidence_in,
    mentions_of,
)
from settlement_engine.domain.statements import (
    END_OF_DAY,
    Entry,
    EntryDetail,
    EntryStatus,
    Source,
    StatementReferences,
)
from settlement_engine.ports import MessageSource
from settlement_engine.ports.statement_evidence import (
    STATEMENTS_RAIL,
    AbsentPayment,
    Searched,
    absence_of,
    message_of,
    report_of,
)
from settlement_engine.store.database import WRITERS_PLAN, DatabaseConnection
from settlement_engine.store.queries import query

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from uuid import UUID

    import asyncpg

    from settlement_engine.domain.statement_evidence import Mention, PaymentEvidence
    from settlement_engine.store.database import Connection, DatabaseSettings

EVIDENCE_PLAN: Final = {**WRITERS_PLAN, "enable_sort": "off"}
"""A step reads a few rows by key, in the order of an index. Sorting would read a statement to its end for each step."""

_SOURCES: Final = sorted(source.value for source in END_OF_DAY)
_REFERENCES: Final = msgspec.json.Decoder(StatementReferences)


class PostgresEvidence:
    """See ``ports.EvidenceStore``."""

    def __init__(self, settings: DatabaseSettings) -> None:
        # What is locked is waited for by nobody, and the loop of a busy engine may take long between two statements.
        patient = replace(
            settings, idle_in_transaction_timeout_seconds=settings.transaction_timeout_seconds
        )
        self._writing = DatabaseConnection(patient, EVIDENCE_PLAN, is_writing=True)

    async def close(self) -> None:
        """Close the connection."""
        await self._writing.close()

    async def search_next(self, rows_max: int) -> Searched | None:
        """Search the next rows of a statement; see the port."""
        async with self._writing.session() as connection, connection.transaction():
            part = await _next_part(connection, rows_max)
            if part is None:
                return None
            mentions = mentions_of(part.rows)
            payments = await _payments(connection, part.account_id, mentions)
            told = await _told(connection, {each.settlement_id for each in payments.values()})
            found = evidence_in(part, mentions, payments, told)
            news = [each for each in found if each.is_news]
            await _write(connection, part, found, news)
        return Searched(rows=len(part.rows), found=len(found), news=len(news))

    async def tell_absent(self, days: int, most: int) -> int:
        """Tell of completed payments that closed statements lack; see the port."""
        async with self._writing.session() as connection, connection.transaction():
            rows = await connection.fetch(query("absent_payments"), days, most, _SOURCES)
            if not rows:
                return 0
            absent = [
                AbsentPayment(row["settlement_id"], row["attempt"], row["statement_id"])
                for row in rows
            ]
            told = [absence_of(each) for each in absent]
            await connection.execute(
                query("add_absence_reports"),
                STATEMENTS_RAIL,
                MessageSource.STATEMENT.value,
                [message for message, _ in told],
                [msgspec.json.encode(report).decode() for _, report in told],
                [each.settlement_id for each in absent],
                [each.attempt for each in absent],
            )
        return len(absent)


async def _next_part(connection: Connection, rows_max: int) -> StatementPart | None:
    """Read the next rows, and hold their statement until the transaction ends."""
    place = await connection.fetchrow(query("unsearched_statement"))
    if place is None:
        return None
    at = (place["statement_id"], place["after_entry"], place["after_detail"])
    rows = await connection.fetch(query("unsearched_rows"), *at, rows_max)
    return StatementPart(
        statement=place["statement_id"],
        account_id=place["account_id"],
        source=Source(place["source"]),
        outcome=StatementOutcome(place["outcome"]),
        file_sha256=place["file_sha256"],
        rows=tuple(_to_row(row) for row in rows),
        is_last=len(rows) < rows_max,
    )


async def _payments(
    connection: Connection, account_id: int, mentions: Sequence[Mention]
) -> dict[int, MentionedPayment]:
    names = [each.names for each in mentions]
    columns = (
        *_named(each.uetrs for each in names),
        *_named(each.end_to_end_ids for each in names),
        # The message's name is used alone: its index is the slow one.
        *_named(() if each.is_indexed else each.message_ids for each in names),
        *_named(each.instruction_ids for each in names),
        *_named(each.traces for each in names),
    )
    if not any(columns):
        return {}
    rows = await connection.fetch(query("mentioned_payments"), *columns, account_id)
    return {
        row["place"]: MentionedPayment(
            settlement_id=row["settlement_id"],
            attempt=row["attempt"],
            amount_minor=row["amount_minor"],
            currency=row["currency"],
            has_moved=row["has_moved"],
        )
        for row in rows
    }


def _named(names: Iterable[Iterable[object]]) -> tuple[list[int], list[object]]:
    """Return one kind of name as two columns: the places of the mentions, and their names."""
    found = [(place, name) for place, each in enumerate(names) for name in each]
    return [place for place, _ in found], [name for _, name in found]


async def _told(connection: Connection, settlement_ids: set[UUID]) -> list[Told]:
    if not settlement_ids:
        return []
    rows = await connection.fetch(query("told_of_payments"), sorted(settlement_ids))
    return [
        Told(
            settlement_id=row["settlement_id"],
            kind=MentionKind(row["kind"]),
            amount_minor=row["amount_minor"],
            counted=row["counted"],
        )
        for row in rows
    ]


async def _write(
    connection: Connection,
    part: StatementPart,
    found: Sequence[PaymentEvidence],
    news: Sequence[PaymentEvidence],
) -> None:
    """Store what was found, the reports of the news, and the place that was reached."""
    if found:
        await connection.execute(
            query("add_statement_evidence"), part.statement, *_evidence_columns(found)
        )
    if news:
        await connection.execute(
            query("add_statement_reports"),
            STATEMENTS_RAIL,
            MessageSource.STATEMENT.value,
            f"statement {part.statement}",
            message_of(part, news),
            [msgspec.json.encode(report_of(each)).decode() for each in news],
            [each.payment.settlement_id for each in news],
            [each.payment.attempt for each in news],
        )
    if part.is_last:
        await connection.execute(query("end_search"), part.statement)
    else:
        await connection.execute(query("note_searched"), part.statement, *part.place())


def _evidence_columns(found: Sequence[PaymentEvidence]) -> tuple[list[object], ...]:
    return (
        [each.mention.entry for each in found],
        [each.mention.detail for each in found],
        [each.payment.settlement_id for each in found],
        [each.payment.attempt for each in found],
        [each.mention.kind.value for each in found],
        [each.found.says.value for each in found],
        [each.mention.amount_minor for each in found],
        [each.found.nth for each in found],
        [each.is_counted for each in found],
        [each.is_news for each in found],
    )


def _to_row(row: asyncpg.Record) -> EntryRow:
    entry = Entry(
        number=row["number"],
        minor=row["amount_minor"],
        currency=row["currency"],
        status=EntryStatus(row["status"]),
        booking_date=row["booking_date"],
        value_date=row["value_date"],
        is_reversal=row["is_reversal"],
        references=_REFERENCES.decode(row["refs"]),
        code=row["code"],
        text=row["text"],
        details_differ=row["details_differ"],
    )
    if row["detail_number"] is None:
        return EntryRow(entry=entry)
    detail = EntryDetail(
        references=_REFERENCES.decode(row["detail_refs"]),
        minor=row["detail_minor"],
        text=row["detail_text"],
        charges_minor=row["detail_charges_minor"],
    )
    return EntryRow(entry=entry, number=row["detail_number"], detail=detail, is_only=row["is_only"])
