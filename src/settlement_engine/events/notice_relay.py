"""Publishes the outbox of notices to JetStream, each once and in order, between the batches of the moves.

The relay calls it after each batch of moves, with the last sequence number of the stream, so that both outboxes are
appended by one task and never conflict. Promises: those of the relay. Must never: skip a position, or record one as
published that JetStream has not acknowledged.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from settlement_engine.domain.announcement import follows
from settlement_engine.events.appending import append_each
from settlement_engine.events.held import fingerprint_of, read_held
from settlement_engine.events.notice_messages import NoticeAnnouncer
from settlement_engine.events.notice_position import NoticeCursor, NoticePlace
from settlement_engine.events.publisher import Conflict

if TYPE_CHECKING:
    from nats.js import JetStreamContext

    from settlement_engine.domain.notices import OutboxNotice
    from settlement_engine.events.announce import Message
    from settlement_engine.events.publisher import Publisher
    from settlement_engine.events.stream import StreamSpec
    from settlement_engine.ports import Meter, NoticeOutbox

log: Final[structlog.typing.FilteringBoundLogger] = structlog.get_logger(__name__)

NOTICES_AT_ONCE: Final = 100
"""So few that moves do not wait for them."""

NOTICES_EVERY_SECONDS: Final = 0.25
"""How often the outbox of notices is read while it is empty: a settlement's events do not wait for the query."""


class NoticeRelay:
    """Publishes notices for a relay, on its connection."""

    def __init__(
        self, *, outbox: NoticeOutbox, stream: StreamSpec, source: str, meter: Meter
    ) -> None:
        self._outbox = outbox
        self._stream_name = stream.name
        self._meter = meter
        self._announcer = NoticeAnnouncer(prefix=stream.prefix, source=source)
        self._cursor = NoticeCursor(stream.name, outbox, meter, self._announcer)
        self._place = NoticePlace(0, 0)
        self._refused_after = -1
        self._gap = 0
        self._due = 0.0

    async def look(self, jetstream: JetStreamContext) -> None:
        """Find out what the stream has: at the start, after a conflict, and from time to time."""
        known = NoticePlace(*await self._outbox.published())
        # What this process published before its database was restored is not known any more.
        if known < self._place and self._place.position <= await self._outbox.head():
            known = self._place
        self._place = await self._cursor.find(jetstream, known)
        self._due = 0.0

    async def advance(
        self, publisher: Publisher, jetstream: JetStreamContext, after: int, *, is_last: bool
    ) -> int:
        """Publish the next notices after a sequence number; return the stream's last number after them.

        ``is_last`` reads the outbox in any case. Raises Conflict, after which the stream has to be looked at again.
        """
        now = asyncio.get_running_loop().time()
        if now < self._due and not is_last:
            return after
        batch = await self._read()
        if not batch:
            self._due = now + NOTICES_EVERY_SECONDS
            return after
        messages = self._announcer.messages(batch)
        try:
            count, last = await self._append(publisher, jetstream, messages, after)
        except Conflict:
            self._refused_after = self._place.position
            raise
        self._place = NoticePlace(messages[count - 1].position, last)
        await self._outbox.mark_published(*self._place)
        return last

    async def _append(
        self,
        publisher: Publisher,
        jetstream: JetStreamContext,
        messages: list[Message],
        after: int,
    ) -> tuple[int, int]:
        """Append a batch; one by one where a conflict was met: another message may have the id of one of them."""
        if self._refused_after != self._place.position:
            return await publisher.append(messages, after)

        async def is_held(sequence: int, message: Message) -> bool:
            held = await read_held(jetstream, self._stream_name, sequence)
            return held.is_there and held.fingerprint == fingerprint_of(message)

        return await append_each(publisher, messages, after, is_held)

    async def _read(self) -> list[OutboxNotice]:
        """Return the next notices, up to a missing position: it may become visible later, and is never skipped."""
        found = await self._outbox.read(self._place.position, NOTICES_AT_ONCE)
        before = self._place.position
        for number, notice in enumerate(found):
            if not follows(notice.position, before):
                if before + 1 != self._gap:
                    self._gap = before + 1
                    self._meter.invariant_warning("outbox_gap")
                    log.error("relay.notice_gap", missing=self._gap)
                return found[:number]
            before = notice.position
        return found
