"""What JetStream says was announced last: a witness that no restore of the database makes forget.

It is asked once, at a start, before anything is written. It may be away; then nobody waits for it.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import TYPE_CHECKING, Final

import structlog
from nats.js.errors import NotFoundError

from settlement_engine.events.announce import ID_HEADER, TIME_HEADER
from settlement_engine.events.connection import TROUBLE, NatsAccess, connect
from settlement_engine.events.place import position_in
from settlement_engine.ports import Announced

if TYPE_CHECKING:
    from nats.js import JetStreamContext

log: Final[structlog.typing.FilteringBoundLogger] = structlog.get_logger(__name__)

WITNESS_SECONDS: Final = 1.5
"""No start waits longer than that for NATS."""


class StreamWitness:
    """See ``ports.Witness``."""

    def __init__(self, nats: NatsAccess, stream_name: str) -> None:
        self._nats = nats
        self._stream_name = stream_name

    async def last_announced(self) -> Announced | None:
        """Return what the stream holds last; None when it holds nothing of ours, or cannot be asked."""
        try:
            async with asyncio.timeout(WITNESS_SECONDS), connect(self._nats) as connection:
                return await self._read(connection.jetstream(timeout=WITNESS_SECONDS))
        except NotFoundError:
            return None
        except TROUBLE as trouble:
            log.warning("witness.away", trouble=f"{type(trouble).__name__}: {trouble}")
            return None

    async def _read(self, jetstream: JetStreamContext) -> Announced | None:
        last = (await jetstream.stream_info(self._stream_name)).state.last_seq
        if last == 0:
            return None
        message = await jetstream.get_msg(self._stream_name, seq=last)
        headers = message.headers or {}
        position = position_in(headers)
        if position is None:
            return None
        return Announced(
            position=position,
            name=headers.get(ID_HEADER, ""),
            at=_instant(headers.get(TIME_HEADER)),
        )


def _instant(text: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
