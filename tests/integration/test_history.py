"""A long history is created quickly by copying settlements, and the ledger stays provable."""

from __future__ import annotations

import pytest

from settlement_engine.domain.lifecycle import Event
from settlement_engine.errors import WrongState
from settlement_engine.store.database import DatabaseSettings
from settlement_lab.baseline.server import ServerMeter
from tests.support.histories import Scene
from tests.support.stores import PostgresStores


async def settled(scene: Scene, count: int) -> None:
    """Bring this many settlements to their end."""
    batch = [scene.admission() for _ in range(count)]
    settlements = scene.stores.settlements
    await settlements.admit(batch, scene.engine_id)
    for event in (Event.CLEARED, Event.SETTLED):
        found = await settlements.load([each.settlement_id for each in batch])
        await scene.apply(*[scene.step(each, event) for each in found.values()])


NAMES_OF_COPIES = {
    "instructions_are_as_received",
    "keys_have_their_hash",
    "references_follow_from_keys",
}
"""A copy has a key and an obligation that nobody has sent, so its hashes are those of its original. Its effect on
the accounts is provable like everything else."""


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
        assert {each.check for each in proof.differences} == NAMES_OF_COPIES
        await settled(scene, 1)
        after = await stores.auditor.prove()
        assert {each.subject for each in after.differences} == {
            each.subject for each in proof.differences
        }
    finally:
        await meter.close()
        await stores.close()


async def test_history_is_not_copied_while_a_settlement_is_open(database_url: str):
    stores = PostgresStores(database_url)
    meter = ServerMeter(DatabaseSettings(url=database_url))
    try:
        scene = await Scene.open(stores)
        await scene.stores.settlements.admit([scene.admission()], scene.engine_id)
        with pytest.raises(WrongState, match="1 settlements are open"):
            await meter.multiply_history(2)
    finally:
        await meter.close()
        await stores.close()
