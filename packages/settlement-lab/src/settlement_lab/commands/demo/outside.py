"""The external sources of the demo's checks: the banks' ledgers, and the announcements on JetStream.

Promises: it only reads, with bounds on time and size.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

import aiohttp
import nats
from nats.errors import TimeoutError as NatsTimeoutError
from nats.js.api import ConsumerConfig, DeliverPolicy

from settlement_client import MemoryInbox
from settlement_lab.commands.demo.checks import BankEntry, EventSeen

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping

    from nats.aio.msg import Msg
    from nats.js import JetStreamContext

LEDGER_SECONDS: Final = 60.0
RULES_SECONDS: Final = 10.0
LEDGER_LINE_BYTES_MAX: Final = 1 << 20
CRASH_MESSAGES: Final = 500
QUIET_SECONDS: Final = 0.2
CONNECT_SECONDS: Final = 5
EVENTS_SECONDS: Final = 60.0


async def set_faults(simulator: str, rules: Iterable[Mapping[str, object]]) -> None:
    """Have the bank simulator treat payments by these rules."""
    timeout = aiohttp.ClientTimeout(total=RULES_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        for rule in rules:
            async with session.post(f"{simulator}/admin/rules", json=rule) as answer:
                answer.raise_for_status()


async def read_bank_ledger(url: str) -> list[BankEntry]:
    """Read a bank's ledger: of the mock bank (``/dev/bank-ledger``), or of the simulator (``/ledger``)."""
    timeout = aiohttp.ClientTimeout(total=LEDGER_SECONDS)
    entries: list[BankEntry] = []
    async with (
        aiohttp.ClientSession(timeout=timeout, read_bufsize=LEDGER_LINE_BYTES_MAX) as session,
        session.get(url) as answer,
    ):
        answer.raise_for_status()
        async for raw in answer.content:
            if raw.strip():
                line = json.loads(raw)
                entries.append(
                    BankEntry(
                        reference=line["reference"],
                        settlement_id=line["settlement_id"],
                        obligation_id=line["obligation_id"],
                        state=line["state"],
                        times_received=int(line["times_received"]),
                        times_debited=int(line["times_debited"]),
                    )
                )
    return entries


class Consumer:
    """An idempotent consumer: it processes each announcement once, however often it is delivered."""

    def __init__(self, url: str, stream: str, subjects: str) -> None:
        self._url = url
        self._stream = stream
        self._subjects = subjects
        self._inbox = MemoryInbox()
        self.handled: list[EventSeen] = []
        self.deliveries = 0

    @property
    def reached(self) -> int:
        """The position of the last announcement."""
        return self.handled[-1].position if self.handled else 0

    async def crash_once(self) -> None:
        """Process a first batch and disconnect without acknowledging it, so that it is redelivered."""
        async with self._connected() as jetstream:
            wanted = ConsumerConfig(deliver_policy=DeliverPolicy.ALL)
            subscription = await jetstream.pull_subscribe(
                self._subjects, stream=self._stream, config=wanted
            )
            with suppress(NatsTimeoutError):
                for message in await subscription.fetch(CRASH_MESSAGES, timeout=QUIET_SECONDS):
                    await self._handle(message)

    async def read(self, tell_head: Callable[[int], Awaitable[int]]) -> None:
        """Process everything up to the head, which ``tell_head`` returns, or until a time-out."""
        with suppress(TimeoutError):  # the checks report what is missing then
            async with asyncio.timeout(EVENTS_SECONDS), self._connected() as jetstream:
                await jetstream.subscribe(
                    self._subjects, stream=self._stream, ordered_consumer=True, cb=self._handle
                )
                before = -1
                while before != self.deliveries or await tell_head(self.reached) > self.reached:
                    before = self.deliveries
                    await asyncio.sleep(QUIET_SECONDS)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[JetStreamContext]:
        connection = await nats.connect(
            self._url, allow_reconnect=False, connect_timeout=CONNECT_SECONDS
        )
        try:
            yield connection.jetstream()
        finally:
            await connection.close()

    async def _handle(self, message: Msg) -> None:
        headers = message.headers or {}
        self.deliveries += 1
        if await self._inbox.take(headers["ce-id"]):
            self.handled.append(_seen(headers, message.data))


def _seen(headers: dict[str, str], body: bytes) -> EventSeen:
    told = json.loads(body)
    return EventSeen(
        event_id=headers["ce-id"],
        settlement_id=told["settlement_id"],
        seq=int(told["seq"]),
        position=int(headers["ce-sequence"]),
        status=told["status"],
    )
