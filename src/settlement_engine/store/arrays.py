"""Whole columns as PostgreSQL array literals.

A batch crosses the wire as parallel arrays. The driver encodes an array element by element, at a
microsecond each; a literal that the server parses costs a fifth of that. The literal is a parameter like
any other, and what may hold foreign text is quoted (PostgreSQL manual, 8.15.2 Array Value Input).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date, datetime
    from uuid import UUID


def integers(values: Iterable[int]) -> str:
    """Write numbers, none of them missing."""
    return "{" + ",".join(map(str, values)) + "}"


def uuids(values: Iterable[UUID]) -> str:
    """Write identifiers, none of them missing."""
    return "{" + ",".join([value.hex for value in values]) + "}"


def booleans(values: Iterable[bool]) -> str:
    """Write truth values."""
    return "{" + ",".join(["t" if value else "f" for value in values]) + "}"


def words(values: Iterable[str | None]) -> str:
    """Write names of our own (states, events, legs): lower-case letters and underscores only."""
    return "{" + ",".join([value or "NULL" for value in values]) + "}"


def texts(values: Iterable[str | None]) -> str:
    """Write any text; what would end or change the literal is escaped. None is NULL."""
    quoted = [
        "NULL" if value is None else '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        for value in values
    ]
    return "{" + ",".join(quoted) + "}"


def octets(values: Iterable[bytes]) -> str:
    """Write bytes, in the server's hexadecimal form."""
    return "{" + ",".join([f'"\\\\x{value.hex()}"' for value in values]) + "}"


def instants(values: Iterable[datetime]) -> str:
    """Write aware instants."""
    return "{" + ",".join([f'"{value.isoformat()}"' for value in values]) + "}"


def dates(values: Iterable[date | None]) -> str:
    """Write days. None is NULL."""
    return "{" + ",".join(["NULL" if day is None else day.isoformat() for day in values]) + "}"


def seconds(values: Iterable[float | None]) -> str:
    """Write durations; infinity is one. None is NULL."""
    return "{" + ",".join([_second(value) for value in values]) + "}"


def _second(value: float | None) -> str:
    if value is None:
        return "NULL"
    return "Infinity" if math.isinf(value) else repr(value)
