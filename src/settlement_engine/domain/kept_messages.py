"""Messages between us and banks, as they are kept: what was sent and what came back, byte for byte.

Promises: a message is kept unchanged, with its direction, its type, its own id and its hash. Must never: be changed
after it was kept, or say more than the bytes do.
"""

from __future__ import annotations

import hashlib
from datetime import datetime  # noqa: TC003 - msgspec reads the types
from enum import StrEnum
from typing import Final
from uuid import UUID  # noqa: TC003 - as above

import msgspec

from settlement_engine.domain.identifiers import References  # noqa: TC001 - as above

CONTENT_BYTES_MAX: Final = 1_048_576
"""The longest message in bytes, as the database has it. Transports neither send nor receive longer ones."""

MESSAGE_ID_CHARACTERS_MAX: Final = 140


class MessageDirection(StrEnum):
    """Who sent a message."""

    IN = "in"
    OUT = "out"


class KeptMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message about one payment, on its way into the store.

    ``type`` is such as ``pacs.002.001.10``, and empty for bytes that are no message of a known type.
    ``message_id`` is the id that the message has itself. ``response_status`` is the HTTP status of a response; 0
    for everything else. ``at`` is when it was handed to the transport or received, by this process's clock:
    together with the content it tells a message that is stored twice from two messages.
    """

    settlement_id: UUID
    attempt: int
    direction: MessageDirection
    rail: str
    content: bytes
    at: datetime
    type: str = ""
    message_id: str = ""
    response_status: int = 0

    @property
    def sha256(self) -> bytes:
        """The hash of its bytes."""
        return hashlib.sha256(self.content).digest()


class ListedMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message as the store has it, with the references of the payment that it is about.

    ``content`` is empty, and ``size_bytes`` is not, for a file that is longer than ``CONTENT_BYTES_MAX``.
    ``at`` is when it was stored, by the database's clock. ``type`` None: where it is kept its type is not
    recorded, and has to be read from its bytes.
    """

    direction: MessageDirection
    attempt: int
    rail: str
    type: str | None
    message_id: str
    response_status: int
    content: bytes
    size_bytes: int
    sha256: bytes
    at: datetime
    references: References

    @property
    def position(self) -> MessagePosition:
        """Its place in the order of a settlement's messages."""
        return MessagePosition(self.at, self.direction, self.sha256)


class MessagePosition(msgspec.Struct, frozen=True, order=True):
    """A place in the order of a settlement's messages, which is that of their times."""

    at: datetime
    direction: MessageDirection
    sha256: bytes
