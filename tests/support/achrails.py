"""The rail ach for tests: its folders, files in memory, and the scripted bank as the operator that empties the outbox."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import date
from typing import TYPE_CHECKING, Any

import msgspec

from settlement_engine.rails.ach.connections import AchConnection, AchConnections
from settlement_engine.rails.ach.party import AchParty
from settlement_engine.rails.ach.profile import AchProfile, shipped_profile
from settlement_engine.rails.ach.rail import AchRail
from settlement_engine.rails.transport.folder import FolderSettings, FolderTransport
from settlement_engine.simulator.callbacks import Callbacks
from settlement_engine.simulator.folders import FolderPair, Folders
from settlement_engine.simulator.service import BankService
from settlement_lab.memory import MemoryRailFiles, Records

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from settlement_engine.ports import Clock, InboundMessage
    from settlement_engine.ports.rail_files import FileItem
    from settlement_engine.simulator.ledger_lines import LedgerLine
    from settlement_engine.simulator.scenarios import ScenarioScript

ODFI = "091000019"
DAY = date(2026, 11, 25)


def party(**changes: Any) -> AchParty:
    values = {
        "destination": ODFI,
        "destination_name": "DEUTSCHE BANK",
        "origin": "1234567890",
        "origin_name": "SETTLEMENT ENGINE",
        "company_id": "1234567890",
        "company_name": "SETTLEMENT TEST",
        "receiver": "231380104",
        "account": "4711-0815",
        "account_kind": "checking",
        "name": "SETTLEMENT ENGINE TEST",
        "description": "SETTLEMENT",
        "zone": "America/New_York",
    }
    return AchParty(**{**values, **changes})


def profile(**changes: Any) -> AchProfile:
    return msgspec.structs.replace(shipped_profile("simulator_ach"), **changes)


def transport(folder: Path) -> FolderTransport:
    settings = FolderSettings(
        outbox=folder / "outbox", inbox=folder / "inbox", archive=folder / "archive"
    )
    for each in (settings.outbox, settings.inbox):
        each.mkdir(parents=True, exist_ok=True)
    return FolderTransport(settings)


def connection(folder: Path, *, name: str = "bank", **changes: Any) -> AchConnection:
    values: dict[str, Any] = {
        "party": party(),
        "profile": profile(),
        "transport": transport(folder),
        "close_after_seconds": 0.01,
        "poll_seconds": 0.01,
        **changes,
    }
    return AchConnection(name=name, **values)


class FilesOfAnybody(MemoryRailFiles):
    """Files in memory that ask nobody whether a payment is locked: the tests of the rail have no settlements."""

    def __init__(self) -> None:
        super().__init__(Records(clock=NoClock()))
        self.gone: set[Any] = set()

    def _may_go(self, item: FileItem) -> bool:
        return item.settlement_id not in self.gone


class NoClock:
    def now(self) -> Any:
        return None


class Inbox:
    """Stores inbound messages, or cannot."""

    def __init__(self) -> None:
        self.messages: list[InboundMessage] = []
        self.error: Exception | None = None

    async def __call__(self, messages: Sequence[InboundMessage]) -> None:
        if self.error is not None:
            raise self.error
        self.messages += messages


def ach_rail(
    clock: Clock,
    files: MemoryRailFiles,
    *connections: AchConnection,
    alarms: list[str] | None = None,
) -> AchRail:
    noted = [] if alarms is None else alarms
    return AchRail(
        AchConnections(connections), files, clock, lambda _rail, alarm: noted.append(alarm)
    )


class AchOperator:
    """The scripted bank at the other end of the folders, running between ``open`` and ``close``."""

    def __init__(self, folder: Path, script: ScenarioScript) -> None:
        self.service = BankService(folder / "operator.db", script, calls_back=False)
        self.folders = Folders(
            self.service, FolderPair(orders=folder / "outbox", reports=folder / "inbox")
        )
        self._callbacks = Callbacks(self.service, "", None, self.folders)
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self, *, is_working: bool = True) -> None:
        await self.service.start()
        self.folders.prepare()
        loop = asyncio.get_running_loop()
        if is_working:
            self._tasks = [
                loop.create_task(self.folders.run()),
                loop.create_task(self._callbacks.run()),
            ]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await self.service.stop()

    async def advise(self) -> None:
        """Carry out what is due, and write the reports of it into the inbox."""
        for row in await self.service.work():
            assert await self.folders.report(row["id"], row["copies_left"], row["content"])
            await self.service.delivered(row["id"])

    async def ledger(self) -> list[LedgerLine]:
        page, _ = await self.service.ledger_page(0)
        return page
