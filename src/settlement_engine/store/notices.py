"""The outbox of notices in PostgreSQL (``ports.NoticeOutbox``): a notice numbers a fact that has a table of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.domain.notices import (
    BreakEscalated,
    DayProved,
    DiscrepancyReported,
    NoticedFact,
    OutboxNotice,
    RecallStepped,
)
from settlement_engine.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from settlement_engine.store.database import DatabaseConnection, Readers

_DECODERS: Final[dict[str, Callable[[str], NoticedFact]]] = {
    "discrepancy": msgspec.json.Decoder(DiscrepancyReported).decode,
    "escalation": msgspec.json.Decoder(BreakEscalated).decode,
    "recall": msgspec.json.Decoder(RecallStepped).decode,
    "proof": msgspec.json.Decoder(DayProved).decode,
}


class PostgresNotices:
    """See ``ports.NoticeOutbox``. ``relay`` is the connection of the relay's leader."""

    def __init__(self, readers: Readers, relay: DatabaseConnection) -> None:
        self._readers = readers
        self._relay = relay

    async def read(self, after: int, limit: int) -> list[OutboxNotice]:
        """Return the notices after a position, oldest first."""
        rows = await self._readers.fetch("read_notices", after, limit)
        return [
            OutboxNotice(
                position=row["position"], at=row["at"], fact=_DECODERS[row["kind"]](row["fact"])
            )
            for row in rows
        ]

    async def head(self) -> int:
        """Return the last position."""
        row = await self._readers.fetchrow("notice_head")
        assert row is not None, "the head is a row of the migration"
        return int(row["position"])

    async def published(self) -> tuple[int, int]:
        """Return the last position that JetStream is known to hold, and its place in the stream."""
        row = await self._readers.fetchrow("notice_head")
        assert row is not None, "the head is a row of the migration"
        return int(row["published"]), int(row["published_sequence"])

    async def mark_published(self, position: int, sequence: int) -> None:
        """Record them; see the port. After the server ended an idle session, retry once."""
        try:
            await self._relay.fetch("mark_notices_published", position, sequence)
        except Unavailable:
            await self._relay.fetch("mark_notices_published", position, sequence)
