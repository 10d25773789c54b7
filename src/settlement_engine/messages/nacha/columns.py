"""How a record of 94 columns is described, read and written: one table for both directions.

A layout names every column from 1 to 94 exactly once. No other code knows the position of a field, and a faulty
field is reported with the columns from its layout.
"""

from __future__ import annotations

import re
from datetime import date
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

from settlement_engine.messages.errors import MessageError, quoted
from settlement_engine.messages.nacha.characters import OUTSIDE
from settlement_engine.messages.nacha.faults import NachaError

if TYPE_CHECKING:
    from collections.abc import Mapping

RECORD_COLUMNS: Final = 94

_DIGITS: Final = re.compile(r"[0-9]+", re.ASCII)

Value = str | int | date | None
Values = dict[str, Value]


class ColumnForm(Enum):
    """What a field may contain, and how it is read."""

    TEXT = "text in the character set of the ACH, to the left, filled with blanks"
    DIGITS = "digits, as many as there are columns"
    DIGITS_OR_BLANK = "digits, as many as there are columns, or nothing"
    NUMBER = "a number, filled with zeros from the left"
    DATE = "year, month and day with two digits each, or nothing"
    FIXED = "always the same text"
    RESERVED = "blanks; what a sender put there is not looked at"


class Column(NamedTuple):
    """One field: its name, its first and last column (from 1), its form, and its text if that is fixed."""

    name: str
    first: int
    last: int
    form: ColumnForm
    fixed: str = ""

    @property
    def width(self) -> int:
        """The number of its columns."""
        return self.last - self.first + 1


class Layout(NamedTuple):
    """All fields of one kind of record."""

    title: str
    columns: tuple[Column, ...]

    def column(self, name: str) -> Column:
        """Find a field by its name."""
        return next(column for column in self.columns if column.name == name)


def layout(title: str, *columns: Column) -> Layout:
    """Define a record's layout; a gap or an overlap is a programming error."""
    free = 1
    for column in columns:
        assert column.first == free, f"{title}: column {free} belongs to no field, or to two"
        assert column.last >= column.first
        assert column.form is not ColumnForm.FIXED or len(column.fixed) == column.width
        free = column.last + 1
    assert free == RECORD_COLUMNS + 1, f"{title}: ends before column {RECORD_COLUMNS}"
    return Layout(title, columns)


def read(described: Layout, record: str, line: int) -> Values:
    """Read a record of 94 characters into its named fields."""
    values: Values = {}
    for column in described.columns:
        name, first, last, form, fixed = column
        text = record[first - 1 : last]
        if form is ColumnForm.TEXT:
            values[name] = text.rstrip()
        elif form is ColumnForm.FIXED:
            if text != fixed:
                raise _fault(described, column, line, f"must be {fixed!r}, not {quoted(text)}")
        elif form is not ColumnForm.RESERVED:
            values[name] = _read_number(described, column, text, line)
    return values


def _read_number(described: Layout, column: Column, text: str, line: int) -> Value:
    form = column.form
    if form is ColumnForm.DATE:
        return _read_date(described, column, text, line)
    if form is ColumnForm.DIGITS_OR_BLANK and not text.strip():
        return ""
    if not _DIGITS.fullmatch(text):
        raise _fault(described, column, line, f"must be digits, not {quoted(text)}")
    return int(text) if form is ColumnForm.NUMBER else text


def _read_date(described: Layout, column: Column, text: str, line: int) -> date | None:
    if not text.strip(" 0"):
        return None
    if _DIGITS.fullmatch(text):
        try:
            return date(2000 + int(text[:2]), int(text[2:4]), int(text[4:6]))
        except ValueError:
            pass
    raise _fault(described, column, line, f"must be a date (YYMMDD), not {quoted(text)}")


def _fault(described: Layout, column: Column, line: int, reason: str) -> NachaError:
    reason = f"{described.title}, {column.name}: {reason}"
    return NachaError(reason, line=line, first=column.first, last=column.last)


def write(described: Layout, values: Mapping[str, Value]) -> str:
    """Write the named fields as a record of 94 characters; nothing is truncated or left out."""
    parts = []
    for column in described.columns:
        if column.form is ColumnForm.FIXED:
            parts.append(column.fixed)
        elif column.form is ColumnForm.RESERVED:
            parts.append(" " * column.width)
        else:
            parts.append(_write_field(described, column, values[column.name]))
    return "".join(parts)


def _write_field(described: Layout, column: Column, value: Value) -> str:
    place = f"{described.title}, {column.name}"
    match column.form, value:
        case ColumnForm.TEXT, str() if not OUTSIDE.search(value):
            text = value.ljust(column.width)
        case ColumnForm.DIGITS, str() if _DIGITS.fullmatch(value):
            text = value
        case ColumnForm.DIGITS_OR_BLANK, str() if not value or _DIGITS.fullmatch(value):
            text = value or " " * column.width
        case ColumnForm.NUMBER, int() if value >= 0:
            text = str(value).rjust(column.width, "0")
        case ColumnForm.DATE, date():
            text = f"{value:%y%m%d}"
        case ColumnForm.DATE, None:
            text = " " * column.width
        case _:
            raise MessageError(place, f"must be {column.form.value}, not {quoted(str(value))}")
    if len(text) != column.width:
        shown = f"{quoted(text)} does not fit {column.width} columns"
        raise MessageError(place, shown)
    return text
