"""A return and a compensation of the same money at the same moment, in both orders, on PostgreSQL."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import asyncpg
import pytest

from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.ports import Result
from settlement_engine.store import settlements as store
from tests.contract.test_store_compensations import release, way_back
from tests.support.histories import Scene, back_of, results
from tests.support.stores import PostgresStores
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from settlement_engine.ports import TransitionCommand
    from tests.support.databases import Databases

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


async def both(stores: PostgresStores) -> tuple[Scene, TransitionCommand, TransitionCommand]:
    """Return a return of 60 of 100, and the hold of a compensation of 60 of the same 100."""
    scene = await Scene.open(stores)
    completed = await scene.bring(State.COMPLETED, minor=100)
    back = await way_back(scene)
    compensation = await back.new(minor=60, compensates=completed.id)
    compensation = await release(back, compensation, "ada", "grace")
    came = back_of(completed, Event.PARTLY_RETURNED, amount_minor=60)
    returned = scene.step(completed, Event.PARTLY_RETURNED, back=came)
    return scene, returned, back.step(compensation, Event.CLEARED)


@pytest.mark.parametrize("is_return_first", [True, False], ids=["return", "compensation"])
async def test_the_second_of_the_two_sees_the_first(
    stores: PostgresStores, is_return_first: bool
) -> None:
    scene, returned, held = await both(stores)
    first, second = (returned, held) if is_return_first else (held, returned)
    compensated = returned.settlement.id
    blocker, watcher = await asyncpg.connect(stores.url), await asyncpg.connect(stores.url)
    calls = []
    try:
        async with blocker.transaction():
            await blocker.execute(
                "SELECT 1 FROM settlement_transactions WHERE id = $1 FOR UPDATE", compensated
            )
            # Both have read before either has written, and wait for the same row, one behind the other.
            for count, step in enumerate((first, second), start=1):
                other = stores.beside()
                apply = other.settlements.apply([step], scene.engine_id)
                calls.append(asyncio.create_task(apply))
                await until(partial(_are_waiting, watcher, count))
        found = [results(call) for call in await asyncio.gather(*calls)]
    finally:
        await blocker.close()
        await watcher.close()
    assert found == [[Result.APPLIED], [Result.LESS_LEFT]]
    settled = await scene.load(returned.settlement)
    assert bool(settled.returns) is is_return_first
    assert [each.paid_back_minor for each in settled.compensations] == [
        0 if is_return_first else 60
    ]


async def _are_waiting(connection: asyncpg.Connection, count: int) -> bool:
    return int(await connection.fetchval(WAITERS)) == count


async def test_who_waits_for_the_compensated_settlement_holds_no_account(
    stores: PostgresStores,
) -> None:
    scene, returned, held = await both(stores)
    blocker = await asyncpg.connect(stores.url)
    try:
        async with blocker.transaction():
            await blocker.execute(
                "SELECT 1 FROM settlement_transactions WHERE id = $1 FOR UPDATE",
                returned.settlement.id,
            )
            applying = asyncio.create_task(stores.settlements.apply([held], scene.engine_id))
            await until(lambda: _are_waiting(blocker, 1))
            free = await blocker.fetch("SELECT id FROM accounts FOR NO KEY UPDATE SKIP LOCKED")
            assert len(free) == await blocker.fetchval("SELECT count(*) FROM accounts")
        assert results(await applying) == [Result.APPLIED]
    finally:
        await blocker.close()


@pytest.mark.parametrize("is_return_first", [True, False], ids=["return", "compensation"])
async def test_the_tables_refuse_what_an_older_engine_would_write(
    stores: PostgresStores, monkeypatch: pytest.MonkeyPatch, is_return_first: bool
) -> None:
    """An engine of the version before does not ask what is left."""
    scene, returned, held = await both(stores)
    first, second = (returned, held) if is_return_first else (held, returned)

    async def nobody_asks(_connection: object, steps: list[TransitionCommand]) -> object:
        return None, [False] * len(steps)

    monkeypatch.setattr(store, "lock_what_is_left", nobody_asks)
    assert results(await scene.apply(first)) == [Result.APPLIED]
    with pytest.raises(Exception, match="violates a rule") as raised:
        await scene.apply(second)
    assert "left" in str(getattr(raised.value, "why", ""))
