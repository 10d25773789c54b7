"""CSV: a bank's own table of bookings, read with a mapping of its columns.

Promises: an unreadable row makes its account's statement unreadable, because a statement without one of its rows is
wrong; the file's other accounts are read. A table without rows is no statement.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Final

from settlement_engine.domain.money import MoneyError
from settlement_engine.domain.statements import (
    BalanceType,
    Entry,
    EntryStatus,
    FaultKind,
    Source,
    Statement,
    StatementAccount,
    StatementBalance,
    StatementFault,
    StatementReferences,
)
from settlement_engine.messages.errors import MessageError, quoted

if TYPE_CHECKING:
    from settlement_engine.messages.csv_mapping import Mapping

CSV_BYTES_MAX: Final = 64 * 1024 * 1024
ROWS_MAX: Final = 500_000
COLUMNS_MAX: Final = 200
ACCOUNTS_MAX: Final = 10_000


class _Row:
    """One row, with its cells by column name."""

    def __init__(self, number: int, cells: dict[str, str]) -> None:
        self.place = f"row {number}"
        self._cells = cells

    def text(self, column: str) -> str:
        """Return the cell of a column; empty where the mapping names no column."""
        return self._cells[column].strip() if column else ""


def read_csv(data: bytes, mapping: Mapping) -> tuple[list[Statement], list[StatementFault]]:
    """Read a table: one statement for each account, currency and statement number in it."""
    try:
        groups = _groups(data, mapping)
    except MessageError as error:
        return [], [StatementFault(FaultKind.UNREADABLE, error.place, error.reason)]
    statements: list[Statement] = []
    faults: list[StatementFault] = []
    for key, rows in groups.items():
        try:
            statements.append(_statement(key, rows, mapping))
        except MessageError as error:
            faults.append(StatementFault(FaultKind.UNREADABLE, error.place, error.reason))
    return statements, faults


_Key = tuple[str, str, str]


def _groups(data: bytes, mapping: Mapping) -> dict[_Key, list[_Row]]:
    columns, fixed = mapping.columns, mapping.account
    groups: dict[_Key, list[_Row]] = {}
    for row in _rows(data, mapping):
        key = (
            fixed.identifier or row.text(columns.account),
            fixed.currency or row.text(columns.currency),
            row.text(columns.statement),
        )
        if not key[0] or not key[1]:
            raise MessageError(row.place, "names no account or no currency")
        groups.setdefault(key, []).append(row)
        if len(groups) > ACCOUNTS_MAX:
            raise MessageError(row.place, f"there are more than {ACCOUNTS_MAX:,} statements")
    if not groups:
        raise MessageError("file", "has no row: a table without entries is no statement")
    return groups


def _rows(data: bytes, mapping: Mapping) -> list[_Row]:
    if len(data) > CSV_BYTES_MAX:
        raise MessageError("file", f"has more than {CSV_BYTES_MAX:,} bytes")
    try:
        text = data.decode("utf-8-sig" if mapping.encoding == "utf-8" else mapping.encoding)
    except (UnicodeDecodeError, LookupError):
        raise MessageError("file", f"is not {quoted(mapping.encoding)}") from None
    table = csv.reader(io.StringIO(text, newline=""), delimiter=mapping.delimiter, strict=True)
    header: list[str] | None = None
    rows: list[_Row] = []
    try:
        for cells in table:
            if table.line_num <= mapping.lines_before_header or not any(cells):
                continue
            if header is None:
                header = _header(cells, mapping)
                continue
            if len(cells) != len(header):
                place = f"row {table.line_num}"
                raise MessageError(place, f"has {len(cells)} cells, the header {len(header)}")
            rows.append(_Row(table.line_num, dict(zip(header, cells, strict=True))))
            if len(rows) > ROWS_MAX:
                raise MessageError("file", f"has more than {ROWS_MAX:,} rows")
    except csv.Error:
        raise MessageError(f"row {table.line_num}", "is not CSV: its quotes do not close") from None
    return rows


def _header(cells: list[str], mapping: Mapping) -> list[str]:
    names = [cell.strip() for cell in cells]
    if len(names) > COLUMNS_MAX:
        raise MessageError("header", f"has more than {COLUMNS_MAX} columns")
    for wanted in mapping.columns.named():
        if names.count(wanted) != 1:
            how = "has no column" if wanted not in names else "has more than one column"
            raise MessageError("header", f"{how} {quoted(wanted)}")
    return names


def _statement(key: _Key, rows: list[_Row], mapping: Mapping) -> Statement:
    identifier, currency, name = key
    ordered = rows[::-1] if mapping.newest_first else rows
    entries = tuple(_entry(row, at, currency, mapping) for at, row in enumerate(ordered, 1))
    days = [each.booking_date for each in entries if each.booking_date is not None]
    return Statement(
        source=Source.CSV,
        account=StatementAccount(identifier, "OTHER", currency, mapping.account.servicer),
        id=name,
        entries=entries,
        balances=_balances(ordered, entries, currency, mapping),
        begins=min(days, default=None),
        ends=max(days, default=None),
        place=rows[0].place,
    )


def _balances(
    rows: list[_Row], entries: tuple[Entry, ...], currency: str, mapping: Mapping
) -> tuple[StatementBalance, ...]:
    """Derive the opening and closing balances from the running balances of the first and last booked row."""
    column = mapping.columns.balance
    booked = [
        (row, entry)
        for row, entry in zip(rows, entries, strict=True)
        if column and entry.status is EntryStatus.BOOKED
    ]
    if not booked:
        return ()
    (first, first_entry), (last, last_entry) = booked[0], booked[-1]
    opening = _minor(first, column, currency, mapping) - first_entry.minor
    closing = _minor(last, column, currency, mapping)
    begins, ends = first_entry.booking_date, last_entry.booking_date
    assert begins is not None, "each row has a booking date"
    assert ends is not None, "each row has a booking date"
    return (
        StatementBalance(BalanceType.OPENING, opening, currency, begins),
        StatementBalance(BalanceType.CLOSING, closing, currency, ends),
    )


def _minor(row: _Row, column: str, currency: str, mapping: Mapping) -> int:
    try:
        return mapping.minor(row.text(column), currency)
    except MoneyError as error:
        raise MessageError(f"{row.place}, column {quoted(column)}", str(error)) from None


def _entry(row: _Row, number: int, currency: str, mapping: Mapping) -> Entry:
    columns = mapping.columns
    minor, is_reversal = _signed(row, currency, mapping)
    status = EntryStatus.BOOKED
    if mapping.statuses is not None:
        word = row.text(columns.status)
        if word in mapping.statuses.pending:
            status = EntryStatus.PENDING
        elif word not in mapping.statuses.booked:
            raise MessageError(row.place, f"{quoted(word)} is no status of the mapping")
    try:
        booked = mapping.day(row.text(columns.booking_date))
        valued = row.text(columns.value_date)
        value_date = mapping.day(valued) if valued else None
    except ValueError as error:
        raise MessageError(row.place, str(error)) from None
    return Entry(
        number=number,
        minor=minor,
        currency=currency,
        status=status,
        booking_date=booked,
        value_date=value_date,
        is_reversal=is_reversal,
        references=StatementReferences(
            end_to_end=row.text(columns.end_to_end),
            customer=row.text(columns.customer_reference),
            servicer=row.text(columns.servicer_reference),
        ),
        code=row.text(columns.code),
        text="\n".join(text for name in columns.text if (text := row.text(name))),
    )


def _signed(row: _Row, currency: str, mapping: Mapping) -> tuple[int, bool]:
    """Return the signed amount in minor units, and whether the entry is a reversal."""
    columns = mapping.columns
    if columns.debit:
        sides = [(name, row.text(name)) for name in (columns.debit, columns.credit)]
        filled = [(name, text) for name, text in sides if text]
        if len(filled) != 1:
            raise MessageError(row.place, "has an amount on both sides, or on none")
        minor = abs(_minor(row, filled[0][0], currency, mapping))
        return (-minor if filled[0][0] == columns.debit else minor), False
    minor = _minor(row, columns.amount, currency, mapping)
    if mapping.marks is None:
        return minor, False
    word = row.text(columns.mark)
    if minor < 0:
        raise MessageError(row.place, "has a sign beside its mark")
    if word in mapping.marks.credit:
        return minor, word in mapping.marks.reversal
    if word in mapping.marks.debit:
        return -minor, word in mapping.marks.reversal
    raise MessageError(row.place, f"{quoted(word)} is no mark of the mapping")
