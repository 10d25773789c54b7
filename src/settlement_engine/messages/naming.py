"""What a message calls itself: its type and its own id.

Promises: both are read from the message, or empty. No decision may be based on them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.messages.envelope import opened
from settlement_engine.messages.errors import MessageError
from settlement_engine.messages.recognition import recognised

if TYPE_CHECKING:
    from settlement_engine.messages.envelope import Opened


ISO_POINTS: Final = 3
"""Points in the full name of an ISO 20022 message: the last one stands before its version."""


ACH_ORDER: Final = "ach.order"
"""What an entry of a file will say, as it is recorded with the send intent."""

ACH_REPORT: Final = "ach.report"
"""An operator's report on a file, or on entries of one."""


class MessageName(msgspec.Struct, frozen=True):
    """The type of a message, such as ``pacs.008.001.08``, and its own id."""

    type: str = ""
    message_id: str = ""

    @property
    def version(self) -> str:
        """Return the version in the type's name; empty where it has none."""
        return self.type.rpartition(".")[2] if self.type.count(".") == ISO_POINTS else ""


UNNAMED: Final = MessageName()
"""What bytes are called that no reader recognises."""


def id_of(message: Opened) -> str:
    """Return the id that a message gives itself; that of its header comes first."""
    if message.head is not None:
        return message.head.message_id
    content = message.content
    header = getattr(content, "header", None)
    assignment = getattr(content, "assignment", None)
    own = getattr(content, "message_id", "")
    return getattr(header, "message_id", "") or getattr(assignment, "id", "") or own or ""


def name_of(data: bytes) -> MessageName:
    """Read what bytes call themselves; ``UNNAMED`` where they are no message of a known type."""
    try:
        message = opened(data)
    except MessageError:
        return _name_of_file(data)
    return MessageName(message.definition, id_of(message))


class _NamedJson(msgspec.Struct, frozen=True):
    """The fields by which the messages of the rail ach are known."""

    type: str = ""
    message_id: str = ""
    kind: str = ""
    sha256: str = ""


_read_json: Final = msgspec.json.Decoder(_NamedJson).decode


def _name_of_json(data: bytes) -> MessageName:
    try:
        found = _read_json(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return UNNAMED
    if found.type == ACH_ORDER:
        return MessageName(ACH_ORDER, found.message_id)
    return MessageName(ACH_REPORT) if found.kind and found.sha256 else UNNAMED


def _name_of_file(data: bytes) -> MessageName:
    if data.lstrip()[:1] == b"{":
        return _name_of_json(data)
    try:
        return MessageName(recognised(data).kind)
    except MessageError:
        return UNNAMED
