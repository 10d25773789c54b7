"""Files of payments in PostgreSQL (``ports.RailFileStore``).

A file and its items are stored by one transaction, which first locks the payments: nobody takes one over meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from settlement_engine.ports.rail_files import FileClosing, FileItem, RailFile
from settlement_engine.store.database import DatabaseConnection
from settlement_engine.store.queries import query

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import date

    from settlement_engine.ports.rail_files import AttemptKey
    from settlement_engine.store.database import Connection, DatabaseSettings, Readers


class PostgresRailFiles:
    """See ``ports.RailFileStore``."""

    def __init__(self, settings: DatabaseSettings, readers: Readers) -> None:
        self._readers = readers
        self._writing = DatabaseConnection(settings, is_writing=True)
        self._numbering = DatabaseConnection(settings, is_writing=True)

    async def close(self) -> None:
        """Close the connections."""
        await self._writing.close()
        await self._numbering.close()

    async def allocate_traces(self, count: int, above: int = 0) -> list[int]:
        """Return numbers that nobody has; see the port."""
        row = await self._numbering.fetchrow("allocate_traces", count, above)
        assert row is not None, "an INSERT returns its row"
        last: int = row["last"]
        return list(range(last - count + 1, last + 1))

    async def close_file(self, file: RailFile, items: Sequence[FileItem]) -> FileClosing:
        """Store a file with all its items, or nothing; see the port."""
        assert items, "a file has items"
        async with self._writing.session() as connection, connection.transaction():
            turned_down = await _turned_down(connection, items)
            if turned_down is not None:
                return turned_down
            row = await connection.fetchrow(
                query("add_rail_file"),
                *(file.rail, file.sender, file.created_on, file.modifier, file.name, file.content),
            )
            if row is None:
                return FileClosing(is_stored=False, is_modifier_used=True)
            await connection.execute(
                query("add_rail_file_items"),
                row["id"],
                [each.settlement_id for each in items],
                [each.attempt for each in items],
                [each.trace for each in items],
            )
        return FileClosing(is_stored=True)

    async def modifiers_of(self, rail: str, sender: str, day: date) -> frozenset[str]:
        """Return the modifiers that are used on a day."""
        rows = await self._writing.fetch("rail_file_modifiers", rail, sender, day)
        return frozenset(row["modifier"] for row in rows)

    async def filed(self, keys: Collection[AttemptKey]) -> frozenset[AttemptKey]:
        """Return those of the attempts that are in a file; read where it is written, so nothing is missed."""
        ids, attempts = [key for key, _ in keys], [number for _, number in keys]
        rows = await self._writing.fetch("filed_attempts", ids, attempts)
        return frozenset((row["settlement_id"], row["attempt"]) for row in rows)

    async def unplaced(self, rail: str, sender: str, limit: int) -> list[RailFile]:
        """Return the oldest files that are not recorded as placed."""
        rows = await self._writing.fetch("unplaced_rail_files", rail, sender, limit)
        return [
            RailFile(
                id=row["id"],
                rail=row["rail"],
                sender=row["sender"],
                created_on=row["created_on"],
                modifier=row["modifier"],
                name=row["name"],
                content=row["content"],
            )
            for row in rows
        ]

    async def note_placed(self, file_id: int) -> None:
        """Record that a file was placed."""
        await self._writing.fetch("note_rail_file_placed", file_id)

    async def items_of(self, rail: str, sha256: bytes) -> list[FileItem]:
        """Return the items of the file with these bytes."""
        rows = await self._readers.fetch("rail_file_items", rail, sha256)
        return [
            FileItem(settlement_id=row["settlement_id"], attempt=row["attempt"], trace=row["trace"])
            for row in rows
        ]


async def _turned_down(connection: Connection, items: Sequence[FileItem]) -> FileClosing | None:
    """Lock the payments; say which of them may not go into a file, None if all may."""
    ids, attempts = [each.settlement_id for each in items], [each.attempt for each in items]
    tokens = [each.fencing_token for each in items]
    locked = await connection.fetch(query("lock_file_items"), ids, tokens)
    found = await connection.fetch(query("ready_file_items"), ids, attempts)
    keys = [each.key for each in items]
    owned = {keys[row["place"] - 1] for row in locked}
    ready = owned.intersection((row["settlement_id"], row["attempt"]) for row in found)
    left = [key for key in keys if key not in ready]
    if not left:
        return None
    # In a file it may be with another owner by now: so all that are left are looked up.
    found = await connection.fetch(
        query("filed_attempts"), [key for key, _ in left], [number for _, number in left]
    )
    filed = frozenset((row["settlement_id"], row["attempt"]) for row in found)
    return FileClosing(is_stored=False, filed=filed, gone=frozenset(left) - filed)
