"""The two outboxes as a replay sees them: the moves of settlements, and the notices.

Each has positions and subjects of its own, so that the order of one does not depend on the other. Promises: what is
read here is published with the same bytes and ids as by the relay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from settlement_engine.events.announce import Announcer
from settlement_engine.events.held import position_in, read_held
from settlement_engine.events.notice_messages import NoticeAnnouncer, notice_position_in
from settlement_engine.events.notice_position import NoticeCursor
from settlement_engine.events.position import OutboxCursor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nats.js import JetStreamContext

    from settlement_engine.events.announce import Message
    from settlement_engine.events.stream import StreamSpec
    from settlement_engine.ports import Meter, NoticeOutbox, Stream


class OutboxItem(NamedTuple):
    """Something of an outbox, with its position there."""

    position: int
    item: Any


class ReplayLane(Protocol):
    """One outbox. Raises Unavailable."""

    @property
    def subjects(self) -> str:
        """The subjects of its messages, and of no other outbox's."""
        ...

    async def head(self) -> int:
        """Return the last position."""
        ...

    async def read(self, after: int, limit: int) -> list[OutboxItem]:
        """Return what follows a position, oldest first."""
        ...

    def messages(self, placed: Sequence[OutboxItem], after: int) -> list[Message]:
        """Build the messages of what was read after a position."""
        ...

    def position_in(self, headers: Mapping[str, str]) -> int | None:
        """Return the position that a message claims, if it may be one of ours."""
        ...

    async def is_known_at(self, jetstream: JetStreamContext, sequence: int) -> bool:
        """Say whether the stream's message of a number is one of ours."""
        ...


class MoveLane:
    """The moves of settlements, with the markers of system epochs among them."""

    def __init__(self, outbox: Stream, stream: StreamSpec, source: str, meter: Meter) -> None:
        self._outbox = outbox
        self._announcer = Announcer(prefix=stream.prefix, source=source)
        self._cursor = OutboxCursor(stream.name, outbox, meter, self._announcer)

    @property
    def subjects(self) -> str:
        """See the protocol."""
        return self._announcer.subjects

    async def head(self) -> int:
        """See the protocol."""
        return await self._outbox.head()

    async def read(self, after: int, limit: int) -> list[OutboxItem]:
        """See the protocol."""
        found = await self._outbox.read(after, limit)
        return [OutboxItem(each.moved.position, each) for each in found]

    def messages(self, placed: Sequence[OutboxItem], after: int) -> list[Message]:
        """See the protocol."""
        return self._announcer.messages([each.item for each in placed], after)

    def position_in(self, headers: Mapping[str, str]) -> int | None:
        """See the protocol."""
        return position_in(headers)

    async def is_known_at(self, jetstream: JetStreamContext, sequence: int) -> bool:
        """See the protocol."""
        return await self._cursor.is_known_at(jetstream, sequence)


class NoticeLane:
    """The notices."""

    def __init__(self, outbox: NoticeOutbox, stream: StreamSpec, source: str, meter: Meter) -> None:
        self._outbox = outbox
        self._stream_name = stream.name
        self._announcer = NoticeAnnouncer(prefix=stream.prefix, source=source)
        self._cursor = NoticeCursor(stream.name, outbox, meter, self._announcer)

    @property
    def subjects(self) -> str:
        """See the protocol."""
        return self._announcer.subjects

    async def head(self) -> int:
        """See the protocol."""
        return await self._outbox.head()

    async def read(self, after: int, limit: int) -> list[OutboxItem]:
        """See the protocol."""
        return [OutboxItem(each.position, each) for each in await self._outbox.read(after, limit)]

    def messages(self, placed: Sequence[OutboxItem], after: int) -> list[Message]:
        """See the protocol."""
        del after  # notices have no markers
        return self._announcer.messages([each.item for each in placed])

    def position_in(self, headers: Mapping[str, str]) -> int | None:
        """See the protocol."""
        return notice_position_in(headers)

    async def is_known_at(self, jetstream: JetStreamContext, sequence: int) -> bool:
        """See the protocol."""
        held = await read_held(jetstream, self._stream_name, sequence)
        return await self._cursor.notice_of(held) is not None
