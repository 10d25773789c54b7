"""Converts a message to JSON in its proto3 form; fields that have their zero value are included.

A long answer is written element by element, so that other tasks run in between; the bytes are the same.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, cast

from google.protobuf.json_format import MessageToDict

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor
    from google.protobuf.message import Message

    from settlement_engine.api.turns import Steps

ELEMENTS_AT_ONCE_MAX: Final = 16
"""An answer with more elements in a list is written in slices (``turns.py``)."""


def to_json(message: Message) -> bytes:
    """Convert a message at once."""
    return _text(_dict(message)).encode()


def writing_json(message: Message) -> Steps[bytes]:
    """Convert a message, yielding between the elements of a long list of messages."""
    lists = [name for name in _lists(message) if len(getattr(message, name)) > ELEMENTS_AT_ONCE_MAX]
    if not lists:
        return to_json(message)
    yield
    remainder = type(message)()
    remainder.CopyFrom(message)
    for name in lists:
        remainder.ClearField(name)
    loaded = _dict(remainder)
    parts: list[str] = []
    for field in cast("Descriptor", message.DESCRIPTOR).fields:
        if field.name in lists:
            elements: list[str] = []
            for element in getattr(message, field.name):
                elements.append(_text(_dict(element)))
                yield
            parts.append(f'"{field.json_name}":[{",".join(elements)}]')
        elif field.json_name in loaded:
            parts.append(f'"{field.json_name}":{_text(loaded[field.json_name])}')
    return ("{" + ",".join(parts) + "}").encode()


def _lists(message: Message) -> list[str]:
    """Name the fields that are lists of messages."""
    return [
        field.name
        for field in cast("Descriptor", message.DESCRIPTOR).fields
        if field.is_repeated
        and field.message_type is not None
        and not field.message_type.GetOptions().map_entry
    ]


def _dict(message: Message) -> dict[str, Any]:
    return MessageToDict(message, always_print_fields_with_no_presence=True)


def _text(loaded: object) -> str:
    return json.dumps(loaded, ensure_ascii=False, separators=(",", ":"))
