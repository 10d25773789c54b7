"""A frozen process does not block others for long.

The server ends its session: inside a transaction, so that its row locks are released; as the leader of the relay,
so that another engine becomes the leader.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import asyncpg
import pytest

from settlement_engine.errors import Unavailable
from settlement_engine.store.database import DatabaseConnection, DatabaseSettings, Readers
from settlement_engine.store.stream import LEADER_QUIET_MS, PostgresStream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

TIMEOUT_SECONDS = 20.0
LOOK_SECONDS = 0.02
SLACK_SECONDS = 2.0
PROGRAM = """
import asyncio, sys
from settlement_engine.store.database import DatabaseSettings, connect

async def hold():
    connection = await connect(DatabaseSettings(url=sys.argv[1]))
    await connection.execute("BEGIN")
    await connection.execute("UPDATE stream_head SET position = position")
    print("holding", flush=True)
    await asyncio.sleep(60)

asyncio.run(hold())
"""


@pytest.fixture
def holder(database_url: str) -> Iterator[subprocess.Popen[str]]:
    """A frozen process that holds the most contended row lock, in a session like an engine's."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, database_url], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "holding"
    os.kill(process.pid, signal.SIGSTOP)
    yield process
    process.kill()
    process.stdout.close()
    process.wait(timeout=TIMEOUT_SECONDS)


async def test_a_process_frozen_inside_a_transaction_loses_its_row_locks(
    database_url: str, holder: subprocess.Popen[str]
) -> None:
    """The session's time limit is one second."""
    assert holder.poll() is None
    connection = await asyncpg.connect(database_url)
    try:
        began = time.monotonic()
        await connection.execute("UPDATE stream_head SET position = position")
        seconds = time.monotonic() - began
    finally:
        await connection.close()
    limit = DatabaseSettings(url=database_url).idle_in_transaction_timeout_seconds
    assert seconds < limit + SLACK_SECONDS


async def test_a_transaction_ended_by_the_server_is_reported_as_unknown(
    database_url: str,
) -> None:
    """The commit after the freeze fails, and reports an unknown outcome."""
    settings = DatabaseSettings(url=database_url, idle_in_transaction_timeout_seconds=0.1)
    line = DatabaseConnection(settings)
    looker = await asyncpg.connect(database_url)
    try:
        with pytest.raises(Unavailable):
            await freeze_inside(line, looker)
        assert await looker.fetchval("SELECT published FROM stream_head") == 0
    finally:
        await looker.close()
        await line.close()


async def freeze_inside(
    line: DatabaseConnection, looker: asyncpg.Connection[asyncpg.Record]
) -> None:
    """Write, stay silent until the server has ended the session, then commit."""
    async with line.session() as connection:
        pid = connection.get_server_pid()
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("UPDATE stream_head SET published = 7")
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while await looker.fetchval("SELECT count(*) FROM pg_stat_activity WHERE pid = $1", pid):
            assert time.monotonic() < deadline, "the server lets it idle in its transaction"
            await asyncio.sleep(LOOK_SECONDS)
        await transaction.commit()


@pytest.fixture
async def streams(database_url: str) -> AsyncIterator[tuple[PostgresStream, PostgresStream]]:
    """Yield the streams of two engines."""
    settings = DatabaseSettings(url=database_url, readers_max=1)
    both = (
        PostgresStream(settings, Readers(settings)),
        PostgresStream(settings, Readers(settings)),
    )
    yield both
    for each in both:
        await each.close()


async def test_a_silent_relay_leader_loses_the_leadership(
    streams: tuple[PostgresStream, PostgresStream],
) -> None:
    """It sends no query while frozen, although its connection is open."""
    frozen, other = streams
    assert await frozen.is_leader()
    assert not await other.is_leader()
    began = time.monotonic()
    while not await other.is_leader():
        assert time.monotonic() - began < TIMEOUT_SECONDS, "nobody leads any more"
        await asyncio.sleep(LOOK_SECONDS)
    assert time.monotonic() - began < LEADER_QUIET_MS / 1000 + SLACK_SECONDS
    assert not await frozen.is_leader()


async def test_an_active_relay_leader_keeps_the_leadership(
    streams: tuple[PostgresStream, PostgresStream],
) -> None:
    """For longer than the limit without queries."""
    leader, other = streams
    until = time.monotonic() + 1.5 * LEADER_QUIET_MS / 1000
    assert await leader.is_leader()
    while time.monotonic() < until:
        assert await leader.is_leader()
        assert not await other.is_leader()
        await asyncio.sleep(LOOK_SECONDS)


async def test_a_slow_relay_still_records_what_is_published(
    streams: tuple[PostgresStream, PostgresStream],
) -> None:
    """NATS took longer than the limit without queries; what it acknowledged is still recorded as published."""
    slow, other = streams
    assert await slow.is_leader()
    while not await other.is_leader():  # noqa: ASYNC110 - nothing to await
        await asyncio.sleep(LOOK_SECONDS)
    await slow.mark_published(0)
    assert await other.published() == 0
