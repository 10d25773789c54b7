"""Where the relay stands: what JetStream holds, read from JetStream itself.

The relay keeps no memory of its own that could be wrong. The last message of the stream that the outbox
knows too is where it goes on. So it does not matter whether an acknowledgement was lost, the stream was
deleted or a power cut took its tail: nothing is left out, and nothing is written twice.

It may hold what the outbox does not know of its own era. Then the database may be an older state of itself,
and whoever was named is told; nothing is published before an era has begun (``engine/opening.py``).

Whoever may publish can write a message that looks like ours. What a message says is therefore a hint: it
counts only if an announcement of ours could say it, within bounds, and only until this stream was found to
agree with this database. Everything else is foreign: it is counted, left where it is, and followed.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog
from nats.js.errors import NotFoundError

from settlement_engine.domain.announcement import (
    ERA_PLACES,
    POSITION_MAX,
    era_of,
    event_id,
    is_name_at,
    is_plausible_after,
)
from settlement_engine.errors import Unavailable
from settlement_engine.events.announce import ID_HEADER, POSITION_HEADER, TIME_HEADER
from settlement_engine.ports import Announced, Suspicion

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nats.js import JetStreamContext

    from settlement_engine.ports import Meter, Stream

log: Final[structlog.typing.FilteringBoundLogger] = structlog.get_logger(__name__)

TAIL_MAX: Final = 1_000
"""So many messages at the stream's end are looked at one by one, whoever wrote them."""

POSITION_DIGITS_MAX: Final = len(str(POSITION_MAX))


class Place(NamedTuple):
    """Up to which position JetStream holds everything, and the sequence number of its last message."""

    position: int
    sequence: int


class Surveyor:
    """Compares a JetStream stream with the outbox.

    ``database_run`` is a number that changes whenever the database may be another one than before; without
    it, each comparison is made as if it were the first.
    """

    def __init__(
        self,
        stream_name: str,
        outbox: Stream,
        meter: Meter,
        suspect: Callable[[Suspicion], None] | None = None,
        database_run: Callable[[], int] | None = None,
    ) -> None:
        self._stream_name = stream_name
        self._outbox = outbox
        self._meter = meter
        self._suspect = suspect
        self._database_run = database_run
        self._agreed_in: int | None = None
        self._told_sequence = 0

    async def find(
        self, jetstream: JetStreamContext, published: int, acknowledged: int = 0
    ) -> Place:
        """Return the position at which to go on.

        ``published`` is the outbox's own note of it, ``acknowledged`` what JetStream has told this process.
        """
        run = self._database_run() if self._database_run is not None else None
        state = (await jetstream.stream_info(self._stream_name)).state
        position: int | None = None
        if 0 < state.last_seq >= state.first_seq:
            floor = max(published, acknowledged)
            position = await self._last_known(jetstream, state.first_seq, state.last_seq, floor)
        self._agreed_in = run
        if position is None:
            # Nothing was ever removed from the front: JetStream never held any of it. Otherwise what it
            # held has grown old or was purged, and the outbox's own note is what is left to go by.
            is_whole = state.first_seq <= 1
            position = 0 if is_whole else published
        if position < published:
            self._meter.anomaly("stream_behind", published - position)
            log.error(
                "relay.stream_behind",
                consequence="the stream is written again from the outbox",
                stream=self._stream_name,
                holds=position,
                held=published,
            )
        return Place(position, state.last_seq)

    async def _last_known(
        self, jetstream: JetStreamContext, first: int, last: int, floor: int
    ) -> int | None:
        """Find the latest position that both know; raises Unavailable when the outbox may have forgotten more.

        The tail is looked at message by message, for there may be foreign ones in it; a copy of an earlier
        announcement at the end does not bring the position back behind ``floor``.
        """
        era = era_of(await self._outbox.head())
        position: int | None = None
        unknown: Announced | None = None
        is_end_known = False
        lowest = max(first, last - TAIL_MAX + 1)
        for sequence in range(last, lowest - 1, -1):
            told = announced_in(await self._headers(jetstream, sequence))
            if told is not None and await self._is_known(told):
                position = max(position or 0, told.position)
                is_end_known = is_end_known or sequence == last
                if position >= floor:
                    break
            elif position is None and unknown is None:
                unknown = told if told is not None and _may_be_ours(told.position, era) else None
        if position is None and lowest > first:
            position = await self._search(jetstream, first, lowest)
        if not is_end_known:
            self._weigh(unknown, era, last, position or 0)
        return position

    def _weigh(self, unknown: Announced | None, era: int, last: int, known_to: int) -> None:
        """Raise Unavailable if this may be an announcement that the database has forgotten.

        It may not if this stream and this database were found to agree before: whatever the engines have
        announced since, the database knows.
        """
        run = self._database_run() if self._database_run is not None else None
        if unknown is None or (run is not None and run == self._agreed_in):
            self._note_foreign(last)
            return
        self._meter.anomaly("stream_disagrees")
        log.error(
            "relay.stream_disagrees",
            consequence="what the outbox does not know stays in the stream; the rest follows it",
            stream=self._stream_name,
            sequence=last,
            position=unknown.position,
        )
        if self._suspect is None or era_of(unknown.position) < era:
            return
        era_min = era_of(unknown.position) + 1
        self._suspect(Suspicion(why="stream_ahead", era_min=era_min, known_to=known_to))
        what = "the stream has events that the database does not have"
        raise Unavailable(what, why=f"position {unknown.position}, known up to {known_to}")

    def _note_foreign(self, sequence: int) -> None:
        """Say, once for each, that somebody else publishes on our subjects."""
        if sequence == self._told_sequence:
            return
        self._told_sequence = sequence
        self._meter.anomaly("stream_foreign")
        log.error(
            "relay.stream_foreign",
            consequence="it is not ours, stays in the stream, and is followed by what is",
            stream=self._stream_name,
            sequence=sequence,
        )

    async def _search(self, jetstream: JetStreamContext, first: int, last: int) -> int | None:
        """Go back in doubling steps to a message that agrees, then halve the way to the last one."""
        step = 1
        low = last
        found: int | None = None
        while found is None:
            if low == first:
                return None
            low = max(first, last - step)
            step *= 2
            found = await self._common(jetstream, low)
        high = last
        while high - low > 1:
            middle = (low + high) // 2
            position = await self._common(jetstream, middle)
            if position is None:
                high = middle
            else:
                low, found = middle, position
        return found

    async def _common(self, jetstream: JetStreamContext, sequence: int) -> int | None:
        """Return the position of a message if the outbox holds the same one there."""
        told = announced_in(await self._headers(jetstream, sequence))
        return told.position if told is not None and await self._is_known(told) else None

    async def _is_known(self, told: Announced) -> bool:
        """Say whether the outbox announces the same, by name and time, at that position."""
        if told.position % ERA_PLACES == 0:
            return era_of(told.position) <= era_of(await self._outbox.head())
        known = await self._outbox.read(told.position - 1, 1)
        if not known or known[0].moved.position != told.position:
            return False
        moved = known[0].moved
        return event_id(moved) == told.name and moved.at == told.at

    async def _headers(self, jetstream: JetStreamContext, sequence: int) -> Mapping[str, str]:
        try:
            message = await jetstream.get_msg(self._stream_name, seq=sequence)
        except NotFoundError:
            return {}
        return message.headers or {}


def _may_be_ours(position: int, era: int) -> bool:
    """Say whether a database of this era may have announced something there, and forgotten it."""
    return era_of(position) < era or is_plausible_after(position, era)


def position_in(headers: Mapping[str, str]) -> int | None:
    """Read the position that a message says it has in the outbox; None when none of ours can have it."""
    text = headers.get(POSITION_HEADER, "")
    if len(text) > POSITION_DIGITS_MAX or not (text.isascii() and text.isdigit()):
        return None
    position = int(text)
    return position if 0 < position <= POSITION_MAX else None


def announced_in(headers: Mapping[str, str]) -> Announced | None:
    """Read what a message says it announces; None when no announcement of ours can say it."""
    position = position_in(headers)
    name = headers.get(ID_HEADER, "")
    if position is None or not is_name_at(name, position):
        return None
    if position % ERA_PLACES == 0:
        return Announced(position=position, name=name, at=None)  # a marker has no time
    try:
        at = datetime.fromisoformat(headers.get(TIME_HEADER, ""))
    except ValueError:
        return None
    return Announced(position=position, name=name, at=at) if at.tzinfo is not None else None
