"""Statements as rows: what is written of a statement, its entries and their details, and how rows are read.

PostgreSQL's text has no character NUL: it is written as U+FFFD. The content's hash is that of the original text,
and the bytes of the file are kept.
"""

from __future__ import annotations

import itertools
import re
from contextlib import contextmanager
from datetime import date
from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.domain.statement_chain import StatementHead
from settlement_engine.domain.statement_import import ImportedStatement, hash_of_key
from settlement_engine.domain.statements import (
    Entry,
    EntryDetail,
    EntryStatus,
    Source,
    Statement,
    StatementReferences,
    entry_identities,
)
from settlement_engine.errors import CorruptRecord
from settlement_engine.store import arrays
from settlement_engine.store.rows import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    import asyncpg

    from settlement_engine.domain.statement_import import FoundStatement

_NUL: Final = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")
_REFERENCES: Final = msgspec.json.Decoder(StatementReferences)
_NAMES: Final = StatementReferences.__struct_fields__
_DETAILS: Final = msgspec.json.Decoder(tuple[EntryDetail, ...])


def _text(text: str) -> str:
    return text.replace("\x00", "\ufffd")


def _json(value: object) -> str:
    text = msgspec.json.encode(value).decode()
    return _NUL.sub(r"\1\\ufffd", text) if "\\u0000" in text else text


def _references(given: StatementReferences) -> str:
    """Write the references that are given: most entries have two of ten."""
    return _json({name: text for name in _NAMES if (text := getattr(given, name))})


def statement_row(
    found: FoundStatement, result: ImportedStatement, *, is_kept: bool
) -> tuple[object, ...]:
    """Return the columns of a statement in the order of ``add_statement``."""
    said = found.found
    common = (found.file_sha256, _text(result.place), result.outcome, _text(result.reason), is_kept)
    head = found.head
    if not isinstance(said, Statement) or head is None:
        nothing = (None, None, "", "", "", "", None, None, None, "", None, None)
        balances = (None, False, None, False, 0, False, 0)
        return (*common, *nothing, *balances, None, None, None, None, found.who)
    return (
        *common,
        result.account_id,
        said.source.value,
        _text(said.account.identifier),
        _text(said.account.servicer),
        said.account.currency,
        _text(said.id),
        said.sequence,
        said.page,
        said.is_last_page,
        _text(said.created),
        head.begins,
        head.ends,
        head.opening_minor,
        head.opening_is_final,
        head.closing_minor,
        head.closing_is_final,
        head.booked_minor,
        head.totals_differ,
        len(said.entries),
        bytes.fromhex(head.content_hash),
        hash_of_key(head.identity()),
        hash_of_key(head.period()),
        _json(msgspec.structs.replace(said, entries=())),
        found.who,
    )


def entry_batches(said: Statement, at_once: int) -> Iterator[tuple[str, ...]]:
    """Yield the entries as columns in the order of ``add_statement_entries``."""
    pairs = zip(said.entries, entry_identities(said), strict=True)
    while batch := list(itertools.islice(pairs, at_once)):
        entries = [entry for entry, _ in batch]
        yield (
            arrays.integers(each.number for each in entries),
            arrays.integers(each.minor for each in entries),
            arrays.texts(each.currency for each in entries),
            arrays.texts(each.status.value for each in entries),
            arrays.dates(each.booking_date for each in entries),
            arrays.dates(each.value_date for each in entries),
            arrays.booleans(each.is_reversal for each in entries),
            arrays.texts(_text(each.code) for each in entries),
            arrays.texts(_text(each.text) for each in entries),
            arrays.texts(_references(each.references) for each in entries),
            arrays.booleans(each.details_differ for each in entries),
            arrays.octets(bytes.fromhex(key) for _, (key, _) in batch),
            arrays.integers(occurrence for _, (_, occurrence) in batch),
        )


def detail_batches(said: Statement, at_once: int) -> Iterator[tuple[str, ...]]:
    """Yield the details of all entries as columns in the order of ``add_entry_details``."""
    numbered = (
        (entry.number, number, detail)
        for entry in said.entries
        for number, detail in enumerate(entry.details, 1)
    )
    while batch := list(itertools.islice(numbered, at_once)):
        yield (
            arrays.integers(entry for entry, _, _ in batch),
            arrays.integers(number for _, number, _ in batch),
            arrays.numbers(each.minor for _, _, each in batch),
            arrays.integers(each.charges_minor for _, _, each in batch),
            arrays.texts(_text(each.text) for _, _, each in batch),
            arrays.texts(_references(each.references) for _, _, each in batch),
        )


def to_head(row: asyncpg.Record) -> StatementHead:
    """Build the head of a kept statement. Raises CorruptRecord if this program cannot read it."""
    with readable("the head of a statement"):
        return _head(row)


@contextmanager
def readable(what: str) -> Iterator[None]:
    """Raise CorruptRecord for what this program cannot read of a statement."""
    try:
        yield
    except UNREADABLE as error:
        why = f"{type(error).__name__}: {error}"
        todo = "Use the version of the program that has written it, or a later one."
        raise CorruptRecord(f"{what} cannot be read", why=why, todo=todo) from error


def _head(row: asyncpg.Record) -> StatementHead:
    return StatementHead(
        content_hash=row["content_hash"].hex(),
        source=Source(row["source"]),
        id=row["bank_statement_id"],
        sequence=row["sequence"],
        page=row["page"],
        is_last_page=row["is_last_page"],
        created=row["created"],
        begins=row["begins"],
        ends=row["ends"],
        opening_minor=row["opening_minor"],
        opening_is_final=row["opening_is_final"],
        closing_minor=row["closing_minor"],
        closing_is_final=row["closing_is_final"],
        booked_minor=int(row["booked_minor"]),
        totals_differ=row["totals_differ"],
        is_set_aside=row["is_set_aside"],
    )


def to_imported(row: asyncpg.Record) -> ImportedStatement:
    """Build a statement with its outcome."""
    return ImportedStatement(
        outcome=row["outcome"],
        reason=row["reason"],
        place=row["place"],
        file_sha256=row["file_sha256"],
        file_name=row["file_name"],
        id=row["id"],
        account_id=row["account_id"],
        source=row["source"] or "",
        identifier=row["identifier"],
        servicer=row["servicer"],
        currency=row["currency"],
        bank_statement_id=row["bank_statement_id"],
        sequence=row["sequence"],
        page=row["page"],
        created=row["created"],
        begins=_day(row["begins"]),
        day=_day(row["ends"]),
        opening_minor=row["opening_minor"],
        closing_minor=row["closing_minor"],
        entries=row["entries"],
        who=row["imported_by"],
        at=row["imported_at"],
        is_set_aside=row["is_set_aside"],
    )


def _day(day: date | None) -> date | None:
    return None if day == date.min else day


def to_entry(row: asyncpg.Record) -> Entry:
    """Build an entry with its first details."""
    return Entry(
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
        details=_DETAILS.decode(row["details"]),
        details_differ=row["details_differ"],
    )
