"""From JSON to a message, strictly: what is unknown, doubled or of the wrong type is refused by its name.

``json_format`` of the library is lenient where money must not be: it takes digits of other scripts, numbers
with a point for whole numbers, and names the place of a mistake in prose. The requests of this engine need
only texts, whole numbers, flags, enums, bytes (in base64), maps of texts and lists of messages; anything else
cannot be read.
Field names may be those of proto3 JSON (``fromBank``) or the original ones (``from_bank``).
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from settlement_engine.errors import InvalidInstruction

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.descriptor import Descriptor, EnumDescriptor

T = TypeVar("T")
MessageT = TypeVar("MessageT", bound=Message)

BODY: Final = "body"
NAME_CHARACTERS_MAX: Final = 64
VIOLATIONS_MAX: Final = 16

_WHOLE: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,18})", re.ASCII)
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_RANGES: Final = {
    FieldDescriptor.TYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_INT64: (-(2**63), 2**63 - 1),
}


class _Wrong(Exception):
    """A value cannot be what its field demands."""


def read_json(data: bytes, kind: type[MessageT]) -> MessageT:
    """Read a message. Raises InvalidInstruction."""
    reader = _Reader()
    descriptor = cast("Descriptor", kind.DESCRIPTOR)
    values = reader.message(_load(data), descriptor, "")
    if reader.found:
        raise InvalidInstruction(reader.found[:VIOLATIONS_MAX])
    return kind(**values)


def _load(data: bytes) -> dict[str, Any]:
    """Read the text as JSON; the outermost value is an object, and nothing stands for one."""
    try:
        text = data.decode("utf-8")
        loaded = (
            json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant) if text else {}
        )
    except UnicodeDecodeError as error:
        raise _body(f"is not valid UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise _body(f"is not JSON at {place}: {error.msg}") from None
    except RecursionError:
        raise _body("is nested too deeply") from None
    except ValueError:
        raise _body("contains a number that is too long") from None
    except _Wrong as error:
        raise _body(str(error)) from None
    if not isinstance(loaded, dict):
        raise _body("must be a JSON object")
    return loaded


def _body(description: str) -> InvalidInstruction:
    return InvalidInstruction([(BODY, description)])


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object; a name that comes twice could mean either value."""
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        doubled = next(name for name in names if names.count(name) > 1)
        message = f"names the field {_shown(doubled)} twice"
        raise _Wrong(message)
    return made


def _no_constant(text: str) -> None:
    message = f"contains {text}, which is not JSON"
    raise _Wrong(message)


def _shown(name: str) -> str:
    """Write a name that came from outside: short and printable."""
    return ascii(name[:NAME_CHARACTERS_MAX])[1:-1]


@cache
def _fields(kind: Descriptor) -> dict[str, FieldDescriptor]:
    """Map both spellings of every field."""
    both = {field.json_name: field for field in kind.fields}
    return both | {field.name: field for field in kind.fields}


class _Reader:
    """Reads objects into the arguments of messages; what is wrong is noted and left out."""

    def __init__(self) -> None:
        self.found: list[tuple[str, str]] = []

    def message(self, loaded: Mapping[str, object], kind: Descriptor, path: str) -> dict[str, Any]:
        """Read the fields of a message."""
        values: dict[str, Any] = {}
        fields = _fields(kind)
        for name, value in loaded.items():
            field = fields.get(name)
            if field is None:
                known = ", ".join(known.json_name for known in kind.fields)
                description = f"there is no such field in {kind.name}, which has: {known or 'none'}"
                self.found.append((path + _shown(name), description))
            elif field.name in values:
                self.found.append((path + field.name, "is given twice, in both of its spellings"))
            elif value is not None:
                self._try(values, field.name, value, field, path + field.name)
        return values

    def _try(
        self, into: dict[str, Any], name: str, value: object, field: FieldDescriptor, path: str
    ) -> None:
        try:
            into[name] = self._field(value, field, path)
        except _Wrong as error:
            self.found.append((path, str(error)))

    def _field(self, value: object, field: FieldDescriptor, path: str) -> object:
        """Read one field; lists and maps element by element."""
        if not field.is_repeated:
            return self._value(value, field, path)
        kind = field.message_type
        if kind is not None and kind.GetOptions().map_entry:
            return self._map(value, kind.fields_by_name["value"], path)
        elements: list[object] = []
        for place, element in enumerate(_checked(value, list, "a list")):
            try:
                elements.append(self._value(element, field, f"{path}[{place}]"))
            except _Wrong as error:
                self.found.append((f"{path}[{place}]", str(error)))
        return elements

    def _map(self, value: object, field: FieldDescriptor, path: str) -> dict[str, Any]:
        """Read a map whose keys are texts."""
        entries: dict[str, Any] = {}
        for name, element in _checked(value, dict, "an object").items():
            try:
                entries[_text(name)] = self._value(element, field, path)
            except _Wrong as error:
                self.found.append((f"{path}.{_shown(name)}", str(error)))
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
    """Read bytes, written in base64 with its padding."""
    text = _checked(value, str, "a text in base64")
    try:
        return base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeError):
        message = "must be base64 with its padding"
        raise _Wrong(message) from None


def _whole(value: object, least: int, most: int) -> int:
    """Read a whole number, written as a number or, as proto3 JSON does, as a text."""
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
