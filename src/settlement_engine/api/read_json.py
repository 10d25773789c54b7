"""Strict reading of JSON into a message: an unknown, duplicate or mistyped field is refused by its name.

protobuf's ``json_format`` is too lenient for money: it accepts digits of other scripts and decimal numbers for
whole numbers, and describes the position of a mistake in prose. The requests of this engine need only texts,
whole numbers, flags, enums, bytes (in base64), maps of texts and lists of messages; no other type is supported.
Field names may be those of proto3 JSON (``fromBank``) or the original ones (``from_bank``).

Promises: every cost is linear in the number of bytes, within the limits of ``bounds.py``; batches are read
item by item, so that other calls proceed in between.
"""

from __future__ import annotations

import base64
import binascii
import re
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from settlement_engine.api.bounds import KIBIBYTE, SINGLE, ReadBounds
from settlement_engine.api.json_text import body, load, outline, shown, text_of
from settlement_engine.api.turns import Steps, finish
from settlement_engine.errors import InvalidInstruction

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.descriptor import Descriptor, EnumDescriptor

T = TypeVar("T")
MessageT = TypeVar("MessageT", bound=Message)

AT_ONCE_BYTES_MAX: Final = 16 * KIBIBYTE
"""A larger body is read in slices (``turns.py``)."""

VIOLATIONS_MAX: Final = 16
"""Reading stops after so many faults: a caller needs no more, and each costs time."""

_WHOLE: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,18})", re.ASCII)
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_RANGES: Final = {
    FieldDescriptor.TYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_INT64: (-(2**63), 2**63 - 1),
}


class _Wrong(Exception):
    """A value is not of its field's type."""


def read_json(data: bytes, kind: type[MessageT], bounds: ReadBounds = SINGLE) -> MessageT:
    """Read a message at once, without yielding to other calls. Raises InvalidInstruction."""
    return finish(reading_json(data, kind, bounds))


def reading_json(data: bytes, kind: type[MessageT], bounds: ReadBounds) -> Steps[MessageT]:
    """Read a message, yielding between items. Raises InvalidInstruction."""
    text = text_of(data, bounds.bytes_max)
    is_large = len(data) > AT_ONCE_BYTES_MAX
    if is_large:
        yield
    if bounds.items_max is not None and text:
        steps = _read_batch(text, kind, bounds.items_max)
        return (yield from steps) if is_large else finish(steps)
    loaded = load(text) if text else {}
    if not isinstance(loaded, dict):
        raise body("must be a JSON object")
    reader = _Reader()
    values = reader.message(loaded, cast("Descriptor", kind.DESCRIPTOR), "")
    reader.refuse()
    return kind(**values)


def _read_batch(text: str, kind: type[MessageT], items_max: int) -> Steps[MessageT]:
    """Read a batch: long lists of messages item by item, all other fields at once."""
    descriptor = cast("Descriptor", kind.DESCRIPTOR)
    fields = _fields(descriptor)
    members = yield from outline(text, items_max)
    message, reader = kind(), _Reader()
    others: dict[str, Any] = {}
    for name, span, elements in members:
        field = fields.get(name)
        if field is None or elements is None or not _is_list_of_messages(field):
            others[name] = load(text, span)
            continue
        others[name] = []  # so that the name counts as known, and as given once
        items = getattr(message, field.name)
        for index, element in enumerate(elements):
            values = reader.element(load(text, element), field, f"{field.name}[{index}]")
            if values is not None:
                items.add(**values)
            yield
    values = reader.message(others, descriptor, "")
    reader.refuse()
    message.MergeFrom(kind(**values))
    return message


def _is_list_of_messages(field: FieldDescriptor) -> bool:
    kind = field.message_type
    return bool(field.is_repeated) and kind is not None and not kind.GetOptions().map_entry


@cache
def _fields(kind: Descriptor) -> dict[str, FieldDescriptor]:
    """Map both spellings of every field name."""
    both = {field.json_name: field for field in kind.fields}
    return both | {field.name: field for field in kind.fields}


class _Reader:
    """Reads objects into the arguments of messages; faults are noted, and the faulty values left out."""

    def __init__(self) -> None:
        self._found: list[tuple[str, str]] = []

    def refuse(self) -> None:
        """Raise InvalidInstruction if there are faults."""
        if self._found:
            raise InvalidInstruction(self._found)

    def _note(self, path: str, description: str) -> None:
        """Note a fault; at the limit, stop reading."""
        self._found.append((path, description))
        if len(self._found) == VIOLATIONS_MAX:
            self.refuse()

    def element(self, value: object, field: FieldDescriptor, path: str) -> dict[str, Any] | None:
        """Read one message of a list; None if the value is not an object."""
        kind = field.message_type
        assert kind is not None, "the list is one of messages"
        try:
            return self.message(_checked(value, dict, "an object"), kind, f"{path}.")
        except _Wrong as error:
            self._note(path, str(error))
            return None

    def message(self, loaded: Mapping[str, object], kind: Descriptor, path: str) -> dict[str, Any]:
        """Read the fields of a message."""
        values: dict[str, Any] = {}
        fields = _fields(kind)
        for name, value in loaded.items():
            field = fields.get(name)
            if field is None:
                known = ", ".join(known.json_name for known in kind.fields)
                description = f"there is no such field in {kind.name}, which has: {known or 'none'}"
                self._note(path + shown(name), description)
            elif field.name in values:
                self._note(path + field.name, "is given twice, in both of its spellings")
            elif value is not None:
                self._try(values, field.name, value, field, path + field.name)
        return values

    def _try(
        self, into: dict[str, Any], name: str, value: object, field: FieldDescriptor, path: str
    ) -> None:
        try:
            into[name] = self._field(value, field, path)
        except _Wrong as error:
            self._note(path, str(error))

    def _field(self, value: object, field: FieldDescriptor, path: str) -> object:
        """Read one field; lists and maps element by element."""
        if not field.is_repeated:
            return self._value(value, field, path)
        kind = field.message_type
        if kind is not None and kind.GetOptions().map_entry:
            return self._map(value, kind.fields_by_name["value"], path)
        elements: list[object] = []
        for index, element in enumerate(_checked(value, list, "a list")):
            try:
                elements.append(self._value(element, field, f"{path}[{index}]"))
            except _Wrong as error:
                self._note(f"{path}[{index}]", str(error))
        return elements

    def _map(self, value: object, field: FieldDescriptor, path: str) -> dict[str, Any]:
        """Read a map whose keys are texts."""
        entries: dict[str, Any] = {}
        for name, element in _checked(value, dict, "an object").items():
            try:
                entries[_text(name)] = self._value(element, field, path)
            except _Wrong as error:
                self._note(f"{path}.{shown(name)}", str(error))
        return entries

    def _value(self, value: object, field: FieldDescriptor, path: str) -> object:
        """Read a single value."""
        if field.type == FieldDescriptor.TYPE_STRING:
            return _text(value)
        if field.type == FieldDescriptor.TYPE_BYTES:
            return _bytes(value)
        if field.type in _RANGES:
            return _whole(value, *_RANGES[field.type])
        if field.type == FieldDescriptor.TYPE_BOOL:
            return _checked(value, bool, "true or false")
        if field.enum_type is not None:
            return _enum(value, field.enum_type)
        assert field.message_type is not None, "requests hold nothing else"
        return self.message(_checked(value, dict, "an object"), field.message_type, f"{path}.")


def _checked(value: object, kind: type[T], name: str) -> T:
    if not isinstance(value, kind):
        message = f"must be {name}"
        raise _Wrong(message)
    return value


def _text(value: object) -> str:
    text = _checked(value, str, "a text in double quotes")
    if _SURROGATE.search(text) is not None:
        message = "contains half of a surrogate pair"
        raise _Wrong(message)
    return text


def _bytes(value: object) -> bytes:
    """Read bytes from base64 with padding."""
    text = _checked(value, str, "a text in base64")
    try:
        return base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeError):
        message = "must be base64 with padding"
        raise _Wrong(message) from None


def _whole(value: object, least: int, most: int) -> int:
    """Read a whole number, given as a number or, as proto3 JSON allows, as a text."""
    if isinstance(value, str) and _WHOLE.fullmatch(value) is not None:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        message = f"must be a whole number from {least} to {most}"
        raise _Wrong(message)
    return value


def _enum(value: object, kind: EnumDescriptor) -> int:
    """Read an enum by its name or by its number."""
    if isinstance(value, str) and value in kind.values_by_name:
        return int(kind.values_by_name[value].number)
    if isinstance(value, int) and not isinstance(value, bool) and value in kind.values_by_number:
        return value
    message = f"must be one of {', '.join(kind.values_by_name)}"
    raise _Wrong(message)
