"""The dead-letter queue of clearing's messages: kept for a person, each message once, within bounds.

Promises: a message that is delivered again after its durable consumer was created again is recognised by its
sequence number in the stream. Of a large message the beginning is kept, with size and hash of the whole. While very
many dead letters are open, no payload is kept, but the dead letter still identifies the message and its stream.
Must never: drop a message without a record.
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
"""The shortest time between two counts of the open dead letters, in seconds."""


class DeadLetterQueue:
    """Adds messages to the store. With ``open_max`` open dead letters, payloads are no longer kept."""

    def __init__(self, store: DeadLetterStore, *, kept_bytes_max: int, open_max: int) -> None:
        self._store = store
        self._kept_bytes_max = kept_bytes_max
        self._open_max = open_max
        self._open = 0
        self._count_due = 0.0

    async def add(self, message: Msg, why: str) -> None:
        """Store the message with the reason; one that is stored already is unchanged. Raises Unavailable."""
        kept_bytes_max = 0 if await self._is_full() else self._kept_bytes_max
        is_new = await self._store.keep_dead_letter(
            message.subject, message.data, why, _origin(message), kept_bytes_max=kept_bytes_max
        )
        if not is_new:
            log.info("clearing.dead_letter_known", subject=message.subject)
            return
        self._open += 1
        kept_bytes = min(len(message.data), kept_bytes_max)
        log.warning("clearing.dead_letter", subject=message.subject, why=why, kept_bytes=kept_bytes)

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
