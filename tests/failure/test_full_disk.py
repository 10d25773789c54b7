"""Completely full disks: of PostgreSQL's log, of its data, of JetStream.

The engine loses and duplicates nothing, and continues when there is space again. The disks are small tmpfs
mounts; where mounting is not permitted, the tests are skipped with the reason.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil

import asyncpg
import pytest

from settlement_engine.embedded import EmbeddedNats, EmbeddedPostgres
from settlement_engine.store.database import DatabaseSettings
from settlement_engine.store.migrate import migrate
from tests.failure.load import LoadTown
from tests.integration.test_relay import check_exact, make_relay, running, until_published
from tests.support.frailbank import FrailBank
from tests.support.frailengine import FrailEngine
from tests.support.smalldisk import CannotMount, small_disk
from tests.unit.events.fakes import CountingMeter, MemoryOutbox

BEFORE, DURING = 60, 60
DISK_MEGABYTES = 160
STREAM_MEGABYTES = 16
TIMEOUT_SECONDS = 30.0
POLL_SECONDS = 0.02
SQUEEZED_SECONDS = 1.0


@pytest.fixture
def disk(tmp_path, request):
    try:
        with small_disk(tmp_path / "disk", request.param) as made:
            yield made
    except CannotMount as reason:
        pytest.skip(f"no small disk could be mounted: {reason}")


def move_to_disk(folder, disk):
    """Move a folder onto the small disk, and leave a symbolic link there."""
    target = disk.path / folder.name
    shutil.move(folder, target)
    folder.symlink_to(target)


@contextlib.asynccontextmanager
async def cluster_on(server):
    server.start()
    try:
        await migrate(DatabaseSettings(url=server.url()))
        cluster = await LoadTown(server.url()).open()
        yield cluster
        await cluster.close()
    finally:
        server.stop()


async def settle_around_full_disk(server, cluster, disk, squeeze):
    """Settle, fill the disk, submit more, and free the disk: everything ends."""
    bank = FrailBank()
    engine = await FrailEngine(cluster.url, bank, has_real_windows=False).start()
    try:
        await cluster.submit([engine], BEFORE)
        disk.fill()
        await squeeze(server)
        more = asyncio.get_running_loop().create_task(cluster.submit([engine], DURING))
        await until(lambda: engine.meter.kinds.count("commit_unknown") > 3)
        assert not more.done(), "what cannot be written is not accepted"
        disk.free()
        server.restart_if_dead()
        await more
        await cluster.until_ended([engine])
    finally:
        await engine.keep_dead_letter()
    await cluster.check(bank, BEFORE + DURING)


async def until(truth):
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while not truth():  # noqa: ASYNC110 - a predicate cannot be awaited
            await asyncio.sleep(POLL_SECONDS)


async def until_the_log_is_full(server):
    """Use up the preallocated segments of the log until the server stops."""
    with contextlib.suppress(asyncpg.PostgresError, OSError, asyncpg.InterfaceError):
        async with asyncio.timeout(TIMEOUT_SECONDS):
            connection = await asyncpg.connect(server.url())
            while True:
                await connection.execute("CREATE TABLE IF NOT EXISTS filler (x int)")
                await connection.execute("INSERT INTO filler VALUES (1); SELECT pg_switch_wal()")


async def until_the_tables_are_full(server):
    """Use up the free space of the tables' pages."""
    connection = await asyncpg.connect(server.url())
    try:
        for table in ("moves", "settlement_transactions", "open_settlements"):
            free = f"ALTER TABLE {table} SET (fillfactor = 10)"
            await connection.execute(free)
    finally:
        await connection.close()


@pytest.mark.parametrize("disk", [DISK_MEGABYTES], indirect=True)
async def test_postgresqls_log_disk_fills_up(tmp_path, disk):
    server = EmbeddedPostgres(tmp_path / "server", options={"max_wal_size": "64MB"})
    server.init()
    move_to_disk(server.home / "pg_wal", disk)
    async with cluster_on(server) as cluster:
        await settle_around_full_disk(server, cluster, disk, until_the_log_is_full)


@pytest.mark.parametrize("disk", [DISK_MEGABYTES], indirect=True)
async def test_postgresqls_data_disk_fills_up(tmp_path, disk):
    server = EmbeddedPostgres(tmp_path / "server")
    server.init()
    move_to_disk(server.home / "base", disk)
    async with cluster_on(server) as cluster:
        await settle_around_full_disk(server, cluster, disk, until_the_tables_are_full)


@pytest.mark.parametrize("waiting", [1, 2_000], ids=["one", "batches"])
@pytest.mark.parametrize("disk", [STREAM_MEGABYTES], indirect=True)
async def test_jetstreams_disk_fills_up(disk, tmp_path, waiting):
    """The outbox waits and reports it; what was acknowledged before and what comes afterwards is stored once.

    JetStream keeps the error after there is space again; the supervisor then restarts it.
    """
    server = EmbeddedNats(tmp_path / "nats", max_file="8M")
    server.init()
    move_to_disk(server.home / "jetstream", disk)
    server.start()
    outbox = MemoryOutbox()
    try:
        relay = make_relay(server.url(), outbox, CountingMeter(), ack_timeout_seconds=0.5)
        async with running(relay):
            outbox.add(100)
            await until_published(outbox)
            assert relay.state == "NATS connected"
            assert relay.refused_seconds == 0.0
            disk.fill()
            outbox.add(waiting)
            await until(lambda: relay.refused_seconds > SQUEEZED_SECONDS)
            assert "has stored no announcement" in relay.state
            assert outbox.marked < len(outbox.announcements)
            assert relay.backlog > 0, "it knows what waits"
            assert not server.restart_if_dead(), "the disk is still full"
            disk.free()
            await until(server.restart_if_dead)
            await until_published(outbox)
            await until(lambda: relay.state == "NATS connected")
            assert relay.refused_seconds == 0.0
            assert not server.restart_if_dead()
        await check_exact(server.url(), outbox)
    finally:
        server.stop()
