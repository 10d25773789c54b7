"""The folders of an ACH operator's file connector: files are taken from one and put into the other.

Promises: a file is taken away only after it was dealt with and its acknowledgement put down, so that a kill in
between repeats both with the same bytes; what is put down is there whole or not at all. Its own code, not the
rails': it judges theirs.
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
"""No more files than this are taken at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderPair:
    """``orders`` is what the customer fills (its outbox), ``reports`` what it empties (its inbox)."""

    orders: Path
    reports: Path


class Folders:
    """Works through one pair of folders."""

    def __init__(self, service: BankService, pair: FolderPair) -> None:
        self._service = service
        self._pair = pair

    def prepare(self) -> None:
        """Make the folders if they are not there."""
        for folder in (self._pair.orders, self._pair.reports):
            folder.mkdir(parents=True, exist_ok=True)

    async def run(self) -> None:
        """Take files for ever."""
        while True:
            await self.take()
            await asyncio.sleep(POLL_SECONDS)

    async def take(self) -> None:
        """Deal with the files that are there, oldest first."""
        for path in await asyncio.to_thread(self._waiting):
            content = await asyncio.to_thread(_read, path)
            said = await self._service.receive_file(path.name, content)
            if said is not None:
                await asyncio.to_thread(self.put, f"{path.stem}.ack.json", said)
            await asyncio.to_thread(path.unlink, missing_ok=True)

    def put(self, name: str, content: bytes) -> None:
        """Put a file down in one step."""
        hidden = self._pair.reports / f".{name}.tmp"
        with hidden.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        hidden.rename(self._pair.reports / name)

    async def report(self, callback_id: int, copies_left: int, content: bytes) -> bool:
        """Put down what is said of an entry; each copy is a file of its own."""
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
