"""The structure of MT statements: the blocks of a file, and the fields of a block, each with its line number.

Promises: one pass over the text; a block begins with field 20 and ends before the next one or at the line that
ends a message. Text outside all blocks that looks like a statement becomes a block without field 20, which is
then refused.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Final

import msgspec

from settlement_engine.messages.errors import MessageError, quoted

BLOCKS_MAX: Final = 20_000
"""The most statements of a file."""

FIELDS_MAX: Final = 400_000
"""The most fields of a block."""

ENTRY_DETAILS_CHARACTERS_MAX: Final = 20_000
"""The length of all fields 86 of an entry. The standard allows 390; banks send several thousand."""

HEADER_LINES_MAX: Final = 40
"""So many lines before a block are searched for the type of message."""

_FIELD: Final = re.compile(r":([0-9]{2}[A-Z]?|NS):", re.ASCII)
_MESSAGE_TYPE: Final = re.compile(r"\{2:[IO](9[0-9]{2})|^:?(9[0-9]{2})(?::| 00)?\s*$", re.ASCII)
_END: Final = re.compile(r"-\s*\Z|-\}")
_CURRENCY: Final = re.compile(r"[A-Z]{3}", re.ASCII)
_TRANSMISSION: Final = "\x00\x01\x02\x03\x04\x1a"
"""Control characters that begin and end a transmission."""
_SINGLE: Final = (
    *(("20",), ("25", "25P"), ("28C", "28"), ("60F", "60M"), ("62F", "62M"), ("64",)),
    *(("13D", "13"), ("21",)),
)
_OF_A_STATEMENT: Final = frozenset({"25", "25P", "28", "28C", "60F", "60M", "61", "62F", "62M"})
_LOST_ENTRY: Final = re.compile(
    r".{0,4}?[0-9]{6}(?:[0-9]{4})?[RE]?[DC][A-Z]?[0-9]{1,15},[0-9]{0,2}[NSF][A-Z0-9]{3}", re.ASCII
)
"""An entry whose tag was damaged: it would be read as text, and its amount would be lost."""

_KNOWN: Final = frozenset(
    {"12", "13", "13D", "20", "21", "25", "25P", "28", "28C", "34F", "60F", "60M", "61"}
    | {"62F", "62M", "64", "65", "86", "90C", "90D", "NS"}
)
_OF_AN_ENTRY: Final = frozenset({"61", "86", "NS"})
_CENTURY: Final = 2000


class Field(msgspec.Struct, frozen=True):
    """One field: its tag, its text up to the next field, and its line number."""

    tag: str
    text: str
    line: int


class Block(msgspec.Struct, frozen=True):
    """The fields of one statement, in their order."""

    number: int
    line: int
    message_type: str
    """``940``, ``942`` or ``950`` where a header before the block states it."""
    fields: tuple[Field, ...]

    @property
    def place(self) -> str:
        """The block's position."""
        return f"statement {self.number} (line {self.line})"

    def place_of(self, field: Field) -> str:
        """Return a field's position."""
        return f"statement {self.number}, field {field.tag} (line {field.line})"

    def first(self, *tags: str) -> Field | None:
        """Return the first field with one of these tags."""
        return next((field for field in self.fields if field.tag in tags), None)

    def required(self, *tags: str) -> Field:
        """Return a field that must exist and not be empty. Raises MessageError."""
        field = self.first(*tags)
        if field is None:
            raise MessageError(self.place, f"has no field {tags[0]}")
        if not field.text.strip():
            raise MessageError(self.place_of(field), "is empty")
        return field

    def check(self) -> None:
        """Refuse a block that is no statement, contains two, or exceeds the limits. Raises MessageError."""
        self.required("20")
        self.required("25", "25P")
        if len(self.fields) > FIELDS_MAX:
            raise MessageError(self.place, f"has more than {FIELDS_MAX:,} fields")
        seen: dict[str, int] = {}
        details = 0
        for field in self.fields:
            seen[field.tag] = seen.get(field.tag, 0) + 1
            details = details + len(field.text) + 1 if field.tag in _OF_AN_ENTRY else 0
            details = 0 if field.tag == "61" else details
            if details > ENTRY_DETAILS_CHARACTERS_MAX:
                reason = f"is longer than {ENTRY_DETAILS_CHARACTERS_MAX:,} characters"
                raise MessageError(self.place_of(field), reason)
            self._check_for_lost_entries(field)
        for tags in _SINGLE:
            if sum(seen.get(tag, 0) for tag in tags) > 1:
                raise MessageError(self.place, f"has field {tags[0]} more than once")

    def _check_for_lost_entries(self, field: Field) -> None:
        lines = field.text.split("\n")
        for line in lines if field.tag not in _KNOWN else lines[1:]:
            if _LOST_ENTRY.match(line) is not None:
                raise MessageError(self.place_of(field), "holds an entry whose tag is damaged")

    def details(self) -> list[str]:
        """Return the text of field 86 that follows each entry, in the entries' order."""
        found: list[list[str]] = []
        follows = False
        for field in self.fields:
            if field.tag == "61":
                found.append([])
                follows = True
            elif field.tag not in _OF_AN_ENTRY:
                follows = False
            elif field.tag == "86" and follows:
                found[-1].append(field.text.strip())
        return ["\n".join(each) for each in found]

    @property
    def information(self) -> str:
        """Return the text of field 86 after the balances, which belongs to the statement, not to an entry."""
        parts: list[str] = []
        of_entry = False
        for field in self.fields:
            if field.tag == "86" and not of_entry:
                parts.append(field.text.strip())
            of_entry = field.tag == "61" or (of_entry and field.tag in _OF_AN_ENTRY)
        return "\n".join(parts)

    def text_for_entries(self) -> str:
        """Return the block's text without what belongs to the statement as a whole."""
        lines: list[str] = []
        of_entry = False
        for field in self.fields:
            of_entry = field.tag == "61" or (of_entry and field.tag in _OF_AN_ENTRY)
            if of_entry or field.tag not in _OF_AN_ENTRY:
                lines.append(f":{field.tag}:{field.text}")
        return "\n".join(lines)


def blocks_of(data: bytes) -> list[Block]:
    """Split a file into its blocks, in one pass; ``check`` refuses blocks that are no statement."""
    splitter = _Splitter()
    for number, line in enumerate(_decode(data).split("\n"), 1):
        splitter.take(line.strip(_TRANSMISSION).rstrip(), number)
    return splitter.end()


def _decode(data: bytes) -> str:
    """Decode as UTF-8, else as Latin-1, which can decode every byte."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    return text.replace("\r\n", "\n").replace("\r", "\n")


class _Splitter:
    """Splits the lines of a file into blocks."""

    def __init__(self) -> None:
        self._blocks: list[Block] = []
        self._fields: list[tuple[str, list[str], int]] = []
        self._line = 0
        self._message_type = ""
        self._next_type = ""
        self._header_lines = 0

    def take(self, line: str, number: int) -> None:
        """Take the next line."""
        match = _FIELD.match(line)
        if match is None or self._is_text(match[1]):
            self._take_other(line)
            return
        tag, text = match[1], line[match.end() :]
        if tag == "20":
            self._close()
        if not self._fields:
            self._line, self._message_type, self._next_type = number, self._next_type, ""
        self._fields.append((tag, [text], number))

    def _is_text(self, tag: str) -> bool:
        """Return whether what looks like a field is an entry's text, such as a time after a line break."""
        inside = bool(self._fields) and self._fields[-1][0] in _OF_AN_ENTRY
        return inside and tag not in _KNOWN

    def _take_other(self, line: str) -> None:
        if self._fields and _END.match(line):
            self._close()
        elif self._fields:
            if line:
                self._fields[-1][1].append(line)
            return
        said = _MESSAGE_TYPE.search(line[:400])
        if said is not None:
            self._next_type = said[1] or said[2]

    def _close(self) -> None:
        fields = tuple(Field(tag, "\n".join(lines), at) for tag, lines, at in self._fields)
        self._fields = []
        if any(field.tag == "20" or field.tag in _OF_A_STATEMENT for field in fields):
            number = len(self._blocks) + 1
            self._blocks.append(Block(number, self._line, self._message_type, fields))

    def end(self) -> list[Block]:
        """Return the blocks after the last line."""
        self._close()
        return self._blocks


def currency_of(block: Block) -> str:
    """Return a block's currency: that of its balances, else of its floor limit. Raises MessageError."""
    for tags, start in ((("60F", "60M", "62F", "62M", "64"), 7), (("34F",), 0)):
        field = block.first(*tags)
        if field is not None:
            code = field.text[start : start + 3]
            if _CURRENCY.fullmatch(code) is None:
                raise MessageError(block.place_of(field), f"{quoted(code)} is no currency")
            return code
    account = block.required("25", "25P").text.split("\n", 1)[0].strip()
    match = re.search(r"[0-9]([A-Z]{3})\Z", account, re.ASCII)
    if match is None:
        raise MessageError(block.place, "names no currency")
    return match[1]


def date_of(block: Block, field: Field, text: str) -> date:
    """Read ``YYMMDD``. Raises MessageError."""
    try:
        return date(_CENTURY + int(text[:2]), int(text[2:4]), int(text[4:6]))
    except ValueError:
        raise MessageError(block.place_of(field), f"{quoted(text)} is no date") from None
