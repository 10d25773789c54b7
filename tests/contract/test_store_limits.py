"""The last possible epoch: every number that grows with epochs still fits its column."""

from __future__ import annotations

import pytest
import pytest_asyncio

from settlement_engine.domain.announcement import (
    POSITION_MAX,
    POSITIONS_PER_EPOCH,
    SYSTEM_EPOCH_MAX,
    event_id,
    is_name_at,
    system_epoch_of,
)
from settlement_engine.domain.lifecycle import State
from settlement_engine.errors import InvariantViolated
from settlement_engine.ports import StaleDatabase

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMIT = 1000
LEASE_SECONDS = 600.0
FIRST_LARGE_EPOCH = 2148
"""From this epoch on an engine id does not fit into 32 bits."""


@pytest_asyncio.fixture(loop_scope="module")
async def begin(scene):
    """Begin an epoch, and register an engine in it."""
    record = scene.stores.barrier_store

    async def begin(system_epoch):
        server, before = await record.look()
        if before is None:
            await record.shut(None, StaleDatabase(why="first"), server)
            server, before = await record.look()
        await record.shut(
            before.epoch_id, StaleDatabase(why="operator", system_epoch_min=system_epoch), server
        )
        _, opening = await record.look()
        assert opening.system_epoch == max(system_epoch, before.system_epoch + 1)
        return await scene.stores.registry.join(LEASE_SECONDS)

    return begin


@pytest.mark.parametrize(
    "system_epoch", [FIRST_LARGE_EPOCH - 1, FIRST_LARGE_EPOCH, 2301, 100_000, SYSTEM_EPOCH_MAX - 1]
)
async def test_engines_register_and_expire_in_every_epoch(scene, begin, system_epoch):
    engine_id = await begin(system_epoch)
    assert engine_id > system_epoch * 1_000_000
    assert await scene.stores.registry.renew(engine_id, LEASE_SECONDS)
    await scene.stores.settlements.claim(
        engine_id, LIMIT, is_sweep=True
    )  # what the earlier epoch left
    beside = scene.stores.beside()
    other = await beside.registry.join(LEASE_SECONDS)
    [settlement] = await scene.admit(scene.payment_request(), engine_id=other)
    moves = await scene.stores.settlements.history(settlement.id)
    assert {system_epoch_of(move.position) for move in moves} == {system_epoch}
    assert not await scene.stores.settlements.claim(engine_id, LIMIT, is_sweep=True), "it lives"
    await scene.stores.end_session(other)
    claimed = await scene.stores.settlements.claim(engine_id, LIMIT, is_sweep=True)
    assert {each.settlement.id for each in claimed} == {settlement.id}


async def test_the_last_epoch_fits_all_numbers_and_has_no_successor(scene, begin):
    engine_id = await begin(SYSTEM_EPOCH_MAX)
    [settlement] = await scene.admit(scene.payment_request(), engine_id=engine_id)
    stream = scene.stores.stream
    head = await stream.head()
    assert SYSTEM_EPOCH_MAX * POSITIONS_PER_EPOCH < head <= POSITION_MAX < 2**63
    [announcement] = await stream.read(head - 1, 10)
    assert is_name_at(event_id(announcement.moved), head)
    await stream.mark_published(head)
    assert await stream.published() == head
    reported = await scene.stores.barrier_store.announced(head)
    assert reported.name == event_id(announcement.moved)
    assert settlement.state is State.VALIDATING
    server, opening = await scene.stores.barrier_store.look()
    with pytest.raises(InvariantViolated):
        await scene.stores.barrier_store.shut(
            opening.epoch_id, StaleDatabase(why="operator"), server
        )
    assert (await scene.stores.barrier_store.look())[1] == opening
