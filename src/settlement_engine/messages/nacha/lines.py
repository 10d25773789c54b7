"""Splits a file's bytes into records of 94 characters, within limits; a fault names its position."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from settlement_engine.messages.errors import quoted
from settlement_engine.messages.nacha.columns import RECORD_COLUMNS
from settlement_engine.messages.nacha.faults import NachaError, Remark

FOREIGN: Final = re.compile(rb"[^\x20-\x7e\r\n]|\r(?!\n)")
"""A byte that no record may contain; lines end in LF or CR LF."""

REMARKS_MAX: Final = 100
"""At most so many remarks are kept for one file."""


class Bounds(msgspec.Struct, frozen=True):
    """The limits of a file's size. A larger file is refused before it is parsed."""

    bytes_max: int = 32 * 1024 * 1024
    lines_max: int = 350_000
    batches_max: int = 20_000
    entries_max: int = 200_000


def records(data: bytes, bounds: Bounds, remarks: list[Remark]) -> list[str]:
    """Return the records of a file; the n-th record is line n."""
    if len(data) > bounds.bytes_max:
        raise NachaError(f"the file has more than {bounds.bytes_max} bytes", line=1)
    foreign = FOREIGN.search(data)
    if foreign:
        raise _foreign(data, foreign.start())
    lines = _lines(data, bounds)
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise NachaError("the file is empty", line=1)
    return [_record(line, number, remarks) for number, line in enumerate(lines, start=1)]


def _foreign(data: bytes, at: int) -> NachaError:
    line = data.count(b"\n", 0, at) + 1
    column = at - (data.rfind(b"\n", 0, at) + 1) + 1
    shown = f"byte {data[at]:#04x} is not in the character set of the ACH"
    return NachaError(shown, line=line, first=column, last=column)


def _lines(data: bytes, bounds: Bounds) -> list[str]:
    """Split at line ends, or, in a file without any, after each 94 characters."""
    text = data.decode("ascii").rstrip("\r\n")
    separate = "\n" in text or len(text) % RECORD_COLUMNS != 0
    count = text.count("\n") + 1 if separate else len(text) // RECORD_COLUMNS
    if count > bounds.lines_max:
        raise NachaError(f"the file has more than {bounds.lines_max} lines", line=bounds.lines_max)
    if separate:
        return text.replace("\r\n", "\n").split("\n")
    return [text[at : at + RECORD_COLUMNS] for at in range(0, len(text), RECORD_COLUMNS)]


def _record(line: str, number: int, remarks: list[Remark]) -> str:
    if len(line) == RECORD_COLUMNS:
        return line
    beyond = line[RECORD_COLUMNS:]
    if beyond.strip():
        first = RECORD_COLUMNS + 1
        reason = f"the record is longer than 94 columns: {quoted(beyond)}"
        raise NachaError(reason, line=number, first=first, last=len(line))
    remark(
        remarks, number, f"the record has {len(line)} columns; the blanks at its end do not count"
    )
    return line[:RECORD_COLUMNS].ljust(RECORD_COLUMNS)


def remark(remarks: list[Remark], line: int, reason: str) -> None:
    """Add a remark, up to the limit."""
    if len(remarks) < REMARKS_MAX:
        remarks.append(Remark(line, reason))
