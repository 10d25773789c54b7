"""The position up to which JetStream has all notices, read from JetStream itself.

The recorded place of the last published notice is where the comparison begins; from there every message under the
notices' subjects is compared with the outbox, byte by byte. Promises: nothing is left out, even if an
acknowledgement was lost, the stream was deleted or lost its end, or others have written to it; in case of doubt a
notice is written twice. Must never: take a foreign message for a notice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import structlog
from nats.js.errors import NotFoundError

from settlement_engine.domain.announcement import follows
from settlement_engine.events.held import fingerprint_of, held_of, read_held
from settlement_engine.events.notice_messages import notice_position_in

if TYPE_CHECKING:
    from nats.js import JetStreamContext

    from settlement_engine.domain.notices import OutboxNotice
    from settlement_engine.events.held import Held
    from settlement_engine.events.notice_messages import NoticeAnnouncer
    from settlement_engine.ports import Meter, NoticeOutbox

log: Final[structlog.typing.FilteringBoundLogger] = structlog.get_logger(__name__)

LOOKED_AT_MAX: Final = 100_000
"""How many messages are compared at most; what is behind them is written again."""


class NoticePlace(NamedTuple):
    """A notice that JetStream has, and its sequence number in the stream; no notice yet is 0, 0."""

    position: int
    sequence: int


class NoticeCursor:
    """Compares the notices in a JetStream stream with the outbox."""

    def __init__(
        self, stream_name: str, outbox: NoticeOutbox, meter: Meter, announcer: NoticeAnnouncer
    ) -> None:
        self._stream_name = stream_name
        self._outbox = outbox
        self._meter = meter
        self._announcer = announcer
        self._told_sequence = 0

    async def find(self, jetstream: JetStreamContext, known: NoticePlace) -> NoticePlace:
        """Return the last notice up to which the stream has all; ``known`` is the last one that it had."""
        state = (await jetstream.stream_info(self._stream_name)).state
        if await self._is_there(jetstream, known):
            return await self._follow(jetstream, known)
        # If nothing was removed from the front, what is there is all that JetStream ever had. Otherwise notices expired
        # or were purged, and if none is left only the recorded position is known.
        is_whole = state.first_seq <= 1
        begin = NoticePlace(0, 0) if is_whole else await self._first(jetstream, state.first_seq)
        found = await self._follow(jetstream, begin)
        if not is_whole and found.position == 0:
            found = NoticePlace(known.position, 0)
        if found.position < known.position:
            self._meter.invariant_warning("stream_behind", known.position - found.position)
            log.error(
                "relay.stream_behind",
                consequence="the notices are written again from the outbox",
                stream=self._stream_name,
                holds=found.position,
                held=known.position,
            )
        return found

    async def _is_there(self, jetstream: JetStreamContext, known: NoticePlace) -> bool:
        if not known.sequence:
            return False
        held = await read_held(jetstream, self._stream_name, known.sequence)
        return held.is_there and (await self.notice_of(held)) is not None

    async def _first(self, jetstream: JetStreamContext, sequence: int) -> NoticePlace:
        """Return the place before the first notice of ours that is left."""
        for _ in range(LOOKED_AT_MAX):
            held = await self.next_held(jetstream, sequence)
            if held is None:
                break
            notice = await self.notice_of(held)
            if notice is not None:
                return NoticePlace(notice.position - 1, held.sequence - 1)
            sequence = held.sequence + 1
        return NoticePlace(0, 0)

    async def _follow(self, jetstream: JetStreamContext, place: NoticePlace) -> NoticePlace:
        """Go on while the stream has the next notice; what is foreign is passed over."""
        sequence = place.sequence
        for _ in range(LOOKED_AT_MAX):
            held = await self.next_held(jetstream, sequence + 1)
            if held is None:
                break
            sequence = held.sequence
            notice = await self.notice_of(held)
            if notice is None:
                self._note_foreign(sequence)
            elif follows(notice.position, place.position):
                place = NoticePlace(notice.position, sequence)
        return place

    async def next_held(self, jetstream: JetStreamContext, sequence: int) -> Held | None:
        """Return the first message under the notices' subjects from a sequence number on."""
        try:
            message = await jetstream.get_msg(
                self._stream_name, seq=sequence, subject=self._announcer.subjects, next=True
            )
        except NotFoundError:
            return None
        return held_of(message.seq or sequence, message)

    async def notice_of(self, held: Held) -> OutboxNotice | None:
        """Return the notice that a message is, byte for byte; None if it is not one of ours."""
        position = notice_position_in(held.headers)
        if position is None:
            return None
        found = await self._outbox.read(position - 1, 1)
        if not found or found[0].position != position:
            return None
        is_ours = held.fingerprint == fingerprint_of(self._announcer.message(found[0]))
        return found[0] if is_ours else None

    def _note_foreign(self, sequence: int) -> None:
        """Report, once for each message, that another publisher uses our subjects."""
        if sequence <= self._told_sequence:
            return
        self._told_sequence = sequence
        self._meter.invariant_warning("stream_foreign")
        log.error(
            "relay.stream_foreign",
            consequence="it is not ours, stays in the stream, and is followed by what is",
            stream=self._stream_name,
            sequence=sequence,
        )
