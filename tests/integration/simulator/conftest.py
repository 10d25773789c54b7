"""A scripted bank as a process of its own, and whom it calls back."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web

from settlement_engine.messages.envelope import opened

if TYPE_CHECKING:
    from pathlib import Path


class BankProcess:
    """The bank, started as a user starts it, killed as the system kills it."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._folder = folder
        self._options = options
        self._process: asyncio.subprocess.Process | None = None
        self.address = ""

    async def start(self) -> None:
        command = ("-m", "settlement_engine", "bank-simulator", "--json")
        ledger = ("--ledger", str(self._folder / "bank.db"))
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, *command, *ledger, *self._options), stdout=asyncio.subprocess.PIPE
        )
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), 60)
        self.address = json.loads(line)["simulator"]

    async def end(self, number: int = signal.SIGTERM) -> int:
        assert self._process is not None
        with suppress(ProcessLookupError):
            os.kill(self._process.pid, number)
        return await self._process.wait()

    async def ledger(self, **options: Any) -> list[dict[str, Any]]:
        text = await self.call("GET", "/ledger", **options)
        return [json.loads(line) for line in text.splitlines()]

    async def call(self, method: str, path: str, body: Any = None, **options: Any) -> bytes:
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, self.address + path, data=data, **options) as response,
        ):
            return await response.read()


class Listener:
    """Whom the bank calls back."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.is_refusing = False
        self.came = asyncio.Event()
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        self.bodies.append(await request.read())
        self.came.set()
        return web.Response(status=503 if self.is_refusing else 200)

    async def wait_for(self, count: int) -> list[Any]:
        async with asyncio.timeout(30):
            while len(self.bodies) < count:
                self.came.clear()
                await self.came.wait()
        return [opened(body) for body in self.bodies]


@pytest.fixture
async def listener():
    made = Listener()
    app = web.Application()
    app.add_routes([web.post("/inbound", made.take)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/inbound"
    yield made
    await runner.cleanup()


@pytest.fixture
async def start_bank(tmp_path):
    started: list[BankProcess] = []

    async def start(*options: str) -> BankProcess:
        bank = BankProcess(tmp_path, *options)
        started.append(bank)
        await bank.start()
        return bank

    yield start
    for bank in started:
        await bank.end()
