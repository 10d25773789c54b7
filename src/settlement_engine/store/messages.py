"""Messages in PostgreSQL (``ports.MessageStore``).

A transmission's bytes are those of its attempt, and what a bank sent unasked is an inbound message; the view
``settlement_messages`` joins both with the table of all others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from settlement_engine.domain.identifiers import References
from settlement_engine.domain.kept_messages import ListedMessage, MessageDirection
from settlement_engine.store import arrays
from settlement_engine.store.database import DatabaseConnection

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    import asyncpg

    from settlement_engine.domain.kept_messages import KeptMessage, MessagePosition
    from settlement_engine.store.database import DatabaseSettings, Readers


class PostgresMessages:
    """See ``ports.MessageStore``."""

    def __init__(self, settings: DatabaseSettings, readers: Readers) -> None:
        self._readers = readers
        self._writing = DatabaseConnection(settings, is_writing=True)

    async def close(self) -> None:
        """Close the connection."""
        await self._writing.close()

    async def keep(self, messages: Sequence[KeptMessage]) -> None:
        """Store messages; one that is stored already changes nothing."""
        if messages:
            await self._writing.fetch("keep_messages", *message_arrays(messages))

    async def messages_of(
        self, settlement_id: UUID, limit: int, after: MessagePosition | None = None
    ) -> list[ListedMessage]:
        """Return a settlement's messages, oldest first; see the port."""
        place: tuple[object, ...] = (None, None, None)
        if after is not None:
            place = (after.at, after.direction.value, after.sha256)
        rows = await self._readers.fetch("list_messages", settlement_id, limit, *place)
        return [to_message(row) for row in rows]


def to_message(row: asyncpg.Record) -> ListedMessage:
    """Build a message as it is listed."""
    return ListedMessage(
        direction=MessageDirection(row["direction"]),
        attempt=row["attempt"],
        rail=row["rail"],
        type=row["type"],
        message_id=row["message_id"],
        response_status=row["response_status"] or 0,
        content=row["content"],
        size_bytes=row["bytes"],
        sha256=row["sha256"],
        at=row["at"],
        references=References(
            uetr=row["uetr"],
            end_to_end_id=row["end_to_end_id"],
            message_id=row["payment_message_id"],
        ),
    )


def message_arrays(messages: Sequence[KeptMessage]) -> tuple[str, ...]:
    """Encode messages as the columns of one statement."""
    return (
        arrays.uuids(each.settlement_id for each in messages),
        arrays.instants(each.at for each in messages),
        arrays.words(each.direction.value for each in messages),
        arrays.integers(each.attempt for each in messages),
        arrays.texts(each.rail for each in messages),
        arrays.texts(each.type for each in messages),
        arrays.texts(each.message_id for each in messages),
        arrays.integers(each.response_status for each in messages),
        arrays.octets(each.content for each in messages),
    )
