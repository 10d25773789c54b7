"""Power cuts under PostgreSQL: every accepted settlement is on disk; a control shows that the cut loses data.

The server runs on a file system that loses unsynced data; every operation passes through Python, which takes time.
Without access to FUSE the tests are skipped, with the reason.
"""

from __future__ import annotations

import asyncpg
import pytest

from settlement_engine.embedded import EmbeddedPostgres
from settlement_engine.store.database import DatabaseSettings
from settlement_engine.store.migrate import migrate
from tests.failure.load import LoadTown
from tests.failure.test_power_cut import cut_power
from tests.support.frailbank import FrailBank
from tests.support.frailengine import FrailEngine
from tests.support.powerplug import NoPowerCut, power_plug

pytestmark = pytest.mark.timeout(900)

COUNT = 200
MORE = 100
ROWS = 300


@pytest.fixture
async def postgres_on_plug(tmp_path, request):
    """A server created on an ordinary disk, for speed, and run on the file system that can lose power."""
    options = getattr(request, "param", {})
    maker = EmbeddedPostgres(tmp_path / "backing" / "server")
    maker.start()
    await migrate(DatabaseSettings(url=maker.url()))
    maker.stop()
    try:
        with power_plug(tmp_path / "backing", tmp_path / "mounted") as plug:
            server = EmbeddedPostgres(plug.path / "server", options=options)
            server.start()
            yield server, plug
            server.stop()
    except NoPowerCut as reason:
        pytest.skip(f"no power can be cut here: {reason}")


async def test_postgresql_keeps_every_accepted_settlement(postgres_on_plug):
    server, plug = postgres_on_plug
    cluster = await LoadTown(server.url()).open()
    bank = FrailBank()
    engine = await FrailEngine(cluster.url, bank, has_real_windows=False).start()
    await cluster.submit([engine], COUNT)
    engine.die()
    cut_power(server, plug)
    server.start()
    await engine.keep_dead_letter()
    engine = await FrailEngine(server.url(), bank, has_real_windows=False).start()
    await cluster.submit([engine], MORE)
    await cluster.until_ended([engine])
    await engine.keep_dead_letter()
    await cluster.check(bank, COUNT + MORE)
    await cluster.close()


@pytest.mark.parametrize(
    "postgres_on_plug",
    [{"wal_writer_delay": "10s", "wal_writer_flush_after": "1GB", "synchronous_commit": "off"}],
    indirect=True,
    ids=["synchronous_commit=off"],
)
async def test_without_fsync_a_power_cut_loses_commits_as_the_control(postgres_on_plug):
    """The same server with asynchronous commits: the power cut loses some of them."""
    server, plug = postgres_on_plug
    connection = await asyncpg.connect(server.url())
    await connection.execute("CREATE TABLE told (n int)")
    await connection.execute("CHECKPOINT")
    for number in range(ROWS):
        await connection.execute("INSERT INTO told VALUES ($1)", number)
    connection.terminate()
    cut_power(server, plug)
    server.start()
    connection = await asyncpg.connect(server.url())
    assert await connection.fetchval("SELECT count(*) FROM told") < ROWS
    await connection.close()
