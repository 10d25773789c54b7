"""Encodes whole columns as PostgreSQL array literals.

A batch is sent as parallel arrays. The driver encodes an array element by element, at a microsecond each; a
literal that the server parses costs a fifth of that. The literal is an ordinary parameter, and text of unknown
content is quoted (PostgreSQL manual, 8.15.2 Array Value Input).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date, datetime
    from uuid import UUID


def integers(values: Iterable[int]) -> str:
    """Encode numbers; None is not allowed."""
    return "{" + ",".join(map(str, values)) + "}"


def numbers(values: Iterable[int | None]) -> str:
    """Encode numbers. None is NULL."""
    return "{" + ",".join(["NULL" if value is None else str(value) for value in values]) + "}"


def uuids(values: Iterable[UUID]) -> str:
    """Encode identifiers; None is not allowed."""
    return "{" + ",".join([f"{value.int:032x}" for value in values]) + "}"


def booleans(values: Iterable[bool]) -> str:
    """Encode truth values."""
    return "{" + ",".join(["t" if value else "f" for value in values]) + "}"


def words(values: Iterable[str | None]) -> str:
    """Encode our own names (states, events, legs): lower-case letters and underscores only. None is NULL."""
    return "{" + ",".join([value or "NULL" for value in values]) + "}"


def texts(values: Iterable[str | None]) -> str:
    """Encode any text, with escapes where necessary. None is NULL."""
    column = list(values)
    if None not in column:
        # Usually nothing needs escaping, and one test of the whole column shows that.
        joined = '","'.join(cast("list[str]", column))
        if column and "\\" not in joined and joined.count('"') == 2 * (len(column) - 1):
            return '{"' + joined + '"}'
    quoted = [
        "NULL" if value is None else '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        for value in column
    ]
    return "{" + ",".join(quoted) + "}"


def octets(values: Iterable[bytes]) -> str:
    """Encode bytes in hexadecimal form."""
    digits = [value.hex() for value in values]
    return '{"\\\\x' + '","\\\\x'.join(digits) + '"}' if digits else "{}"


def instants(values: Iterable[datetime]) -> str:
    """Encode aware instants; repeated ones, as a batch has them, are formatted once."""
    written: list[str] = []
    last: datetime | None = None
    text = ""
    for value in values:
        if value != last:
            last, text = value, f'"{value.isoformat()}"'
        written.append(text)
    return "{" + ",".join(written) + "}"


def dates(values: Iterable[date | None]) -> str:
    """Encode dates. None is NULL."""
    return "{" + ",".join(["NULL" if day is None else day.isoformat() for day in values]) + "}"


def seconds(values: Iterable[float | None]) -> str:
    """Encode durations in seconds; infinity is allowed. None is NULL."""
    return "{" + ",".join([_second(value) for value in values]) + "}"


def _second(value: float | None) -> str:
    if value is None:
        return "NULL"
    return "Infinity" if math.isinf(value) else repr(value)
