"""The record of failover barriers refuses invalid rows, and waits for transactions in progress."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg
import pytest
import pytest_asyncio

from settlement_engine.ports import StaleDatabase
from tests.support.histories import Scene
from tests.support.stores import PostgresStores

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from settlement_engine.ports import BarrierState
    from tests.support.databases import Databases

pytestmark = pytest.mark.asyncio(loop_scope="module")

SHUT = "SELECT shut_engines($1, 'operator', 0, NULL, NULL, 'system', 1, 1)"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stores(databases: Databases) -> AsyncIterator[PostgresStores]:
    made = PostgresStores(await databases.migrated())
    yield made
    assert await made.differences() == []
    await made.close()
    await databases.drop(made.url)


@pytest_asyncio.fixture(loop_scope="module")
async def opening(stores: PostgresStores) -> BarrierState:
    """The record, in a database with a settlement."""
    server, found = await stores.barrier_store.look()
    if found is None:
        await Scene.open(stores)
        await stores.barrier_store.shut(None, StaleDatabase(why="first"), server)
        _, found = await stores.barrier_store.look()
    assert found is not None
    return found


@pytest_asyncio.fixture(loop_scope="module")
async def connection(stores: PostgresStores) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A superuser's connection: what stops a superuser stops everybody."""
    made = await asyncpg.connect(stores.url)
    yield made
    await made.close()


@pytest.mark.parametrize("role", ["origin", "replica"])
async def test_the_journal_is_only_added_to(opening, connection, role):
    await connection.execute(f"SET session_replication_role = {role}")
    changes = ("UPDATE openings SET why = 'x'", "DELETE FROM openings", "TRUNCATE openings")
    for change in changes:
        with pytest.raises(asyncpg.PostgresError, match="append-only"):
            await connection.execute(change)


async def test_an_epoch_begins_once(stores, opening, connection):
    server, _ = await stores.barrier_store.look()
    await stores.barrier_store.shut(opening.epoch_id, StaleDatabase(why="operator"), server)
    with pytest.raises(asyncpg.UniqueViolationError, match="era_is_shut_once"):
        await connection.execute(
            "INSERT INTO openings (era, incarnation, step, why, system_identifier, timeline,"
            " database_id, detail, at) SELECT era, gen_random_uuid(), step, why,"
            " system_identifier, timeline, database_id, detail, at FROM openings"
            " WHERE step = 'shut' LIMIT 1"
        )


async def test_an_epoch_does_not_begin_during_a_transition(stores, opening, connection):
    """A transition begun earlier commits first, and its position belongs to the earlier epoch."""
    beside = await asyncpg.connect(stores.url)
    await beside.execute("SET lock_timeout = '100ms'")
    async with connection.transaction():
        await connection.execute("LOCK TABLE open_settlements IN ROW SHARE MODE")
        with pytest.raises(asyncpg.LockNotAvailableError):
            await beside.fetchval(SHUT, opening.epoch_id)
    assert await beside.fetchval(SHUT, opening.epoch_id)
    await beside.close()


async def test_one_process_leads_a_recovery_until_it_ends(stores, opening):
    first, second = PostgresStores(stores.url), PostgresStores(stores.url)
    assert await first.barrier_store.lead()
    assert await first.barrier_store.lead(), "it stays the one"
    assert not await second.barrier_store.lead()
    await first.close()
    for _ in range(200):  # the server notices a moment later that the session has ended
        if await second.barrier_store.lead():
            break
    assert await second.barrier_store.lead()
    await second.close()


async def test_every_trigger_fires_also_for_a_session_that_says_it_replicates(connection):
    rows = await connection.fetch(
        "SELECT tgrelid::regclass::text AS on_table, tgname FROM pg_trigger"
        " WHERE NOT tgisinternal AND tgenabled <> 'A'"
    )
    assert [tuple(row) for row in rows] == []
