"""The content of a JetStream stream, compared byte by byte with what we would publish.

Other publishers can write a message with our headers and another body. Promises: a message counts as one of our
announcements only if subject, CloudEvents attributes and body are exactly those that we would write. Headers alone
are a hint that the database may have lost something. Must never: count a position as published because of headers.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from nats.js.errors import NotFoundError

from settlement_engine.domain.announcement import POSITION_MAX, POSITIONS_PER_EPOCH, is_name_at
from settlement_engine.events.announce import (
    ID_HEADER,
    NAME_HEADER,
    NOTICE_HEADER,
    POSITION_HEADER,
    TIME_HEADER,
)
from settlement_engine.ports import Announced

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from nats.js import JetStreamContext
    from nats.js.api import RawStreamMsg

    from settlement_engine.events.announce import Message

READ_AT_ONCE_MAX: Final = 64
"""The most messages that are read at a time."""

POSITION_DIGITS_MAX: Final = len(str(POSITION_MAX))

COMPARED_HEADERS: Final = (
    *(NAME_HEADER, "ce-source", "ce-specversion", "ce-type", "ce-datacontenttype", "ce-subject"),
    *(TIME_HEADER, POSITION_HEADER, NOTICE_HEADER),
)
"""All our headers but JetStream's message id: an announcement may have been stored without that."""


@dataclass(frozen=True, slots=True)
class Held:
    """One message of the stream: its sequence number, headers and fingerprint (SHA-256 of all that is compared).

    ``at`` is when the server stored it: no other message has the same fingerprint, number and time.
    """

    sequence: int
    headers: Mapping[str, str] = field(default_factory=dict)
    fingerprint: bytes = b""
    at: datetime | None = None

    @property
    def is_there(self) -> bool:
        """Whether the stream has a message with this number: it may have been deleted."""
        return bool(self.fingerprint)


class Tail:
    """The part of a stream that was read, from its end backwards."""

    def __init__(self, lowest: int) -> None:
        self.lowest = lowest
        self.end: Held | None = None
        self.has_anchor = False
        self.has_floor = False
        self.is_known = False
        self.is_end_known = False
        self._fingerprints: dict[int, set[bytes]] = {}
        self._told: dict[int, list[Announced]] = {}

    def add(self, held: Held, told: Announced) -> None:
        """Add a message whose headers are those of an announcement."""
        self._fingerprints.setdefault(told.position, set()).add(held.fingerprint)
        self._told.setdefault(told.position, []).append(told)

    def holds(self, message: Message) -> bool:
        """Say whether exactly this announcement is in the stream."""
        fingerprints = self._fingerprints.get(message.position)
        return fingerprints is not None and fingerprint_of(message) in fingerprints

    def reaches_beyond(self, position: int) -> bool:
        """Say whether any message claims a position after this one."""
        return any(each > position for each in self._fingerprints)

    def markers(self, after: int, before: int) -> list[int]:
        """Return the positions between two others at which a message looks like the marker of a system epoch."""
        return sorted(
            p for p in self._fingerprints if p % POSITIONS_PER_EPOCH == 0 and after < p < before
        )

    def told_up_to(self, position: int) -> list[Announced]:
        """Return the claimed announcements up to a position, lowest position first."""
        places = sorted(each for each in self._told if each <= position)
        return [told for each in places for told in self._told[each]]


async def read_back(
    jetstream: JetStreamContext, stream: str, last: int, first: int
) -> AsyncGenerator[Held, None]:
    """Read from a sequence number back to another: the last message alone, then more and more at once."""
    count = 1
    while last >= first:
        numbers = range(last, max(first, last - count + 1) - 1, -1)
        for held in await asyncio.gather(*(read_held(jetstream, stream, each) for each in numbers)):
            yield held
        last -= len(numbers)
        count = min(2 * count, READ_AT_ONCE_MAX)


async def read_held(jetstream: JetStreamContext, stream: str, sequence: int) -> Held:
    """Read one message."""
    try:
        message = await jetstream.get_msg(stream, seq=sequence)
    except NotFoundError:
        return Held(sequence)
    return held_of(sequence, message)


def held_of(sequence: int, message: RawStreamMsg) -> Held:
    """Return a message of the stream as it is compared."""
    headers = message.headers or {}
    values = [headers.get(name, "") for name in COMPARED_HEADERS]
    fingerprint = _fingerprint(message.subject or "", values, message.data or b"")
    return Held(sequence, headers, fingerprint, message.time)


def fingerprint_of(message: Message) -> bytes:
    """Return the fingerprint of an announcement as we would publish it."""
    headers = dict(line.split(": ", 1) for line in message.headers.split("\r\n") if line)
    values = [headers.get(name, "") for name in COMPARED_HEADERS]
    return _fingerprint(message.subject, values, message.body.encode())


def _fingerprint(subject: str, values: list[str], body: bytes) -> bytes:
    digest = sha256()
    for part in (subject, *values):
        text = part.encode(errors="surrogateescape")
        digest.update(b"%d:%b" % (len(text), text))
    digest.update(body)
    return digest.digest()


def position_in(headers: Mapping[str, str]) -> int | None:
    """Return the outbox position that a message claims; None if none of our announcements can have it."""
    text = headers.get(POSITION_HEADER, "")
    if len(text) > POSITION_DIGITS_MAX or not (text.isascii() and text.isdigit()):
        return None
    position = int(text)
    return position if 0 < position <= POSITION_MAX else None


def announced_in(headers: Mapping[str, str]) -> Announced | None:
    """Return the announcement that a message claims to be; None if none of ours can be like it."""
    position = position_in(headers)
    name = headers.get(NAME_HEADER) or headers.get(ID_HEADER, "")
    if position is None or not is_name_at(name, position):
        return None
    if position % POSITIONS_PER_EPOCH == 0:
        return Announced(position=position, name=name, at=None)  # a marker has no time
    try:
        at = datetime.fromisoformat(headers.get(TIME_HEADER, ""))
    except ValueError:
        return None
    return Announced(position=position, name=name, at=at) if at.tzinfo is not None else None
