"""The program of the guide: run as it stands there, killed while it works, and every event counts once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import asyncpg
import nats
import pytest
from nats.js.api import ConsumerConfig

from settlement_client import Inbox, MemoryInbox, PostgresInbox
from settlement_engine.domain.announcement import announcement_type
from settlement_engine.embedded import EmbeddedNats
from settlement_engine.events import (
    NatsAccess,
    Replay,
    ReplaySettings,
    StreamSpec,
)
from tests.integration.test_relay import jetstream
from tests.support.waiting import until
from tests.unit.events.fakes import CountingMeter, MemoryOutbox

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "consume-events.md"
EVENTS = 3_000
KILLS = 6
TIMEOUT_SECONDS = 60.0


def program() -> str:
    """The one block of Python in the guide."""
    _, block, _ = GUIDE.read_text("utf-8").split("```", 2)
    assert block.startswith("python\n")
    return block.removeprefix("python\n")


@pytest.fixture
def server(tmp_path):
    server = EmbeddedNats(tmp_path / "nats")
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def database(empty_database_url):
    connection = await asyncpg.connect(empty_database_url)
    yield connection
    await connection.close()


async def fill(server, outbox):
    """Write everything to the stream, and let NATS hand out again what is not acknowledged soon."""
    replay = Replay(
        outbox=outbox,
        nats=NatsAccess(servers=(server.url(),)),
        meter=CountingMeter(),
        settings=ReplaySettings(stream=StreamSpec(), first=1),
    )
    await replay.run(lambda _: None)
    connection = await nats.connect(server.url(), allow_reconnect=False)
    try:
        config = ConsumerConfig(durable_name="reporting", ack_wait=0.5, max_ack_pending=500)
        await connection.jetstream().add_consumer("settlement-events", config)
    finally:
        await connection.close()


async def counted(database):
    try:
        rows = await database.fetch("SELECT type, events FROM seen")
    except asyncpg.UndefinedTableError:
        return Counter()
    return Counter({row["type"]: row["events"] for row in rows})


@contextlib.contextmanager
def consuming(folder, server, database_url):
    file = folder / "reporting.py"
    file.write_text(program(), "utf-8")
    env = os.environ | {"NATS_URL": server.url(), "DATABASE_URL": database_url}
    with (folder / "reporting.log").open("ab") as log:
        process = subprocess.Popen([sys.executable, str(file)], env=env, stdout=log, stderr=log)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        process.wait()


@pytest.mark.kill
async def test_the_guides_program_applies_each_event_once_however_often_it_is_killed(
    server, database, empty_database_url, tmp_path
):
    outbox = MemoryOutbox()
    outbox.add(EVENTS)
    await fill(server, outbox)
    dice = random.Random(3)
    for number in range(1, KILLS + 1):
        goal = EVENTS * number // (KILLS + 2) + dice.randrange(100)

        async def is_there(goal=goal):
            return (await counted(database)).total() >= goal

        with consuming(tmp_path, server, empty_database_url) as process:
            await until(is_there)
            assert process.poll() is None, (tmp_path / "reporting.log").read_text()

    async def is_done():
        """All are applied, and JetStream has nothing left to deliver, for the first time or again."""
        async with jetstream(server.url()) as js:
            info = await js.consumer_info("settlement-events", "reporting")
        is_empty = info.num_pending == 0 and info.num_ack_pending == 0
        return is_empty and (await counted(database)).total() >= EVENTS

    with consuming(tmp_path, server, empty_database_url):
        await until(is_done)
    wanted = Counter(announcement_type(each.moved) for each in outbox.announcements)
    assert await counted(database) == wanted
    assert await database.fetchval("SELECT count(*) FROM event_inbox") == EVENTS


async def test_an_effect_that_is_undone_leaves_the_event_new(database):
    """A crash between the effect and the commit: neither has happened, and it comes again."""
    inbox: Inbox = PostgresInbox(database, consumer="reporting")
    await PostgresInbox(database, consumer="reporting").create()
    await database.execute("CREATE TABLE effects (event_id text)")
    transaction = database.transaction()
    await transaction.start()
    assert await inbox.take("a.1")
    await database.execute("INSERT INTO effects VALUES ('a.1')")
    await transaction.rollback()  # as the server does when the connection is lost
    assert await database.fetchval("SELECT count(*) FROM effects") == 0
    async with database.transaction():
        assert await inbox.take("a.1")
        await database.execute("INSERT INTO effects VALUES ('a.1')")
    async with database.transaction():
        assert not await inbox.take("a.1")
    assert await database.fetchval("SELECT count(*) FROM effects") == 1


async def test_of_two_workers_with_one_event_the_second_waits_and_does_nothing(
    database, empty_database_url
):
    await PostgresInbox(database, consumer="reporting").create()
    other = await asyncpg.connect(empty_database_url)
    try:
        transaction = database.transaction()
        await transaction.start()
        assert await PostgresInbox(database, consumer="reporting").take("a.1")
        second = asyncio.create_task(PostgresInbox(other, consumer="reporting").take("a.1"))
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"

        async def is_waiting():
            return await database.fetchval(waiting) >= 1

        await until(is_waiting)
        assert not second.done()
        await transaction.commit()
        assert await second is False
    finally:
        await other.close()


def test_both_are_an_inbox():
    one: Inbox = MemoryInbox()
    assert one is not None
