"""The check of the event stream: which announcement JetStream has last, independent of the database.

It is asked once, at the start, before anything is written; if it is unreachable, the start does not wait. Messages
that cannot be one of our announcements are skipped, because others may be able to publish there. Must never: raise.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog
from nats.js.errors import NotFoundError

from settlement_engine.events.connection import TROUBLE, NatsAccess, connect
from settlement_engine.events.held import announced_in

if TYPE_CHECKING:
    from nats.js import JetStreamContext

    from settlement_engine.ports import Announced

log: Final[structlog.typing.FilteringBoundLogger] = structlog.get_logger(__name__)

STREAM_CHECK_SECONDS: Final = 1.5
"""How long the start of an engine waits for NATS."""

LOOKED_AT_MAX: Final = 100
"""How many messages at the end of the stream are read to find one of ours."""


class NatsEventStreamCheck:
    """See ``ports.EventStreamCheck``."""

    def __init__(self, nats: NatsAccess, stream_name: str, prefix: str) -> None:
        self._nats = nats
        self._stream_name = stream_name
        self._subjects = f"{prefix}.*"

    async def last_announced(self) -> Announced | None:
        """Return the last announcement of ours in the stream; None if there is none, or it is unreachable."""
        try:
            async with asyncio.timeout(STREAM_CHECK_SECONDS), connect(self._nats) as connection:
                return await self._read(connection.jetstream(timeout=STREAM_CHECK_SECONDS))
        except NotFoundError:
            return None
        except TROUBLE as trouble:
            log.warning("stream_check.unreachable", trouble=f"{type(trouble).__name__}: {trouble}")
            return None

    async def _read(self, jetstream: JetStreamContext) -> Announced | None:
        # Behind the moves there may be thousands of notices.
        last = (await jetstream.get_last_msg(self._stream_name, self._subjects)).seq or 0
        state = (await jetstream.stream_info(self._stream_name)).state
        lowest = max(state.first_seq, last - LOOKED_AT_MAX + 1, 1)
        for sequence in range(last, lowest - 1, -1):
            message = await jetstream.get_msg(self._stream_name, seq=sequence)
            told = announced_in(message.headers or {})
            if told is not None:
                return told
        return None
