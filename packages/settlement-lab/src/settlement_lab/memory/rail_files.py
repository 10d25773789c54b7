"""Files of payments in memory (``ports.RailFileStore``)."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from settlement_engine.domain.lifecycle import State
from settlement_engine.errors import Broken
from settlement_engine.ports.rail_files import TRACE_SEQUENCE_MAX, FileClosing, FileItem, RailFile

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import date

    from settlement_engine.ports.rail_files import AttemptKey
    from settlement_lab.memory.records import Records


class MemoryRailFiles:
    """See ``ports.RailFileStore``."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def allocate_traces(self, count: int, above: int = 0) -> list[int]:
        """Return numbers that nobody has; see the port."""
        first = max(self._records.last_trace, above) + 1
        if first + count - 1 > TRACE_SEQUENCE_MAX:
            what = "there are no trace numbers left"
            raise Broken(what)
        self._records.last_trace = first + count - 1
        return list(range(first, first + count))

    async def close_file(self, file: RailFile, items: Sequence[FileItem]) -> FileClosing:
        """Store a file with all its items, or nothing; see the port."""
        assert items, "a file has items"
        filed = await self.filed([each.key for each in items])
        gone = {each.key for each in items if each.key not in filed and not self._may_go(each)}
        if filed or gone:
            return FileClosing(is_stored=False, filed=filed, gone=frozenset(gone))
        if file.modifier in await self.modifiers_of(file.rail, file.sender, file.created_on):
            return FileClosing(is_stored=False, is_modifier_used=True)
        number = len(self._records.rail_files) + 1
        stored = msgspec.structs.replace(file, id=number)
        self._records.rail_files.append((stored, tuple(items)))
        self._records.file_closed_at[number] = self._records.clock.now()
        return FileClosing(is_stored=True)

    def _may_go(self, item: FileItem) -> bool:
        """Say whether a payment is locked, with the owner that put it into the open file."""
        parked = self._records.open.get(item.settlement_id)
        settlement = self._records.histories.get(item.settlement_id)
        if parked is None or settlement is None or settlement.attempt is None:
            return False
        is_same = parked.fencing_token == item.fencing_token
        is_locked = settlement.state is State.LOCKED
        return is_same and is_locked and settlement.attempt.number == item.attempt

    async def modifiers_of(self, rail: str, sender: str, day: date) -> frozenset[str]:
        """Return the modifiers that are used on a day."""
        wanted = (rail, sender, day)
        return frozenset(
            file.modifier
            for file, _ in self._records.rail_files
            if (file.rail, file.sender, file.created_on) == wanted
        )

    async def filed(self, keys: Collection[AttemptKey]) -> frozenset[AttemptKey]:
        """Return those of the attempts that are in a file."""
        stored = {item.key for _, items in self._records.rail_files for item in items}
        return frozenset(stored.intersection(keys))

    async def unplaced(self, rail: str, sender: str, limit: int) -> list[RailFile]:
        """Return the oldest files that are not recorded as placed."""
        return [
            file
            for file, _ in self._records.rail_files
            if (file.rail, file.sender) == (rail, sender)
            and file.id not in self._records.placed_files
        ][:limit]

    async def note_placed(self, file_id: int) -> None:
        """Record that a file was placed."""
        self._records.placed_files.add(file_id)

    async def items_of(self, rail: str, sha256: bytes) -> list[FileItem]:
        """Return the items of the file with these bytes."""
        return [
            msgspec.structs.replace(item, fencing_token=0)
            for file, items in self._records.rail_files
            if file.rail == rail and hashlib.sha256(file.content).digest() == sha256
            for item in sorted(items, key=lambda each: each.trace)
        ]
