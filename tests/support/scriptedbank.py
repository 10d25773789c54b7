"""The scripted bank in the test's event loop, with its port, call-backs and an adjustable clock."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from settlement_engine.simulator.callbacks import Callbacks
from settlement_engine.simulator.http import BankServer
from settlement_engine.simulator.scenarios import Rule, ScenarioScript
from settlement_engine.simulator.service import BankService

if TYPE_CHECKING:
    from pathlib import Path

    from settlement_engine.simulator.ledger_lines import LedgerLine


class ScriptedBank:
    """One bank, running between ``open`` and ``close``."""

    def __init__(
        self, folder: Path, script: ScenarioScript | None = None, callback_url: str = ""
    ) -> None:
        self._callback_url = callback_url
        self.service = BankService(
            folder / "scripted-bank.db", script or ScenarioScript(), calls_back=bool(callback_url)
        )
        self._server = BankServer(self.service)
        self._delivering: asyncio.Task[None] | None = None
        self.endpoint = ""

    async def open(self) -> None:
        await self.service.start()
        port = await self._server.listen("127.0.0.1", 0)
        self.endpoint = f"http://127.0.0.1:{port}"
        callbacks = Callbacks(self.service, self._callback_url)
        self._delivering = asyncio.get_running_loop().create_task(callbacks.run())

    async def close(self) -> None:
        if self._delivering is not None:
            self._delivering.cancel()
            with suppress(asyncio.CancelledError):
                await self._delivering
        await self._server.stop()
        await self.service.stop()

    def treat_at_once(self, reference: str, scenario: str) -> None:
        """Give a payment of this name a scenario, from its first receipt on."""
        bank = self.service._bank
        rules = (Rule(scenario=scenario, reference=reference), *bank.script.rules)
        bank.script = msgspec.structs.replace(bank.script, rules=rules)

    async def ledger(self) -> list[LedgerLine]:
        await self.service.work()
        found: list[LedgerLine] = []
        page, last_id = await self.service.ledger_page(0)
        while page:
            found += page
            page, last_id = await self.service.ledger_page(last_id)
        return found
