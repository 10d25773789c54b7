"""Any message: recognised by its first bytes, and read.

Promises: bytes that no reader recognises are a MessageError. Only the reader that recognises a format reads it,
so that a fault is described in the terms of that format.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from settlement_engine.messages.envelope import opened
from settlement_engine.messages.errors import MessageError, quoted
from settlement_engine.messages.findings import RuleFinding, odd_about
from settlement_engine.messages.head import Head  # noqa: TC001 -- a struct's field
from settlement_engine.messages.nacha.reading import read_file
from settlement_engine.messages.statements import is_statement_file, read_statements
from settlement_engine.messages.summary import said_by

if TYPE_CHECKING:
    from collections.abc import Callable

    from settlement_engine.messages.csv_mapping import Mapping

_SHOWN_BYTES: Final = 20


class Recognised(msgspec.Struct, frozen=True, kw_only=True):
    """A message that was read: its kind and version, its content in sentences, and its oddities."""

    kind: str
    version: str
    head: Head | None = None
    content: Any
    says: tuple[str, ...]
    odd: tuple[RuleFinding, ...] = ()
    unread: tuple[RuleFinding, ...] = ()
    """What is in the same file and could not be read."""


def _is_xml(data: bytes) -> bool:
    return data[:200].removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<")


def _read_xml(data: bytes) -> Recognised:
    message = opened(data)
    return Recognised(
        kind=message.kind,
        version=message.definition[-2:],
        head=message.head,
        content=message.content,
        says=tuple(said_by(message.content)),
        odd=tuple(odd_about(message)),
    )


def _is_nacha(data: bytes) -> bool:
    """Recognise the beginning of a file header, or its record lengths."""
    return data.startswith(b"101") or (data[:1] == b"1" and data[34:40] == b"094101")


def _read_nacha(data: bytes) -> Recognised:
    file = read_file(data)
    return Recognised(
        kind="nacha",
        version="1",
        content=file,
        says=tuple(said_by(file)),
        odd=tuple(
            RuleFinding(f"line {each.line}", each.reason, is_fault=False) for each in file.remarks
        ),
    )


def read_statement_file(data: bytes, mapping: Mapping | None = None) -> Recognised:
    """Read a file of statements. Raises MessageError when no statement in it can be read."""
    file = read_statements(data, mapping)
    if not file.statements:
        raise MessageError(file.faults[0].place, file.faults[0].reason)
    first = file.statements[0]
    return Recognised(
        kind=first.source.value,
        version=first.version.rpartition(".")[2] or "1",
        content=file,
        says=tuple(said_by(file)),
        unread=tuple(RuleFinding(each.place, each.reason, is_fault=True) for each in file.faults),
    )


READERS: Final[tuple[tuple[Callable[[bytes], bool], Callable[[bytes], Recognised]], ...]] = (
    (is_statement_file, read_statement_file),
    (_is_xml, _read_xml),
    (_is_nacha, _read_nacha),
)
"""How each format is recognised and read; the first reader that recognises the bytes is used."""


def recognised(data: bytes) -> Recognised:
    """Read a message of any format. Raises MessageError."""
    for recognises, read in READERS:
        if recognises(data):
            return read(data)
    start = quoted(data[:_SHOWN_BYTES].decode("ascii", "replace"))
    raise MessageError("byte 1", f"{start} begins no message of a format that is read")
