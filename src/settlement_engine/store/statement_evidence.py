"""What statements say about our payments, in PostgreSQL (``ports.EvidenceStore``).

A step is one transaction that holds the row of its statement: two engines search two statements, and what is found
is stored with its reports and with the place that was reached. Lookups and writes are one statement for a batch, and
read by key whatever the planner believes of tables that have grown just now: a step is bounded by its rows. What cannot
be read is set aside in the same transaction, and keeps no other row.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from settlement_engine.domain.closed_differences import NO_RULES, rules_of
from settlement_engine.domain.continuity import StatementOutcome
from settlement_engine.domain.mention_counts import evidence_in
from settlement_engine.domain.statement_evidence import (
    EntryRow,
    MentionedPayment,
    MentionKind,
    StatementPart,
    Told,
    UnreadRow,
    mentions_of,
)
from settlement_engine.domain.statements import END_OF_DAY, Source
from settlement_engine.errors import Broken, CorruptRecord
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
from settlement_engine.store.rows import UNREADABLE
from settlement_engine.store.statement_evidence_rows import evidence_columns, to_entry_row

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from uuid import UUID

    import asyncpg

    from settlement_engine.domain.matching.values import Rules
    from settlement_engine.domain.statement_evidence import Mention, PaymentEvidence
    from settlement_engine.store.database import Connection, DatabaseSettings

EVIDENCE_PLAN: Final = {**WRITERS_PLAN, "enable_sort": "off"}
"""A step reads a few rows by key, in the order of an index. Sorting would read a statement to its end for each step."""

TRY_AGAIN_SECONDS: Final = 300.0
"""What could not be read is tried again so much later."""

WHY_CHARACTERS_MAX: Final = 1_000
REST: Final = 0
"""The number of the entry that stands for the rest of a statement of which nothing can be read."""

DETAIL_MAX: Final = 2**31 - 1

_SOURCES: Final = sorted(source.value for source in END_OF_DAY)


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

    async def search_next(self, rows_max: int, rules: Rules = NO_RULES) -> Searched | None:
        """Search the next rows of a statement; see the port."""
        place: _Place | None = None
        try:
            async with self._writing.session() as connection, connection.transaction():
                place = await _next_place(connection)
                if place is None:
                    return None
                part = await _part_at(connection, place, rows_max)
                searched = await _search(connection, part, place.rules(rules))
                await _add_unread(connection, place.statement, part.unread)
                await _go_on(connection, place, part)
                return searched
        except (Broken, *UNREADABLE) as error:
            if place is None or rows_max > 1:  # fewer rows are tried first: the others go on
                raise _broken(error) from error
            return await self._set_aside(place, error)

    async def _set_aside(self, place: _Place, error: Exception) -> Searched:
        """Set the next row of a statement aside, whatever it is that the database refuses of it."""
        async with self._writing.session() as connection, connection.transaction():
            if await connection.fetchrow(query("hold_search_place"), *place.at) is None:
                return Searched(rows=0, found=0, news=0)  # another engine has gone on
            rows = await connection.fetch(query("unsearched_rows"), *place.at, 1)
            numbers = [(row["number"], row["detail_number"] or 0) for row in rows]
            unread = tuple(UnreadRow(*each, _why(error)) for each in numbers)
            unread = unread or (UnreadRow(REST, 0, _why(error)),)
            await _add_unread(connection, place.statement, unread)
            if numbers:
                await connection.execute(query("note_searched"), place.statement, *numbers[0])
        return Searched(rows=1, found=0, news=0, unread=unread, statement=place.statement)

    async def search_unread(self, rules: Rules = NO_RULES) -> Searched | None:
        """Try a row again that could not be read; see the port."""
        place: _Place | None = None
        key = (REST, 0)
        try:
            async with self._writing.session() as connection, connection.transaction():
                row = await connection.fetchrow(query("unread_entry"), TRY_AGAIN_SECONDS)
                if row is None:
                    return None
                key = (row["entry_number"], row["detail_number"])
                place = _place_of(row, *_before(*key))
                part = await _part_at(connection, place, 1)
                unread = tuple(UnreadRow(*key, each.why) for each in part.unread)
                searched = await _search(connection, part, place.rules(rules))
                await _add_unread(connection, place.statement, unread)
                if not unread:
                    await connection.execute(query("forget_unread_entry"), place.statement, *key)
                return searched._replace(unread=unread)
        except (Broken, *UNREADABLE) as error:
            if place is None:
                raise _broken(error) from error
            refused = (UnreadRow(*key, _why(error)),)
            async with self._writing.session() as connection:
                await _add_unread(connection, place.statement, refused)
            return Searched(rows=1, found=0, news=0, unread=refused, statement=place.statement)

    async def unread_count(self) -> int:
        """Count what is set aside; see the port."""
        row = await self._writing.fetchrow("unread_entry_count")
        return 0 if row is None else int(row["entries"])

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


class _Place(NamedTuple):
    """A statement, and the place in it behind which it is searched."""

    statement: int
    account_id: int
    source: str
    outcome: str
    file_sha256: str
    bank: str
    currency: str
    after_entry: int
    after_detail: int

    @property
    def at(self) -> tuple[int, int, int]:
        """The arguments of a query for the rows behind the place."""
        return self.statement, self.after_entry, self.after_detail

    def rules(self, every: Rules) -> Rules:
        """Return the rules of matching for the statement's account."""
        return rules_of(every, self.bank, self.currency)


def _place_of(row: asyncpg.Record, after_entry: int, after_detail: int) -> _Place:
    said = (row["statement_id"], row["account_id"], row["source"], row["outcome"])
    of = (row["file_sha256"], row["bank"], row["currency"])
    return _Place(*said, *of, after_entry, after_detail)


def _before(entry: int, detail: int) -> tuple[int, int]:
    """Return the place behind which a row is the next one."""
    return (entry, detail - 1) if detail else (entry - 1, DETAIL_MAX)


async def _next_place(connection: Connection) -> _Place | None:
    """Hold the next statement until the transaction ends."""
    row = await connection.fetchrow(query("unsearched_statement"), TRY_AGAIN_SECONDS)
    return None if row is None else _place_of(row, row["after_entry"], row["after_detail"])


async def _part_at(connection: Connection, place: _Place, rows_max: int) -> StatementPart:
    """Read the rows behind a place; one that cannot be read is named, and the others are there."""
    source, outcome, why = _kind_of(place)
    rows = () if why else await connection.fetch(query("unsearched_rows"), *place.at, rows_max)
    found: list[EntryRow] = []
    unread: list[UnreadRow] = [UnreadRow(REST, 0, why)] if why else []
    for row in rows:
        try:
            found.append(to_entry_row(row))
        except UNREADABLE as error:
            unread.append(UnreadRow(row["number"], row["detail_number"] or 0, _why(error)))
    return StatementPart(
        statement=place.statement,
        account_id=place.account_id,
        source=source,
        outcome=outcome,
        file_sha256=place.file_sha256,
        rows=tuple(found),
        unread=tuple(unread),
        is_last=not why and len(rows) < rows_max,
    )


def _kind_of(place: _Place) -> tuple[Source, StatementOutcome, str]:
    """Return a statement's source and outcome, or why this program cannot read them."""
    try:
        return Source(place.source), StatementOutcome(place.outcome), ""
    except UNREADABLE as error:
        return Source.CAMT053, StatementOutcome.UNREADABLE, _why(error)


def _broken(error: Exception) -> Broken:
    """Return the error as one of ours."""
    if isinstance(error, Broken):
        return error
    return CorruptRecord("entries of a statement cannot be searched", why=_why(error))


def _why(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:WHY_CHARACTERS_MAX]


async def _search(connection: Connection, part: StatementPart, rules: Rules) -> Searched:
    """Store what is found in a part."""
    mentions = mentions_of(part.rows)
    payments = await _payments(connection, part.account_id, mentions)
    told = await _told(connection, {each.settlement_id for each in payments.values()})
    found = evidence_in(part, mentions, payments, told, rules)
    news = [each for each in found if each.is_news]
    await _write(connection, part, found, news)
    rows = len(part.rows) + len(part.unread)
    return Searched(
        rows=rows, found=len(found), news=len(news), unread=part.unread, statement=part.statement
    )


async def _add_unread(connection: Connection, statement: int, unread: Sequence[UnreadRow]) -> None:
    if not unread:
        return
    await connection.execute(
        query("add_unread_entries"),
        statement,
        [each.entry for each in unread],
        [each.detail for each in unread],
        [each.why for each in unread],
    )


async def _go_on(connection: Connection, place: _Place, part: StatementPart) -> None:
    """Note the place that was reached; a statement of which nothing could be read stays where it is."""
    if any(each.entry == REST for each in part.unread):
        return
    await connection.execute(query("forget_unread_entry"), place.statement, REST, 0)
    if part.is_last:
        await connection.execute(query("end_search"), part.statement)
    else:
        await connection.execute(query("note_searched"), part.statement, *part.place())


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
            set_aside=row["set_aside"],
            is_told=row["is_told"],
        )
        for row in rows
    ]


async def _write(
    connection: Connection,
    part: StatementPart,
    found: Sequence[PaymentEvidence],
    news: Sequence[PaymentEvidence],
) -> None:
    """Store what was found, and the reports of the news."""
    if found:
        await connection.execute(
            query("add_statement_evidence"), part.statement, *evidence_columns(found)
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
