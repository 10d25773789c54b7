"""For consumers in Python: handle each announcement once, however often NATS delivers it.

The stream has each announcement once, but an acknowledgement can be lost, and then NATS delivers the message
again. The inbox stores the ids in the same transaction as the consumer's own changes, so that both happen or
neither::

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
    """Remembers which events were handled."""

    async def take(self, event_id: str) -> bool:
        """Store the id; return True if it is new, so that the caller handles the event now."""
        ...


class MemoryInbox:
    """An inbox in memory, for tests and demos: it is lost when its process ends.

    Beyond ``ids_max`` the oldest ids are forgotten.
    """

    def __init__(self, *, ids_max: int = MEMORY_IDS_MAX) -> None:
        assert ids_max > 0
        self._ids_max = ids_max
        self._ids: dict[str, None] = {}

    async def take(self, event_id: str) -> bool:
        """Store the id; return True if it is new."""
        if event_id in self._ids:
            return False
        if len(self._ids) >= self._ids_max:
            del self._ids[next(iter(self._ids))]
        self._ids[event_id] = None
        return True


class Database(Protocol):
    """The part of an asyncpg connection that the inbox uses."""

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
        # A table's name cannot be a parameter; the check above allows no other SQL in it.
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
        """Create the table if it does not exist."""
        await self._connection.execute(self._create)

    async def take(self, event_id: str) -> bool:
        """Store the id in the open transaction; return True if it is new.

        If another transaction has stored the same id and is still open, this waits for its end.
        """
        if not 0 < len(event_id) <= EVENT_ID_MAX:
            raise ValueError(f"an event id has 1 to {EVENT_ID_MAX} characters")
        tag = await self._connection.execute(self._insert, self._consumer, event_id)
        return tag == "INSERT 0 1"
