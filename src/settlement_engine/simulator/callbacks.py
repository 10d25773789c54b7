"""Call-backs: the reports that the bank sends on its own, repeated until the receiver has accepted them.

Promises: a call-back counts as delivered only after a success response; it has the same bytes at each attempt;
the call-backs about one payment are sent in order. The number of attempts is bounded.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from itertools import groupby
from typing import TYPE_CHECKING, Final

import aiohttp

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    from settlement_engine.simulator.folders import Folders
    from settlement_engine.simulator.service import BankService

ATTEMPTS_MAX: Final = 2_000
PAUSE_MS: Final = 500
TIMEOUT_SECONDS: Final = 10.0
AT_ONCE_MAX: Final = 16
IDLE_SECONDS: Final = 0.25
"""The longest time between two checks for work that is due."""

RAIL: Final = "{rail}"
SUCCESS: Final = range(200, 300)


def client_context(authority: Path, certificate: Path | None, key: Path | None) -> ssl.SSLContext:
    """Make the TLS context for call-backs. Raises OSError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(authority)
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    return context


class Callbacks:
    """Carries out due steps, and delivers call-backs to an address, or reports about files into a folder.

    ``{rail}`` in the address is the rail over which the payment came.
    """

    def __init__(
        self,
        service: BankService,
        url: str,
        tls: ssl.SSLContext | None = None,
        folders: Folders | None = None,
        token: str = "",
    ) -> None:
        self._service = service
        self._folders = folders
        self._url = url
        self._tls = tls
        self._headers = {"content-type": "application/xml"}
        if token:
            self._headers["authorization"] = f"Bearer {token}"

    async def run(self) -> None:
        """Deliver until cancelled."""
        connector = aiohttp.TCPConnector(limit=AT_ONCE_MAX)
        async with aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS), connector=connector
        ) as session:
            while True:
                self._service.is_woken.clear()
                due = await self._service.work()
                if due:
                    await self._deliver(session, due)
                else:
                    await self._sleep()

    async def _sleep(self) -> None:
        seconds = await self._service.seconds_to_next()
        wait = IDLE_SECONDS if seconds is None else min(IDLE_SECONDS, seconds)
        with suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await self._service.is_woken.wait()

    async def _deliver(self, session: aiohttp.ClientSession, due: list[sqlite3.Row]) -> None:
        ordered = sorted(due, key=lambda row: row["payment_id"])
        async with asyncio.TaskGroup() as group:
            for _, rows in groupby(ordered, key=lambda row: row["payment_id"]):
                group.create_task(self._deliver_in_order(session, list(rows)))

    async def _deliver_in_order(
        self, session: aiohttp.ClientSession, rows: list[sqlite3.Row]
    ) -> None:
        for row in rows:
            if await self._is_taken(session, row):
                await self._service.delivered(row["id"])
            else:
                await self._service.not_delivered(row["id"], PAUSE_MS, ATTEMPTS_MAX)

    async def _is_taken(self, session: aiohttp.ClientSession, row: sqlite3.Row) -> bool:
        body: bytes = row["content"]
        if row["is_file"]:
            folders = self._folders
            return folders is not None and await folders.report(row["id"], row["copies_left"], body)
        if not self._url:
            return False
        try:
            async with session.post(
                self._url.replace(RAIL, row["rail"]),
                data=body,
                headers=self._headers,
                allow_redirects=False,
                ssl=True if self._tls is None else self._tls,
            ) as response:
                return response.status in SUCCESS
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False
