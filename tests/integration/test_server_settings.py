"""Settings of a role, a database or the server do not change the meaning of our sessions' statements."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import asyncpg
import pytest

from settlement_engine.embedded import EmbeddedPostgres
from settlement_engine.errors import Misconfigured, Unavailable
from settlement_engine.ports import Server
from settlement_engine.store.database import DatabaseConnection, DatabaseSettings, connect
from settlement_engine.store.failures import translated
from settlement_engine.store.migrate import migrate, require_head
from settlement_engine.store.safety import require_safety, require_sessions
from settlement_engine.store.watch import ServerWatch
from tests.support.pooler import Pooler
from tests.support.stores import PostgresStores
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OURS = {
    "synchronous_commit": ("off", "on"),
    "array_nulls": ("off", "on"),
    "default_transaction_isolation": ("serializable", "read committed"),
    "standard_conforming_strings": ("off", "on"),
    "transform_null_equals": ("on", "off"),
}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    made = EmbeddedPostgres(tmp_path / "server")
    made.start()
    yield made
    made.stop()


async def tell(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def shown(connection: asyncpg.Connection[asyncpg.Record]) -> dict[str, str]:
    return {name: await connection.fetchval("SELECT current_setting($1)", name) for name in OURS}


GOOD = {name: good for name, (_, good) in OURS.items()}


@pytest.mark.parametrize("scope", ["ALTER ROLE CURRENT_USER", "ALTER DATABASE settlement"])
async def test_a_setting_of_a_role_or_a_database_does_not_reach_our_sessions(server, scope):
    changes = [f"{scope} SET {name} = '{bad}'" for name, (bad, _) in OURS.items()]
    await tell(server.url(), *changes)
    connection = await connect(DatabaseSettings(url=server.url()))
    try:
        assert await shown(connection) == GOOD
    finally:
        await connection.close()


async def test_a_reload_does_not_reach_sessions_that_are_open(server):
    connection = await connect(DatabaseSettings(url=server.url()))
    try:
        changes = [f"ALTER SYSTEM SET {name} = '{bad}'" for name, (bad, _) in OURS.items()]
        await tell(server.url(), *changes, "SELECT pg_reload_conf()")
        fresh = await asyncpg.connect(server.url())

        async def is_reloaded():
            return await fresh.fetchval("SHOW synchronous_commit") == "off"

        await until(is_reloaded)
        await fresh.close()
        assert await shown(connection) == GOOD
    finally:
        await connection.close()


async def test_a_stricter_way_to_commit_is_kept(server):
    await tell(server.url(), "ALTER DATABASE settlement SET synchronous_commit = 'remote_apply'")
    connection = await connect(DatabaseSettings(url=server.url()))
    try:
        assert await connection.fetchval("SHOW synchronous_commit") == "remote_apply"
    finally:
        await connection.close()


async def test_only_writing_connections_stop_while_the_server_is_unsafe(database_url):
    watch = ServerWatch()
    stores = PostgresStores(database_url)
    found, _ = await stores.barrier_store.look()
    await stores.close()
    watch.accept(found)
    reported: list[str] = []
    watch.when_refused(lambda: reported.append("told"))
    settings = DatabaseSettings(url=database_url, watch=watch)
    writing, reading = DatabaseConnection(settings, is_writing=True), DatabaseConnection(settings)
    await writing.fetchrow("probe_write")
    watch.checked("fsync is off")
    watch.checked("fsync is off")
    assert reported == ["told"], "what has become unsafe is told once"
    with pytest.raises(Unavailable, match="fsync is off"):
        await writing.fetchrow("probe_write")
    assert await reading.fetchrow("server") is not None
    watch.checked("")
    await writing.fetchrow("probe_write")
    await writing.close()
    await reading.close()
    assert isinstance(found, Server)


# --- each failure has a sentence ---------------------------------------------------------------------


async def _failure(settings: DatabaseSettings) -> Unavailable:
    with pytest.raises(Unavailable) as caught:
        await require_head(settings)
    return caught.value


async def test_a_wrong_database_name_is_reported(server):
    error = await _failure(DatabaseSettings(url=server.url("nowhere")))
    assert error.what == "there is no such database on this server"
    assert "nowhere" in error.why


async def test_missing_rights_are_reported(server):
    await migrate(DatabaseSettings(url=server.url()))
    await tell(server.url(), "CREATE ROLE guest LOGIN PASSWORD 'secret'")
    address = server.url().partition("@")[2]
    error = await _failure(DatabaseSettings(url=f"postgresql://guest:secret@{address}"))
    assert error.what == "PostgreSQL does not give this user the rights it needs"


async def test_a_read_only_server_is_reported(server):
    await migrate(DatabaseSettings(url=server.url()))
    await tell(server.url(), "ALTER DATABASE settlement SET default_transaction_read_only = on")
    error = await _failure(DatabaseSettings(url=server.url()))
    assert error.what == "PostgreSQL takes no writes: it is a standby or read-only"


async def test_a_missing_schema_is_reported(empty_database_url):
    line = DatabaseConnection(DatabaseSettings(url=empty_database_url))
    with pytest.raises(Unavailable, match="tables are not in this database") as caught:
        await line.fetchrow("last_opening")
    assert "settlement-engine migrate" in caught.value.todo
    await line.close()


async def test_a_schema_of_another_version_is_reported(server):
    """``prove`` does not check the version first, and could meet a column that does not exist yet."""
    await migrate(DatabaseSettings(url=server.url()))
    await tell(server.url(), "ALTER TABLE openings RENAME COLUMN era TO age")
    line = DatabaseConnection(DatabaseSettings(url=server.url()))
    with pytest.raises(Unavailable, match="tables are of another version") as caught:
        await line.fetchrow("last_opening")
    assert "settlement-engine migrate" in caught.value.todo
    await line.close()


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (asyncpg.DiskFullError("could not extend file"), "disk is full"),
        (asyncpg.TooManyConnectionsError("sorry"), "no connection left"),
        (asyncpg.DuplicatePreparedStatementError("exists"), "connection pooler"),
        (asyncpg.InvalidSQLStatementNameError("does not exist"), "connection pooler"),
        (asyncpg.InvalidPasswordError("no"), "the user or the password"),
    ],
)
def test_failures_have_sentences_of_their_own(error, sentence):
    with pytest.raises(Unavailable, match=sentence), translated():
        raise error


@pytest.mark.parametrize("per_transaction", [True, False])
async def test_a_pooler_in_transaction_mode_is_reported(database_url, per_transaction):
    parts = urlsplit(database_url)
    assert parts.hostname is not None
    assert parts.port is not None
    async with Pooler(parts.hostname, parts.port, per_transaction=per_transaction) as pooler:
        settings = DatabaseSettings(url=database_url.replace(f":{parts.port}/", f":{pooler.port}/"))
        if not per_transaction:
            await require_safety(settings)
            return
        with pytest.raises(Misconfigured, match="connection pooler in transaction mode") as caught:
            await require_safety(settings)
        assert "pool_mode = session" in caught.value.todo


async def test_postgresql_itself_is_no_pooler(database_url):
    await require_sessions(DatabaseSettings(url=database_url))
