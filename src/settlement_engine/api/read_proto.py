"""Reading of protobuf bytes into a message; a fault names the field.

The protobuf library decodes everything in one step, and reports only that the bytes are wrong. So values and
items are counted here before decoding, batches are decoded in parts, and only a faulty part is scanned again to
find the field. Every cost is linear in the number of bytes, within the limits of ``bounds.py``.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final, NoReturn, TypeVar, cast

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

from settlement_engine.api.bounds import (
    CALL_BYTES_MAX,
    DEPTH_MAX,
    KIBIBYTE,
    SINGLE,
    VALUES_MAX,
    ReadBounds,
)
from settlement_engine.api.turns import Steps, finish
from settlement_engine.errors import InvalidInstruction

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from google.protobuf.descriptor import Descriptor

MessageT = TypeVar("MessageT", bound=Message)

BODY: Final = "body"
"""The field name under which faults of the whole message are reported."""

AT_ONCE_BYTES_MAX: Final = 64 * KIBIBYTE
"""A larger message is read in slices (``turns.py``), each of at most so many bytes."""

YIELD_EVERY_ITEMS: Final = 1_000

_VALUE_BYTES_MIN: Final = 2
"""A value takes a tag and at least one more byte."""

_VARINT_BYTES_MAX: Final = 10
_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5
_UNREADABLE: Final = "is not a protobuf message of this call"
_NOT_TEXT: Final = "is not valid UTF-8"


class _Broken(Exception):
    """The bytes end too early, or are not valid protobuf."""


class _TooMany(Exception):
    """There are more values than the limit."""


def read_proto(data: bytes, kind: type[MessageT], bounds: ReadBounds = SINGLE) -> MessageT:
    """Read a message at once, without yielding to other calls. Raises InvalidInstruction."""
    if bounds.items_max is not None:
        return finish(reading_proto(data, kind, bounds))
    if len(data) > bounds.bytes_max:
        raise _refusal(BODY, f"has more than {bounds.bytes_max} bytes")
    descriptor = cast("Descriptor", kind.DESCRIPTOR)
    _require_few(data, 0, len(data), descriptor, BODY)
    try:
        return kind.FromString(data)
    except DecodeError:
        _explain(data, descriptor, "")


def reading_proto(data: bytes, kind: type[MessageT], bounds: ReadBounds) -> Steps[MessageT]:
    """Read a message, yielding between parts. Raises InvalidInstruction."""
    if bounds.items_max is None:
        return read_proto(data, kind, bounds)
    if len(data) > bounds.bytes_max:
        raise _refusal(BODY, f"has more than {bounds.bytes_max} bytes")
    steps = _read_batch(data, kind, bounds.items_max)
    if len(data) <= AT_ONCE_BYTES_MAX:
        return finish(steps)
    yield
    return (yield from steps)


def _read_batch(data: bytes, kind: type[MessageT], items_max: int) -> Steps[MessageT]:
    """Read a batch part by part."""
    descriptor = cast("Descriptor", kind.DESCRIPTOR)
    ends = yield from _item_ends(data, descriptor, items_max)
    message = kind()
    start, first = 0, 0
    for count, end in enumerate(ends, start=1):
        if end - start < AT_ONCE_BYTES_MAX and count < len(ends):
            continue
        try:
            message.MergeFromString(data[start:end])
        except DecodeError:
            starts = [start, *ends[first : count - 1]]
            for number, pair in enumerate(zip(starts, ends[first:count], strict=True), start=first):
                _require_readable(data[pair[0] : pair[1]], kind, number)
                yield
            raise _unreadable(descriptor) from None
        start, first = end, count
        yield
    return message


def _item_ends(data: bytes, kind: Descriptor, items_max: int) -> Steps[list[int]]:
    """Count a batch's items and each item's values without decoding; return the positions where items end."""
    [field] = [field for field in kind.fields if field.message_type is not None]
    ends: list[int] = []
    at, size = 0, len(data)
    while at < size:
        if len(ends) == items_max:
            raise _refusal(field.name, f"has more than {items_max} items")
        if len(ends) % YIELD_EVERY_ITEMS == YIELD_EVERY_ITEMS - 1:
            yield
        try:
            number, start, at = _next(data, at, size)
        except _Broken:
            raise _unreadable(kind) from None
        if number == field.number:
            if at - start > CALL_BYTES_MAX:
                description = f"has more than {CALL_BYTES_MAX} bytes"
                raise _refusal(f"{field.name}[{len(ends)}]", description)
            _require_few(data, start, at, field.message_type, f"{field.name}[{len(ends)}]")
        ends.append(at)
    return ends


def _require_few(data: bytes, at: int, end: int, kind: Descriptor | None, path: str) -> None:
    """Check the number of a message's values, unless it is too short to exceed the limit."""
    if end - at <= VALUES_MAX * _VALUE_BYTES_MIN or kind is None:
        return
    try:
        _count(data, at, end, kind, VALUES_MAX, DEPTH_MAX)
    except _TooMany:
        raise _refusal(path, f"has more than {VALUES_MAX} values") from None
    except _Broken:
        raise _unreadable(kind, path) from None


def _count(data: bytes, at: int, end: int, kind: Descriptor, left: int, depth: int) -> int:
    """Subtract the values of a message, and of those nested in it, from ``left``. Raises _Broken, _TooMany."""
    if depth == 0:
        raise _Broken
    messages = _messages(kind)
    while at < end:
        left -= 1
        if left < 0:
            raise _TooMany
        number, start, at = _next(data, at, end)
        inner = messages.get(number)
        if inner is not None:
            left = _count(data, start, at, inner, left, depth - 1)
    return left


@cache
def _messages(kind: Descriptor) -> Mapping[int, Descriptor]:
    """Map the numbers of the fields that are messages to their types."""
    pairs = ((field.number, field.message_type) for field in kind.fields)
    return {number: inner for number, inner in pairs if inner is not None}


# --- what is wrong ------------------------------------------------------------------------------------


def _refusal(path: str, description: str) -> InvalidInstruction:
    return InvalidInstruction([(path, description)])


def _unreadable(kind: Descriptor, path: str = BODY) -> InvalidInstruction:
    return _refusal(path, f"{_UNREADABLE}: {kind.full_name}")


def _require_readable(part: bytes, kind: type[MessageT], number: int) -> None:
    """Decode one item of a batch alone; raise the error that names its faulty field."""
    try:
        kind.FromString(part)
    except DecodeError:
        _explain(part, cast("Descriptor", kind.DESCRIPTOR), "", number)


def _explain(data: bytes, kind: Descriptor, path: str, number: int = 0) -> NoReturn:
    """Raise InvalidInstruction with the reason why the bytes cannot be decoded."""
    try:
        found = _text_that_is_none(data, kind, path, 0, number)
    except _Broken:
        found = None
    if found is not None:
        raise _refusal(found, _NOT_TEXT)
    raise _unreadable(kind)


def _text_that_is_none(
    data: bytes, kind: Descriptor, path: str, depth: int, first: int = 0
) -> str | None:
    """Return the text field that is not UTF-8; list elements are numbered from ``first``."""
    counts: dict[int, int] = {}
    for number, content in _parts(data):
        field = kind.fields_by_number.get(number)
        if field is None or content is None or depth >= DEPTH_MAX:
            continue
        name, kind_inside = f"{path}{field.name}", field.message_type
        is_map = kind_inside is not None and kind_inside.GetOptions().map_entry
        if field.is_repeated and not is_map:
            counts[number] = counts.get(number, first - 1) + 1
            name += f"[{counts[number]}]"
        if field.type == FieldDescriptor.TYPE_STRING and not _is_text(content):
            return name
        if kind_inside is not None:
            found = _text_that_is_none(content, kind_inside, f"{name}.", depth + 1)
            if found is not None:
                return found
    return None


def _is_text(content: bytes) -> bool:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


# --- the wire -----------------------------------------------------------------------------------------


def _parts(data: bytes) -> Iterator[tuple[int, bytes | None]]:
    """Yield a message's fields as (number, content); the content is None unless length-delimited."""
    at = 0
    while at < len(data):
        form = data[at] & 7
        number, start, at = _next(data, at, len(data))
        yield number, data[start:at] if form == _LENGTH else None


def _next(data: bytes, at: int, end: int) -> tuple[int, int, int]:
    """Read one field; return its number and the positions where its content begins and ends."""
    tag, at = _varint(data, at, end)
    form = tag & 7
    start = at
    if form == _LENGTH:
        length, start = _varint(data, at, end)
        at = start + length
    elif form == _VARINT:
        _, at = _varint(data, at, end)
    elif form in (_EIGHT_BYTES, _FOUR_BYTES):
        at += 8 if form == _EIGHT_BYTES else 4
    else:
        raise _Broken
    if at > end:
        raise _Broken
    return tag >> 3, start, at


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Read a varint; return its value and the position where it ends."""
    number = 0
    for index in range(_VARINT_BYTES_MAX):
        if at >= end:
            raise _Broken
        byte = data[at]
        at += 1
        if byte < 0x80:  # noqa: PLR2004 - the last byte has no continuation bit
            return number | byte << (7 * index), at
        number |= (byte & 0x7F) << (7 * index)
    raise _Broken
