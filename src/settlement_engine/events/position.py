"""The stream position up to which JetStream has all announcements, read from JetStream itself.

The recorded position ``published`` and the acknowledgements of this process are a lower bound: JetStream had
everything up to there. After it the stream is compared with the outbox, byte by byte (``held.py``); the relay
continues with the first announcement that is missing. Promises: nothing is left out, even if an acknowledgement was
lost, the stream was deleted, a power cut removed its end, or others have written to it. In case of doubt an
announcement is written twice.

If the stream has an announcement that the outbox does not know, the database may be an older state of itself. This is
reported, and nothing is published before a system epoch has begun (``engine/barrier.py``).

Other publishers can write messages that look like ours. Such a message is only a hint: it is considered if one of our
announcements could have its headers, within bounds, and until this stream was found to agree with this database. All
other messages are foreign: they are counted and left alone. Must never: take a foreign message for an announcement.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog
from nats.js.errors import NotFoundError

from settlement_engine.domain.announcement import (
    POSITIONS_PER_EPOCH,
    event_id,
    follows,
    is_plausible_after,
    system_epoch_of,
)
from settlement_engine.errors import Unavailable
from settlement_engine.events.held import (
    Held,
    Tail,
    announced_in,
    fingerprint_of,
    read_back,
    read_held,
)
from settlement_engine.ports import StaleDatabase

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from nats.js import JetStreamContext

    from settlement_engine.events.announce import Announcer, Message
    from settlement_engine.ports import Announced, Meter, Stream

log: Final[structlog.typing.FilteringBoundLogger] = structlog.get_logger(__name__)

TAIL_MAX: Final = 1_000
"""How many messages at the end of the stream are read one by one to find one of ours."""

BACK_MAX: Final = 20_000
"""How far the stream is read back: more than a relay publishes before it records the position."""

COMPARED_AT_ONCE: Final = 256


class StreamPosition(NamedTuple):
    """The position up to which JetStream has everything, and the sequence number of its last message."""

    position: int
    sequence: int


class OutboxCursor:
    """Compares a JetStream stream with the outbox.

    ``database_run`` is a number that changes whenever the database may be another one than before; without
    it, each comparison is made as if it were the first.
    """

    def __init__(
        self,
        stream_name: str,
        outbox: Stream,
        meter: Meter,
        announcer: Announcer,
        report_stale: Callable[[StaleDatabase], None] | None = None,
        database_run: Callable[[], int] | None = None,
    ) -> None:
        self._stream_name = stream_name
        self._outbox = outbox
        self._announcer = announcer
        self._meter = meter
        self._report_stale = report_stale
        self._database_run = database_run
        self._agreed_in: int | None = None
        self._anchor: tuple[Held, int] | None = None
        self._end: Held | None = None
        self._told_sequence = 0

    async def find(
        self, jetstream: JetStreamContext, published: int, acknowledged: int = 0
    ) -> StreamPosition:
        """Return the position at which to continue.

        ``published`` is the recorded position, ``acknowledged`` the last one acknowledged to this process.
        """
        run = self._database_run() if self._database_run is not None else None
        state = (await jetstream.stream_info(self._stream_name)).state
        position: int | None = None
        last = await self._last_of_moves(jetstream)
        if 0 < last >= state.first_seq:
            floor = await self._floor(published, acknowledged)
            position = await self._last_held(jetstream, state.first_seq, last, floor)
        self._agreed_in = run
        if self._end is None or position is None:
            self._anchor = None
        else:
            self._anchor = self._end, position
        if position is None:
            # If nothing was removed from the front, JetStream never had any of it. Otherwise its messages
            # expired or were purged, and only the recorded position is left.
            is_whole = state.first_seq <= 1
            position = 0 if is_whole else published
        if position < published:
            self._meter.invariant_warning("stream_behind", published - position)
            log.error(
                "relay.stream_behind",
                consequence="the stream is written again from the outbox",
                stream=self._stream_name,
                holds=position,
                held=published,
            )
        return StreamPosition(position, state.last_seq)

    async def _last_of_moves(self, jetstream: JetStreamContext) -> int:
        """Return the number of the last message under the subjects of moves; 0 if there is none.

        What follows it are notices (``notice_position.py``), of which there may be thousands.
        """
        try:
            message = await jetstream.get_last_msg(self._stream_name, self._announcer.subjects)
        except NotFoundError:
            return 0
        return message.seq or 0

    def is_held_in(
        self, jetstream: JetStreamContext, published: int = 0
    ) -> Callable[[int, Message], Awaitable[bool]]:
        """Return what says whether the stream's message of a number counts as an announcement."""

        async def is_held(sequence: int, message: Message) -> bool:
            held = await read_held(jetstream, self._stream_name, sequence)
            if held.is_there:
                return held.fingerprint == fingerprint_of(message)
            # A message that was deleted by hand after it was published stays deleted.
            return message.position <= published

        return is_held

    async def _floor(self, published: int, acknowledged: int) -> int:
        """Return the position up to which the stream had everything, ignoring another database's messages."""
        if acknowledged <= published or self._is_agreed():
            return max(acknowledged, published)
        if acknowledged % POSITIONS_PER_EPOCH:
            known = await self._outbox.read(acknowledged - 1, 1)
            is_ours = bool(known) and known[0].moved.position == acknowledged
        else:
            is_ours = system_epoch_of(acknowledged) <= system_epoch_of(await self._outbox.head())
        return acknowledged if is_ours else published

    async def _last_held(
        self, jetstream: JetStreamContext, first: int, last: int, floor: int
    ) -> int | None:
        """Find the position up to which the stream has everything; None if it has nothing that we know.

        Raises Unavailable when the outbox may have lost announcements.
        """
        system_epoch = system_epoch_of(await self._outbox.head())
        tail, unknown = await self._read_tail(jetstream, first, last, floor, system_epoch)
        is_end_known = tail.is_end_known
        self._end = tail.end
        if not tail.is_known and tail.lowest > first:
            sequence = await self._search(jetstream, first, tail.lowest)
            if sequence is not None:
                tail, _ = await self._read_tail(jetstream, first, sequence, floor, system_epoch)
        position = await self._position(tail, floor, first)
        if not is_end_known:
            self._weigh(unknown, system_epoch, last, position or 0)
        return position

    async def _read_tail(
        self, jetstream: JetStreamContext, first: int, last: int, floor: int, system_epoch: int
    ) -> tuple[Tail, Announced | None]:
        """Read back to the lower bound; return also messages after all known ones, which may be lost here.

        Foreign messages are skipped. If none of the last messages is known, no further ones are read.
        """
        tail = Tail(last + 1)
        anchor = self._anchor[0] if self._anchor is not None and self._is_agreed() else None
        unknown: Announced | None = None
        lowest = max(first, last - BACK_MAX)
        async with aclosing(read_back(jetstream, self._stream_name, last, lowest)) as back:
            async for held in back:
                if not tail.is_known and held.sequence <= last - TAIL_MAX:
                    break
                tail.lowest = held.sequence
                if held.sequence == last and held.is_there:
                    tail.end = held
                if held == anchor:
                    tail.has_anchor = tail.is_known = True
                    # Nothing was added since the last look, which has judged this message.
                    tail.is_end_known |= held.sequence == last
                    break
                told = announced_in(held.headers)
                if told is None:
                    continue
                tail.add(held, told)
                if told.position == floor or not tail.is_known:
                    is_known = await self._is_known(told)
                    tail.is_end_known |= is_known and held.sequence == last
                    if not (is_known or tail.is_known or unknown):
                        unknown = told if _may_be_ours(told.position, system_epoch) else None
                    tail.is_known |= is_known
                    if is_known and told.position == floor:
                        tail.has_floor = True
                        break
        return tail, unknown

    async def _position(self, tail: Tail, floor: int, first: int) -> int | None:
        """Choose where the comparison begins, and compare."""
        if tail.has_anchor and self._anchor is not None:
            return await self._follow(tail, self._anchor[1])
        if tail.has_floor:
            return await self._follow(tail, floor)
        if first <= 1 and tail.lowest <= first:
            return await self._follow(tail, 0)  # all that was ever written is there
        if not tail.is_known:
            return None
        for told in tail.told_up_to(floor):
            if await self._is_known(told):
                return await self._follow(tail, told.position)
        return await self._follow(tail, floor)

    async def _follow(self, tail: Tail, position: int) -> int:
        """Return the last position up to which the stream has exactly all announcements after a position."""
        while tail.reaches_beyond(position):
            head = await self._outbox.head()  # asked first: what was committed before it is read
            batch = await self._outbox.read(position, COMPARED_AT_ONCE)
            for each in batch:
                position = self._pass_markers(tail, position, each.moved.position)
                if not follows(each.moved.position, position):
                    return position
                for message in self._announcer.messages([each], position):
                    if not tail.holds(message):
                        return position
                    position = message.position
            if len(batch) < COMPARED_AT_ONCE:
                return self._pass_markers(tail, position, head + 1)
        return position

    def _pass_markers(self, tail: Tail, position: int, before: int) -> int:
        """Skip the markers of system epochs that the stream has between two positions."""
        for marker in tail.markers(position, before):
            if tail.holds(self._announcer.marker(system_epoch_of(marker), position)):
                position = marker
        return position

    def _weigh(
        self, unknown: Announced | None, system_epoch: int, last: int, known_to: int
    ) -> None:
        """Raise Unavailable if this may be an announcement that the database has lost.

        It cannot be one if this stream and this database were found to agree before: then the database knows
        everything that was announced since.
        """
        if unknown is None or self._is_agreed():
            self._note_foreign(last)
            return
        self._meter.invariant_warning("stream_disagrees")
        log.error(
            "relay.stream_disagrees",
            consequence="what the outbox does not know stays in the stream; the rest follows it",
            stream=self._stream_name,
            sequence=last,
            position=unknown.position,
        )
        if self._report_stale is None or system_epoch_of(unknown.position) < system_epoch:
            return
        system_epoch_min = system_epoch_of(unknown.position) + 1
        self._report_stale(
            StaleDatabase(why="stream_ahead", system_epoch_min=system_epoch_min, known_to=known_to)
        )
        what = "the stream has events that the database does not have"
        raise Unavailable(what, why=f"position {unknown.position}, known up to {known_to}")

    def _is_agreed(self) -> bool:
        """Say whether this database was found to agree with this stream before."""
        run = self._database_run() if self._database_run is not None else None
        return run is not None and run == self._agreed_in

    def _note_foreign(self, sequence: int) -> None:
        """Report, once for each message, that another publisher uses our subjects."""
        if sequence == self._told_sequence:
            return
        self._told_sequence = sequence
        self._meter.invariant_warning("stream_foreign")
        log.error(
            "relay.stream_foreign",
            consequence="it is not ours, stays in the stream, and is followed by what is",
            stream=self._stream_name,
            sequence=sequence,
        )

    async def _search(self, jetstream: JetStreamContext, first: int, last: int) -> int | None:
        """Search back in doubling steps for a message that we know, then by halving for the last one."""
        step = 1
        low = last
        while not await self.is_known_at(jetstream, low):
            if low == first:
                return None
            low = max(first, last - step)
            step *= 2
        high = last
        while high - low > 1:
            middle = (low + high) // 2
            if await self.is_known_at(jetstream, middle):
                low = middle
            else:
                high = middle
        return low

    async def is_known_at(self, jetstream: JetStreamContext, sequence: int) -> bool:
        """Say whether the outbox has the announcement that a message claims to be."""
        told = announced_in((await read_held(jetstream, self._stream_name, sequence)).headers)
        return told is not None and await self._is_known(told)

    async def _is_known(self, told: Announced) -> bool:
        """Say whether the outbox has the same announcement, by id and time, at that position."""
        if told.position % POSITIONS_PER_EPOCH == 0:
            return system_epoch_of(told.position) <= system_epoch_of(await self._outbox.head())
        known = await self._outbox.read(told.position - 1, 1)
        if not known or known[0].moved.position != told.position:
            return False
        moved = known[0].moved
        return event_id(moved) == told.name and moved.at == told.at


def _may_be_ours(position: int, system_epoch: int) -> bool:
    """Say whether a database of this system epoch may have announced something there and lost it."""
    return system_epoch_of(position) < system_epoch or is_plausible_after(position, system_epoch)
