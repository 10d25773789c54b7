"""An account at its numeric limit refuses new business before anything is held; open settlements are posted.

No real turnover reaches the limit, so the balances are set directly, and this ledger does not prove.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import asyncpg
import pytest

from settlement_engine.domain.ledger import BALANCE_FULL, AccountKind
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.errors import WrongState
from settlement_engine.ports import Result
from tests.support.histories import Scene, results
from tests.support.stores import MemoryStores, PostgresStores

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.databases import Databases
    from tests.support.stores import Stores

SIDES = (AccountKind.NOSTRO, AccountKind.SETTLEMENT, AccountKind.CLEARING, AccountKind.VOSTRO)


@pytest.fixture(params=["memory", "postgres"])
async def stores(request: pytest.FixtureRequest, databases: Databases) -> AsyncIterator[Stores]:
    if request.param == "memory":
        yield MemoryStores()
        return
    url = await databases.migrated()
    made = PostgresStores(url)
    yield made
    await made.close()
    await databases.drop(url)


async def turn_over(scene: Scene, kind: AccountKind, minor: int) -> None:
    """Give an account this much turnover on both of its sides."""
    found = await scene.account(kind)
    if isinstance(scene.stores, MemoryStores):
        scene.stores.records.accounts[found.id] = replace(
            found,
            debits_posted=found.debits_posted + minor,
            credits_posted=found.credits_posted + minor,
        )
        return
    assert isinstance(scene.stores, PostgresStores)
    connection = await asyncpg.connect(scene.stores.url)
    await connection.execute(
        "UPDATE accounts SET debits_posted = debits_posted + $2::text::numeric,"
        " credits_posted = credits_posted + $2::text::numeric WHERE id = $1",
        found.id,
        str(minor),
    )
    await connection.close()


@pytest.mark.parametrize("kind", SIDES)
async def test_nothing_new_is_held_when_one_side_is_full(stores: Stores, kind: AccountKind) -> None:
    scene = await Scene.open(stores)
    under_way = await scene.bring(State.SENT)
    await turn_over(scene, kind, BALANCE_FULL)
    settlement = await scene.new()
    before = await scene.everything(settlement)
    assert results(await scene.apply(scene.step(settlement, Event.CLEARED))) == [Result.FULL]
    assert await scene.everything(settlement) == before
    ended = await scene.move(under_way, Event.SETTLED)
    assert ended.state is State.COMPLETED


async def test_other_accounts_go_on(stores: Stores) -> None:
    scene, other = await Scene.open(stores), await Scene.open(stores)
    await turn_over(scene, AccountKind.NOSTRO, BALANCE_FULL)
    first, second = await scene.new(), await other.new()
    steps = [scene.step(first, Event.CLEARED), other.step(second, Event.CLEARED)]
    assert results(await scene.apply(*steps)) == [Result.FULL, Result.APPLIED]


@pytest.mark.parametrize("kind", [AccountKind.NOSTRO, AccountKind.CLEARING])
async def test_a_full_account_is_not_funded(stores: Stores, kind: AccountKind) -> None:
    scene = await Scene.open(stores)
    await turn_over(scene, kind, BALANCE_FULL)
    before = await scene.everything()
    with pytest.raises(WrongState, match="reached its maximum turnover"):
        await scene.fund(1)
    assert await scene.everything() == before
