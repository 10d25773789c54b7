"""The last possible epoch: every number that grows with epochs still fits its column."""

from __future__ import annotations

import pytest
import pytest_asyncio

from settlement_engine.domain.announcement import (
    ERA_MAX,
    ERA_PLACES,
    POSITION_MAX,
    era_of,
    event_id,
    is_name_at,
)
from settlement_engine.domain.lifecycle import State
from settlement_engine.errors import InvariantViolated
from settlement_engine.ports import Suspicion

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMIT = 1000
LEASE_SECONDS = 600.0
INTEGER_ERA = 2148
"""From this epoch on an engine id does not fit into 32 bits."""


@pytest_asyncio.fixture(loop_scope="module")
async def begin(scene):
    """Begin an epoch, and register an engine in it."""
    record = scene.stores.openings

    async def begin(era):
        server, before = await record.look()
        if before is None:
            await record.shut(None, Suspicion(why="first"), server)
            server, before = await record.look()
        await record.shut(before.incarnation, Suspicion(why="operator", era_min=era), server)
        _, opening = await record.look()
        assert opening.era == max(era, before.era + 1)
        return await scene.stores.registry.join(LEASE_SECONDS)

    return begin


@pytest.mark.parametrize("era", [INTEGER_ERA - 1, INTEGER_ERA, 2301, 100_000, ERA_MAX - 1])
async def test_engines_register_and_expire_in_every_epoch(scene, begin, era):
    owner = await begin(era)
    assert owner > era * 1_000_000
    assert await scene.stores.registry.beat(owner, LEASE_SECONDS)
    await scene.stores.settlements.claim(owner, LIMIT, is_sweep=True)  # what the earlier epoch left
    beside = scene.stores.beside()
    other = await beside.registry.join(LEASE_SECONDS)
    [settlement] = await scene.admit(scene.wish(), owner=other)
    moves = await scene.stores.settlements.life(settlement.id)
    assert {era_of(move.position) for move in moves} == {era}
    assert not await scene.stores.settlements.claim(owner, LIMIT, is_sweep=True), "it lives"
    await scene.stores.end_session(other)
    claimed = await scene.stores.settlements.claim(owner, LIMIT, is_sweep=True)
    assert {each.settlement.id for each in claimed} == {settlement.id}


async def test_the_last_epoch_fits_all_numbers_and_has_no_successor(scene, begin):
    owner = await begin(ERA_MAX)
    [settlement] = await scene.admit(scene.wish(), owner=owner)
    stream = scene.stores.stream
    head = await stream.head()
    assert ERA_MAX * ERA_PLACES < head <= POSITION_MAX < 2**63
    [announcement] = await stream.read(head - 1, 10)
    assert is_name_at(event_id(announcement.moved), head)
    await stream.mark_published(head)
    assert await stream.published() == head
    told = await scene.stores.openings.announced(head)
    assert told.name == event_id(announcement.moved)
    assert settlement.state is State.VALIDATING
    server, opening = await scene.stores.openings.look()
    with pytest.raises(InvariantViolated):
        await scene.stores.openings.shut(opening.incarnation, Suspicion(why="operator"), server)
    assert (await scene.stores.openings.look())[1] == opening
