"""Row locks are taken in one order everywhere, so that no two writers wait for each other.

Each test holds the first row and lets a batch of transitions wait for it: a transaction that waits for the first
row must not hold a later one. With any other order a funding and a batch could deadlock.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import asyncpg
import pytest

from settlement_engine.domain.ledger import AccountKind
from settlement_engine.domain.lifecycle import Event, State
from tests.support.histories import Scene, results
from tests.support.stores import PostgresStores
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from settlement_engine.ports import TransitionCommand
    from tests.support.databases import Databases

TIMEOUT_SECONDS = 30.0
BANKS = 4
WAITERS = (
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    " AND datname = current_database()"
)


@pytest.fixture
async def stores(databases: Databases) -> AsyncIterator[PostgresStores]:
    made = PostgresStores(await databases.migrated())
    yield made
    assert await made.differences() == []
    await made.close()
    await databases.drop(made.url)


async def batch(stores: PostgresStores) -> tuple[list[TransitionCommand], list[Scene]]:
    """Transitions that touch the accounts of several banks, in arbitrary order."""
    scenes = [await Scene.open(stores) for _ in range(BANKS)]
    steps: list[TransitionCommand] = []
    for scene in (scenes[2], scenes[0], scenes[3], scenes[1]):
        steps += [
            scene.step(await scene.new(), Event.CLEARED),
            scene.step(await scene.bring(State.SENT), Event.SETTLED),
        ]
    return steps, scenes


async def waits(connection: asyncpg.Connection) -> None:
    await until(lambda: connection.fetchval(WAITERS))


async def free(connection: asyncpg.Connection, table: str, column: str) -> set[object]:
    """Return the rows that only this session has locked."""
    rows = await connection.fetch(
        f"SELECT {column} AS key FROM {table} ORDER BY {column} FOR NO KEY UPDATE SKIP LOCKED"
    )
    return {row["key"] for row in rows}


async def held_while_waiting(
    stores: PostgresStores,
    steps: Sequence[TransitionCommand],
    table: str,
    column: str,
    keys: set[object],
) -> set[object]:
    """Lock the first row until the batch waits for it; return which other rows the batch has locked."""
    connection = await asyncpg.connect(stores.url)
    try:
        async with connection.transaction():
            first = min(keys)  # type: ignore[type-var]
            await connection.execute(
                f"SELECT 1 FROM {table} WHERE {column} = $1 FOR NO KEY UPDATE", first
            )
            engine_id = await stores.engine_id()
            applying = asyncio.create_task(stores.settlements.apply(steps, engine_id))
            await waits(connection)
            found = keys - await free(connection, table, column)
        assert {each.value for each in results(await applying)} == {"applied"}
        return found
    finally:
        await connection.close()


async def test_a_batch_that_waits_for_the_first_account_holds_no_other(
    stores: PostgresStores,
) -> None:
    steps, scenes = await batch(stores)
    kinds = (AccountKind.NOSTRO, AccountKind.VOSTRO, AccountKind.CLEARING, AccountKind.SETTLEMENT)
    keys: set[object] = {(await scene.account(kind)).id for scene in scenes for kind in kinds}
    assert await held_while_waiting(stores, steps, "accounts", "id", keys) == set()


async def test_a_batch_that_waits_for_the_first_settlement_holds_no_other(
    stores: PostgresStores,
) -> None:
    steps, _ = await batch(stores)
    keys: set[object] = {step.settlement.id for step in steps}
    found = await held_while_waiting(stores, steps, "open_settlements", "settlement_id", keys)
    assert found == set()


async def test_fundings_and_batches_on_the_same_accounts_do_not_deadlock(
    stores: PostgresStores,
) -> None:
    """The victim of a deadlock would get Contention: there is none."""
    _, scenes = await batch(stores)
    kinds = (AccountKind.NOSTRO, AccountKind.CLEARING)
    numbers = [(await scene.account(kind)).id for scene in scenes for kind in kinds]
    connection = await asyncpg.connect(stores.url)
    try:
        for _ in range(5):
            steps = [scene.step(await scene.new(), Event.CLEARED) for scene in reversed(scenes)]
            async with connection.transaction():
                await connection.execute(
                    "SELECT id FROM accounts WHERE id = $1 FOR NO KEY UPDATE", min(numbers)
                )
                applying = asyncio.create_task(
                    stores.settlements.apply(steps, await stores.engine_id())
                )
                await waits(connection)
                await connection.execute(
                    "SELECT id FROM accounts WHERE id = ANY ($1::bigint[]) ORDER BY id"
                    " FOR NO KEY UPDATE",
                    numbers,
                )
            assert {each.value for each in results(await applying)} == {"applied"}
    finally:
        await connection.close()
