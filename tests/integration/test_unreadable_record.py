"""A record that somebody altered so that it cannot be read costs no other one of its claim."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg
import pytest

from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.errors import CorruptRecord
from settlement_engine.ports import CaseFilter, Claimed, SettlementFilter, Unreadable
from tests.support.histories import Scene
from tests.support.stores import PostgresStores

if TYPE_CHECKING:
    from tests.support.databases import Databases

DAMAGES = {
    "a value of the metadata is no text": """metadata = '{"a": {"b": 1}}'""",
    "the value date is beyond every calendar": "value_date = '20000-01-01'",
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
async def test_the_others_of_a_claim_are_read_and_the_exception_is_listed(
    databases: Databases, damage: str
) -> None:
    url = await databases.migrated()
    stores = PostgresStores(url)
    scene = await Scene.open(stores)
    damaged, sound = [
        await scene.move(await scene.bring(State.SENT), Event.NO_ANSWER, due_seconds=0.0)
        for _ in range(2)
    ]
    connection = await asyncpg.connect(url)
    await connection.execute("ALTER TABLE settlement_transactions DISABLE TRIGGER ALL")
    await connection.execute(
        f"UPDATE settlement_transactions SET {damage} WHERE id = $1", damaged.id
    )
    await connection.close()

    claimed = await stores.settlements.claim(scene.engine_id, 10)
    assert [each.settlement.id for each in claimed if isinstance(each, Claimed)] == [sound.id]
    [unread] = [each for each in claimed if isinstance(each, Unreadable)]
    assert unread.settlement_id == damaged.id
    assert unread.why
    again = await stores.settlements.reclaim(scene.engine_id, [damaged.id])
    assert again == [unread]

    await stores.cases.open_unbookable(damaged.id, {"why": unread.why})
    [listed] = await stores.cases.cases(CaseFilter(settlement_id=damaged.id))
    assert listed.settlement is None
    file = await stores.cases.case(listed.id)
    assert file is not None
    assert file.case.settlement is None

    for read in (
        stores.settlements.load([sound.id, damaged.id]),
        stores.settlements.list_settlements(SettlementFilter()),
        stores.archive.dossier(damaged.id),
    ):
        with pytest.raises(CorruptRecord, match=str(damaged.id)):
            await read
    assert set(await stores.settlements.load([sound.id])) == {sound.id}
    await stores.close()
