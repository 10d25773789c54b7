"""Where the relay stands: what JetStream holds, read from JetStream itself.

The relay keeps no memory of its own that could be wrong. The last message of the stream that the outbox
knows too is where it goes on. So it does not matter whether an acknowledgement was lost, the stream was
deleted or a power cut took its tail: nothing is left out, and nothing is written twice.

It may hold what the outbox does not know of its own era. Then the database is an older state of itself, and
whoever was named is told; nothing is published before an era has begun (``engine/opening.py``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import structlog
from nats.js.errors import NotFoundError

from settlement_engine.domain.announcement import ERA_PLACES, era_of, event_id, marker_id
from settlement_engine.errors import Unavailable
from settlement_engine.events.announce import (
    ID_HEADER,
    POSITION_HEADER,
    TIME_HEADER,
    rfc3339,
)
from settlement_engine.ports import Suspicion

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nats.js import JetStreamContext

    from settlement_engine.ports import Meter, Stream

log: Final[structlog.typing.FilteringBoundLogger] = structlog.get_logger(__name__)


class Place(NamedTuple):
    """Up to which position JetStream holds everything, and the sequence number of its last message."""

    position: int
    sequence: int


class Surveyor:
    """Compares a JetStream stream with the outbox."""

    def __init__(
        self,
        stream_name: str,
        outbox: Stream,
        meter: Meter,
        suspect: Callable[[Suspicion], None] | None = None,
    ) -> None:
        self._stream_name = stream_name
        self._outbox = outbox
        self._meter = meter
        self._suspect = suspect

    async def find(self, jetstream: JetStreamContext, published: int) -> Place:
        """Return the place at which to go on; ``published`` is the outbox's own note of it."""
        state = (await jetstream.stream_info(self._stream_name)).state
        position = await self._last_common(jetstream, state.first_seq, state.last_seq)
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

    async def _last_common(self, jetstream: JetStreamContext, first: int, last: int) -> int | None:
        """Find the position of the last message, from ``first`` to ``last``, that the outbox knows."""
        if last < first or last == 0:
            return None
        position = await self._common(jetstream, last)
        if position is not None:
            return position
        self._meter.anomaly("stream_disagrees")
        log.error(
            "relay.stream_disagrees",
            consequence="what the outbox does not know stays in the stream; the rest follows it",
            stream=self._stream_name,
            sequence=last,
        )
        found = await self._search(jetstream, first, last)
        await self._check_era(jetstream, last, found or 0)
        return found

    async def _check_era(self, jetstream: JetStreamContext, last: int, known_to: int) -> None:
        """Raise Unavailable when the last message is of the outbox's era, or a later one: it was forgotten."""
        position = position_in(await self._headers(jetstream, last))
        era = era_of(position or 0)
        if self._suspect is None or position is None or era < era_of(await self._outbox.head()):
            return
        self._suspect(Suspicion(why="stream_ahead", era_min=era + 1, known_to=known_to))
        what = "the stream holds what the database has forgotten"
        raise Unavailable(what, why=f"position {position}, known up to {known_to}")

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
        headers = await self._headers(jetstream, sequence)
        position = position_in(headers)
        if position is None:
            return None
        name = headers.get(ID_HEADER)
        if position % ERA_PLACES == 0:
            era = era_of(position)
            is_begun = era <= era_of(await self._outbox.head())
            return position if is_begun and name == marker_id(era) else None
        known = await self._outbox.read(position - 1, 1)
        if not known or known[0].moved.position != position:
            return None
        moved = known[0].moved
        is_same = event_id(moved) == name and rfc3339(moved.at) == headers.get(TIME_HEADER)
        return position if is_same else None

    async def _headers(self, jetstream: JetStreamContext, sequence: int) -> Mapping[str, str]:
        try:
            message = await jetstream.get_msg(self._stream_name, seq=sequence)
        except NotFoundError:
            return {}
        return message.headers or {}


def position_in(headers: Mapping[str, str]) -> int | None:
    """Read the place that a message says it has in the outbox; None when it is not one of ours."""
    text = headers.get(POSITION_HEADER, "")
    return int(text) if text.isascii() and text.isdigit() else None
