"""A consumer of the announcements, in its own process, that can be killed at any moment.

It processes each announcement once, in the order of its settlement: the inbox and the effect are one
transaction of its own database, and a message that comes too early is handed back. It gets two URLs in
the environment and runs until it is killed.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import nats
import nats.errors
from nats.js.api import AckPolicy, ConsumerConfig
from nats.js.errors import APIError

from settlement_client import PostgresInbox
from settlement_engine.app.development.child import PARENT, die_with_parent

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from nats.aio.msg import Msg
    from nats.js import JetStreamContext

    from tests.support.soak_installation import Installation

NATS_URL = "CONSUMER_NATS_URL"
DATABASE_URL = "CONSUMER_DATABASE_URL"
DATABASE = "consumer"
STREAM = "settlement-events"
DURABLE = "soak"
BATCH = 200
FETCH_SECONDS = 0.5
ACK_WAIT_SECONDS = 10.0
AGAIN_SECONDS = 0.2
PAUSE_SECONDS = 0.2
PENDING_MAX = 5_000

EFFECTS = """
    CREATE TABLE IF NOT EXISTS effects (
        id bigint GENERATED ALWAYS AS IDENTITY, event_id text NOT NULL,
        settlement_id uuid NOT NULL, seq integer NOT NULL, position bigint NOT NULL
    );
    CREATE INDEX IF NOT EXISTS effects_by_settlement ON effects (settlement_id, seq);
"""
LAST = """
    SELECT settlement_id::text, max(seq) FROM effects
    WHERE settlement_id = ANY ($1::uuid[]) GROUP BY settlement_id
"""
APPLY = "INSERT INTO effects (event_id, settlement_id, seq, position) VALUES ($1, $2, $3, $4)"
TROUBLE = (OSError, TimeoutError, nats.errors.Error, APIError, asyncpg.PostgresError)
INTERRUPTED = (asyncpg.InterfaceError, asyncpg.InternalClientError)


async def handle(
    database: asyncpg.Connection[Any], messages: Sequence[Msg]
) -> tuple[list[Msg], list[Msg]]:
    """Process a batch in one transaction; return what was processed, and what came too early."""
    handled: list[Msg] = []
    early: list[Msg] = []
    effects: list[tuple[str, str, int, int]] = []
    bodies = [json.loads(message.data) for message in messages]
    wanted = list({body["settlement_id"] for body in bodies if "seq" in body})
    async with database.transaction():
        inbox = PostgresInbox(database, consumer=DURABLE)
        last = dict(await database.fetch(LAST, wanted))
        for message, body in zip(messages, bodies, strict=True):
            seq = body.get("seq")
            if seq is not None:
                settlement_id = body["settlement_id"]
                if seq > last.get(settlement_id, 0) + 1:
                    early.append(message)
                    continue
                if await inbox.take(body["event_id"]):
                    effects.append((body["event_id"], settlement_id, seq, body["sequence"]))
                    last[settlement_id] = seq
            handled.append(message)
        await database.executemany(APPLY, effects)
    return handled, early


async def consume(jetstream: JetStreamContext, database: asyncpg.Connection[Any]) -> None:
    """Process messages while both servers are available."""
    wanted = ConsumerConfig(
        durable_name=DURABLE,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=ACK_WAIT_SECONDS,
        max_deliver=-1,
        max_ack_pending=PENDING_MAX,
    )
    await jetstream.add_consumer(STREAM, wanted)
    subscription = await jetstream.pull_subscribe_bind(durable=DURABLE, stream=STREAM)
    while True:
        messages: list[Msg] = []
        with suppress(nats.errors.TimeoutError):
            messages = await subscription.fetch(BATCH, timeout=FETCH_SECONDS)
        if not messages:
            await database.fetchval("SELECT 1")  # this fails if the database is gone
            continue
        handled, early = await handle(database, messages)
        for message in handled:
            await message.ack()
        for message in early:
            await message.nak(AGAIN_SECONDS)


async def live() -> None:
    """Connect again after every failure."""
    while True:
        with suppress(*TROUBLE, *INTERRUPTED):
            database = await asyncpg.connect(os.environ[DATABASE_URL], timeout=PAUSE_SECONDS * 10)
            try:
                connection = await nats.connect(os.environ[NATS_URL], allow_reconnect=False)
                try:
                    await consume(connection.jetstream(), database)
                finally:
                    await connection.close()
            finally:
                database.terminate()
        await asyncio.sleep(PAUSE_SECONDS)


class Consumer:
    """The process, as the test controls it."""

    def __init__(self, installation: Installation) -> None:
        parts = urlsplit(installation.database_url)
        self.url = urlunsplit(parts._replace(path=f"/{DATABASE}"))
        self._maintenance = installation.database_url
        self._nats_url = installation.nats_url
        self._log: Path = installation.folder / "consumer.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Create its database and start it."""
        asyncio.run(self._make())
        self.begin()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self.kill()

    async def _make(self) -> None:
        connection = await asyncpg.connect(self._maintenance)
        await connection.execute(f"CREATE DATABASE {DATABASE}")
        await connection.close()
        connection = await asyncpg.connect(self.url)
        await PostgresInbox(connection, consumer=DURABLE).create()
        await connection.execute(EFFECTS)
        await connection.close()

    def begin(self) -> None:
        """Start the process."""
        environment = os.environ | {
            NATS_URL: self._nats_url,
            DATABASE_URL: self.url,
            PARENT: str(os.getpid()),
        }
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.soak_consumer"],
                env=environment,
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        """Kill the process with SIGKILL."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGKILL)
            self._process.wait()

    @property
    def is_running(self) -> bool:
        """Return whether the process runs: by itself it never ends."""
        return self._process is not None and self._process.poll() is None


if __name__ == "__main__":
    die_with_parent()
    asyncio.run(live())
