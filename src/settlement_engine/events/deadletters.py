"""What clearing sent and can never be taken in: kept for a person, each message once, within bounds.

A message that is handed out again, because its durable consumer was made anew, is recognised by its place in
its stream. Of a large one the beginning is kept, with size and hash of the whole. While very many wait for a
person, no payload is kept at all: the letter still says which message of which stream it was.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from settlement_engine.domain.deadletters import MessageOrigin

if TYPE_CHECKING:
    from nats.aio.msg import Msg

    from settlement_engine.ports import DeadLetterStore

log: Final[structlog.typing.FilteringBoundLogger] = structlog.get_logger(__name__)

COUNT_SECONDS: Final = 5.0
"""So often, at most, those that wait are counted anew while others come in."""


class DeadLetterQueue:
    """Adds messages to the store. ``open_max`` is how many may wait before payloads are left out."""

    def __init__(self, store: DeadLetterStore, *, kept_bytes_max: int, open_max: int) -> None:
        self._store = store
        self._kept_bytes_max = kept_bytes_max
        self._open_max = open_max
        self._open = 0
        self._count_due = 0.0

    async def add(self, message: Msg, why: str) -> None:
        """Keep the message with the reason; one that is kept already is left as it is. Raises Unavailable."""
        kept_bytes_max = 0 if await self._is_full() else self._kept_bytes_max
        is_new = await self._store.keep_dead_letter(
            message.subject, message.data, why, _origin(message), kept_bytes_max=kept_bytes_max
        )
        if not is_new:
            log.info("clearing.buried_before", subject=message.subject)
            return
        self._open += 1
        kept_bytes = min(len(message.data), kept_bytes_max)
        log.warning("clearing.buried", subject=message.subject, why=why, kept_bytes=kept_bytes)

    async def _is_full(self) -> bool:
        now = asyncio.get_running_loop().time()
        if now >= self._count_due:
            self._open = await self._store.waiting_dead_letters(self._open_max)
            self._count_due = now + COUNT_SECONDS
        return self._open >= self._open_max


def _origin(message: Msg) -> MessageOrigin:
    about = message.metadata
    return MessageOrigin(
        stream=about.stream, sequence=about.sequence.stream, stored_at=about.timestamp
    )
