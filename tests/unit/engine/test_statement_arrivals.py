"""When reconciliation is told of statements: once they were searched, or after a while."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from settlement_engine.engine.statement_arrivals import (
    LOOK_SECONDS,
    SEARCHED_SECONDS_MAX,
    WAITING_MAX,
    StatementArrivals,
)
from settlement_engine.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection


class Evidence:
    """A store in which accounts are being searched."""

    def __init__(self, *undecided: int) -> None:
        self.undecided = set(undecided)
        self.is_down = False

    async def undecided_accounts(self, account_ids: Collection[int]) -> set[int]:
        if self.is_down:
            raise Unavailable("the database is down")
        return self.undecided & set(account_ids)


class World:
    """Arrivals on such a store, and what reconciliation was told, with the time."""

    def __init__(self, store: Evidence) -> None:
        self.told: list[tuple[float, list[int]]] = []
        self.arrivals = StatementArrivals(store, self._tell)
        self._begun = asyncio.get_running_loop().time()

    def _tell(self, account_ids: Collection[int]) -> None:
        now = asyncio.get_running_loop().time()
        self.told.append((round(now - self._begun, 1), sorted(account_ids)))


@contextlib.asynccontextmanager
async def running(store: Evidence) -> AsyncIterator[World]:
    world = World(store)
    task = asyncio.create_task(world.arrivals.run())
    yield world
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_an_account_is_passed_on_when_its_statements_are_searched():
    store = Evidence(7)
    async with running(store) as world:
        world.arrivals.kept([7, 8])
        await asyncio.sleep(5)
        assert world.told == [(0.0, [8])]
        store.undecided.clear()
        await asyncio.sleep(2 * LOOK_SECONDS)
        assert [each for _, each in world.told] == [[8], [7]]
        world.arrivals.kept([7])
        await asyncio.sleep(2 * LOOK_SECONDS)
        assert [each for _, each in world.told] == [[8], [7], [7]]


async def test_what_cannot_be_decided_keeps_no_account_for_ever():
    async with running(Evidence(7)) as world:
        world.arrivals.kept([7])
        await asyncio.sleep(SEARCHED_SECONDS_MAX / 2)
        world.arrivals.kept([7])  # another statement does not begin the time again
        await asyncio.sleep(SEARCHED_SECONDS_MAX / 2 - 2 * LOOK_SECONDS)
        assert world.told == []
        await asyncio.sleep(4 * LOOK_SECONDS)
        assert [each for _, each in world.told] == [[7]]


async def test_while_the_store_is_down_accounts_wait():
    store = Evidence()
    store.is_down = True
    async with running(store) as world:
        world.arrivals.kept([7])
        await asyncio.sleep(10)
        assert world.told == []
        store.is_down = False
        await asyncio.sleep(2 * LOOK_SECONDS)
        assert [each for _, each in world.told] == [[7]]


async def test_more_accounts_than_may_wait_are_passed_on_at_once():
    everyone = range(1, WAITING_MAX + 2)
    async with running(Evidence(*everyone)) as world:
        world.arrivals.kept(everyone)
        assert [len(each) for _, each in world.told] == [len(everyone)]
