"""A long history is made quickly by copying lives, and the books stay provable."""

from __future__ import annotations

import pytest

from settlement_engine.domain.lifecycle import Event
from settlement_engine.errors import WrongState
from settlement_engine.store.database import DatabaseSettings
from settlement_engine.store.yardstick import ServerMeter
from tests.support.lives import Scene
from tests.support.stores import PostgresStores


async def settled(scene: Scene, count: int) -> None:
    """Bring so many lives to their end."""
    batch = [scene.admission() for _ in range(count)]
    settlements = scene.stores.settlements
    await settlements.admit(batch, scene.owner)
    for event in (Event.CLEARED, Event.SETTLED):
        found = await settlements.load([each.settlement_id for each in batch])
        await scene.apply(*[scene.step(each, event) for each in found.values()])


async def test_history_is_copied_again_and_again_and_stays_provable(database_url: str):
    stores = PostgresStores(database_url)
    meter = ServerMeter(DatabaseSettings(url=database_url))
    try:
        scene = await Scene.open(stores)
        await settled(scene, 2)
        await meter.multiply_history(12)
        assert (await stores.auditor.prove()).settlements == 2 * 13
        await settled(scene, 3)
        await meter.multiply_history(2)
        proof = await stores.auditor.prove()
        assert proof.settlements == (2 * 13 + 3) * 3
        assert list(proof.differences) == []
        await settled(scene, 1)
        assert list((await stores.auditor.prove()).differences) == []
    finally:
        await meter.close()
        await stores.close()


async def test_nothing_is_copied_while_a_life_is_open(database_url: str):
    stores = PostgresStores(database_url)
    meter = ServerMeter(DatabaseSettings(url=database_url))
    try:
        scene = await Scene.open(stores)
        await scene.stores.settlements.admit([scene.admission()], scene.owner)
        with pytest.raises(WrongState, match="1 settlements are open"):
            await meter.multiply_history(2)
    finally:
        await meter.close()
        await stores.close()
