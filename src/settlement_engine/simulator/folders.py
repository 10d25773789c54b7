"""The folders of an ACH operator's file connector: files are read from one and written to the other.

Promises: a file is removed only after it was processed and its acknowledgement was written, so that after a
kill in between both are repeated with the same bytes; a file is written whole or not at all. The code is not
shared with the rails, because the simulator tests theirs.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

    from settlement_engine.simulator.service import BankService

POLL_SECONDS: Final = 0.1
FILE_BYTES_MAX: Final = 33_554_432
TAKEN_MAX: Final = 100
"""At most so many files are processed at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderPair:
    """``orders`` is the customer's outbox, which the bank reads; ``reports`` is the customer's inbox."""

    orders: Path
    reports: Path


class Folders:
    """Processes the files of one pair of folders."""

    def __init__(self, service: BankService, pair: FolderPair) -> None:
        self._service = service
        self._pair = pair

    def prepare(self) -> None:
        """Create the folders if they do not exist."""
        for folder in (self._pair.orders, self._pair.reports):
            folder.mkdir(parents=True, exist_ok=True)

    async def run(self) -> None:
        """Process files until cancelled."""
        while True:
            await self.take()
            await self.put_statements()
            await asyncio.sleep(POLL_SECONDS)

    async def take(self) -> None:
        """Process the files in the folder, oldest first."""
        for path in await asyncio.to_thread(self._waiting):
            content = await asyncio.to_thread(_read, path)
            said = await self._service.receive_file(path.name, content)
            if said is not None:
                await asyncio.to_thread(self.put, f"{path.stem}.ack.json", said)
            await asyncio.to_thread(path.unlink, missing_ok=True)

    async def put_statements(self) -> None:
        """Write yesterday's statements, once; after a kill in between, a second time with the same bytes."""
        for due in await self._service.statements_for_folder():
            await asyncio.to_thread(self.put, due.name, due.content)
            await self._service.statement_delivered(due)

    def put(self, name: str, content: bytes) -> None:
        """Write a file in one step, by renaming it."""
        hidden = self._pair.reports / f".{name}.tmp"
        with hidden.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        hidden.rename(self._pair.reports / name)

    async def report(self, callback_id: int, copies_left: int, content: bytes) -> bool:
        """Write a report about an entry; each copy is a separate file."""
        ending = "json" if content.startswith(b"{") else "ach"
        name = f"report-{callback_id}-{copies_left}.{ending}"
        try:
            await asyncio.to_thread(self.put, name, content)
        except OSError:
            return False
        return True

    def _waiting(self) -> list[Path]:
        found = [
            path
            for path in self._pair.orders.iterdir()
            if not path.name.startswith(".") and path.is_file()
        ]
        return sorted(found, key=lambda path: (path.stat().st_mtime_ns, path.name))[:TAKEN_MAX]


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(FILE_BYTES_MAX)
