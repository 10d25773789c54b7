"""From bytes to a message of protobuf; what cannot be read is refused with the name of the field.

The library says only that the bytes are wrong. So that a caller can mend them, the broken bytes, and only
those, are looked through once more here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar, cast

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

from settlement_engine.errors import InvalidInstruction

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor

MessageT = TypeVar("MessageT", bound=Message)

BODY: Final = "body"
"""The name of the message as a whole."""

_DEPTH_MAX: Final = 8
_VARINT_BYTES_MAX: Final = 10
_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5
_UNREADABLE: Final = "is not a protobuf message of this call"


class _Broken(Exception):
    """The bytes end too early, or cannot be of this form."""


class _Part(NamedTuple):
    number: int
    content: bytes | None


def read_proto(data: bytes, kind: type[MessageT]) -> MessageT:
    """Read a message. Raises InvalidInstruction."""
    try:
        return kind.FromString(data)
    except DecodeError:
        try:
            found = _text_that_is_none(data, cast("Descriptor", kind.DESCRIPTOR), "", 0)
        except _Broken:
            found = None
    description = "is not valid UTF-8" if found else f"{_UNREADABLE}: {kind.DESCRIPTOR.full_name}"
    raise InvalidInstruction([(found or BODY, description)])


def _text_that_is_none(data: bytes, kind: Descriptor, path: str, depth: int) -> str | None:
    """Find the text field that is not UTF-8."""
    counts: dict[int, int] = {}
    for number, content in _parts(data):
        field = kind.fields_by_number.get(number)
        if field is None or content is None or depth >= _DEPTH_MAX:
            continue
        name = f"{path}{field.name}"
        if field.type == FieldDescriptor.TYPE_STRING and not _is_text(content):
            return name
        if field.message_type is not None:
            if field.is_repeated and not field.message_type.GetOptions().map_entry:
                name += f"[{counts.get(number, 0)}]"
                counts[number] = counts.get(number, 0) + 1
            found = _text_that_is_none(content, field.message_type, f"{name}.", depth + 1)
            if found is not None:
                return found
    return None


def _is_text(content: bytes) -> bool:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _parts(data: bytes) -> list[_Part]:
    """Take a message apart into its fields."""
    parts: list[_Part] = []
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        content = None
        form = tag & 7
        if form == _VARINT:
            _, at = _varint(data, at)
        elif form == _LENGTH:
            length, at = _varint(data, at)
            content = data[at : at + length]
            at += length
        elif form in (_EIGHT_BYTES, _FOUR_BYTES):
            at += 8 if form == _EIGHT_BYTES else 4
        else:
            raise _Broken
        if at > len(data):
            raise _Broken
        parts.append(_Part(tag >> 3, content))
    return parts


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Read a number of variable length; return it and where it ends."""
    number = 0
    for place in range(_VARINT_BYTES_MAX):
        if at + place >= len(data):
            raise _Broken
        byte = data[at + place]
        number |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:  # noqa: PLR2004 - the last byte has no continuation bit
            return number, at + place + 1
    raise _Broken
