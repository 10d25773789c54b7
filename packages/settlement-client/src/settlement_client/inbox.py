"""For consumers in Python: handle each announcement once, however often NATS hands it out.

The stream holds each announcement once, but an acknowledgement can be lost, and then NATS hands the
message out again. The inbox remembers the ids, in the same transaction as what the consumer does about
them. So both happen or neither::

    async with connection.transaction():
        if await PostgresInbox(connection, consumer="reporting").take(message.headers["ce-id"]):
            await connection.execute("UPDATE totals SET settled = settled + $1", amount_minor)
    await message.ack()

This module runs in the consumer's process and database, never in the engine's.
"""

from __future__ import annotations

import re
from typing import Final, Protocol

EVENT_ID_MAX: Final = 200
MEMORY_IDS_MAX: Final = 1_000_000

_NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}(\.[a-z_][a-z0-9_]{0,62})?", re.ASCII)


class Inbox(Protocol):
    """Remembers what was handled."""

    async def take(self, event_id: str) -> bool:
        """Remember the id; say whether it is new, so that the caller handles it now."""
        ...


class MemoryInbox:
    """An inbox that lasts as long as its process: for tests, demos and what needs no more.

    Beyond ``ids_max`` the oldest ids are forgotten.
    """

    def __init__(self, *, ids_max: int = MEMORY_IDS_MAX) -> None:
        assert ids_max > 0
        self._ids_max = ids_max
        self._ids: dict[str, None] = {}

    async def take(self, event_id: str) -> bool:
        """Remember the id; say whether it is new."""
        if event_id in self._ids:
            return False
        if len(self._ids) >= self._ids_max:
            del self._ids[next(iter(self._ids))]
        self._ids[event_id] = None
        return True


class Database(Protocol):
    """As much of an asyncpg connection as the inbox needs."""

    async def execute(self, query: str, *args: object) -> str:
        """Run a statement; return its command tag, such as ``INSERT 0 1``."""
        ...


class PostgresInbox:
    """An inbox in the consumer's own database. The caller opens the transaction.

    ``table`` may name a schema. Several consumers share a table under different names.
    """

    def __init__(self, connection: Database, *, consumer: str, table: str = "event_inbox") -> None:
        if _NAME.fullmatch(table) is None:
            raise ValueError("the table's name must be plain lower-case letters, digits and _")
        if not consumer:
            raise ValueError("the consumer needs a name")
        self._connection = connection
        self._consumer = consumer
        # A table's name cannot be a parameter; the grammar above leaves nothing to inject.
        self._create = (
            f"CREATE TABLE IF NOT EXISTS {table} ("
            "consumer text NOT NULL, event_id text NOT NULL, "
            "taken_at timestamptz NOT NULL DEFAULT clock_timestamp(), "
            "PRIMARY KEY (consumer, event_id))"
        )
        self._insert = (
            f"INSERT INTO {table} (consumer, event_id) VALUES ($1, $2) "  # noqa: S608
            "ON CONFLICT DO NOTHING"
        )

    async def create(self) -> None:
        """Make the table if it is absent."""
        await self._connection.execute(self._create)

    async def take(self, event_id: str) -> bool:
        """Remember the id in the open transaction; say whether it is new.

        If another transaction is taking the same id, this waits for its end.
        """
        if not 0 < len(event_id) <= EVENT_ID_MAX:
            raise ValueError(f"an event id has 1 to {EVENT_ID_MAX} characters")
        tag = await self._connection.execute(self._insert, self._consumer, event_id)
        return tag == "INSERT 0 1"
