"""Parses XML from outside once, within limits.

Promises: no DTD, no entities, no network access; a message that is too large, too deep or has too much markup is
refused before or during parsing, at a limited cost. A fault names its line.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from lxml import etree

from settlement_engine.messages.errors import MessageError, quoted

if TYPE_CHECKING:
    from lxml.etree import _Element

MESSAGE_BYTES_MAX: Final = 8 * 1024 * 1024
MARKUP_MAX: Final = 400_000
"""The most tags and attributes: each takes more memory than its bytes show."""

TAGS_MAX: Final = 2_000
"""The most different start tags of one message; the longest of the standard has about five hundred."""

TAG_BYTES_MAX: Final = 2_000
TAGS_KEPT_MAX: Final = 50_000
"""The most different start tags over a process's lifetime: libxml2 keeps each name for ever, and parses nothing
more when its dictionary is full. Beyond this limit a message with an unknown tag is refused."""

PROLOG_PARTS_MAX: Final = 100
_SLICE_BYTES: Final = 64 * 1024

_ENCODINGS: Final = frozenset(
    {"utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "iso-8859-15", "latin1", "windows-1252"}
)
"""Encodings that write markup as ASCII does, so that a search of the bytes finds it."""

_DECLARATION: Final = re.compile(
    rb"""<\?xml\s[^>]*?encoding\s*=\s*["']([^"'>]{0,40})["'][^>]*\?>"""
)
_BOM: Final = b"\xef\xbb\xbf"


def parse(
    data: bytes, *, bytes_max: int = MESSAGE_BYTES_MAX, markup_max: int = MARKUP_MAX
) -> _Element:
    """Parse a message. Raises MessageError."""
    if len(data) > bytes_max:
        raise MessageError("message", f"has {len(data):,} bytes, and {bytes_max:,} is the most")
    markup = data.count(b"<") + data.count(b"=")
    if markup > 2 * markup_max:
        raise MessageError("message", f"has more than {markup_max:,} tags")
    body = data.removeprefix(_BOM)
    _check_prolog(body)
    _check_tags(body)
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=False,  # libxml2 then refuses nesting beyond 256
        recover=False,
        remove_comments=True,
        remove_pis=True,
        collect_ids=False,
    )
    try:
        return etree.fromstring(body, parser)
    except etree.XMLSyntaxError as error:
        line, column = error.position
        raise MessageError(f"line {line}, column {column}", f"is not XML: {error.msg}") from None
    except ValueError as error:
        raise MessageError("message", f"is not XML: {error}") from None


def _check_prolog(body: bytes) -> None:
    """Refuse a document type and unsupported encodings before anything is parsed."""
    start = body[:400]
    if start.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\x00" in start:
        raise MessageError("line 1", "is not UTF-8")
    declared = _DECLARATION.match(start)
    if declared is not None:
        encoding = declared[1].decode("ascii", "replace").strip().lower()
        if encoding not in _ENCODINGS:
            raise MessageError("line 1", f"the encoding {quoted(encoding)} is not read")
    position = 0
    for _ in range(PROLOG_PARTS_MAX):
        position = _after_space(body, position)
        if body.startswith(b"<?", position):
            end = body.find(b"?>", position)
        elif body.startswith(b"<!--", position):
            end = body.find(b"-->", position)
        elif body.startswith(b"<!", position):
            raise MessageError(_line(body, position), "a document type is refused")
        else:
            return
        if end < 0:
            raise MessageError(_line(body, position), "is not XML: what begins here has no end")
        position = end + 2
        if body.startswith(b">", position):
            position += 1
    raise MessageError("line 1", "has too much before its first element")


_START_TAG: Final = re.compile(rb"<([^<>/?!][^<>]*)")
_tags_kept: Final[set[bytes]] = set()


def _check_tags(body: bytes) -> None:
    """Limit the names that libxml2 keeps in memory after a message was parsed."""
    tags: set[bytes] = set()
    position = 0
    while position < len(body):
        end = body.find(b"<", position + _SLICE_BYTES)
        end = len(body) if end < 0 else end
        tags.update(_START_TAG.findall(body, position, end))
        position = end
        if len(tags) > TAGS_MAX:
            raise MessageError("message", f"has more than {TAGS_MAX:,} different tags")
    new = tags - _tags_kept
    if not new:
        return
    if max(map(len, new)) > TAG_BYTES_MAX:
        raise MessageError("message", f"has a tag of more than {TAG_BYTES_MAX:,} bytes")
    if len(_tags_kept) + len(new) > TAGS_KEPT_MAX:
        raise MessageError("message", "has tags that no message had, after too many such messages")
    _tags_kept.update(new)


_SPACE: Final = re.compile(rb"[ \t\r\n]*")


def _after_space(body: bytes, position: int) -> int:
    found = _SPACE.match(body, position)
    return found.end() if found is not None else position


def _line(body: bytes, position: int) -> str:
    number = body.count(b"\n", 0, position) + 1
    return f"line {number}"


def local(element: _Element) -> str:
    """Return an element's name without its namespace."""
    return str(element.tag).rpartition("}")[2]


def namespace(element: _Element) -> str:
    """Return an element's namespace; empty when it has none."""
    return str(element.tag).rpartition("}")[0].removeprefix("{")


def place_of(element: _Element, child: str = "") -> str:
    """Return an element's position: its path, with an index where there are several, and its line."""
    parts = [child] if child else []
    at: _Element | None = element
    while at is not None:
        parts.append(local(at) + _number(at))
        at = at.getparent()
    path = "/".join(reversed(parts))
    line: object = element.sourceline
    return f"{path} (line {line})" if line else path


def _number(element: _Element) -> str:
    parent = element.getparent()
    if parent is None:
        return ""
    alike = parent.findall(str(element.tag))
    return f"[{alike.index(element) + 1}]" if len(alike) > 1 else ""
