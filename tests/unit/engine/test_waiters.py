from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from settlement_engine.domain.lifecycle import State
from settlement_engine.engine.settings import EngineSettings
from settlement_engine.engine.waiters import EndWaiters
from settlement_engine.errors import CorruptRecord, Unavailable
from tests.support.histories import payment_request
from tests.support.waiting import until
from tests.unit.api import fakes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from settlement_engine.domain.settlement import Settlement

BATCH_MAX = 3
SETTINGS = EngineSettings(watch_interval_seconds=0.001, watch_batch_max=BATCH_MAX)
CARRIED = frozenset({UUID(int=2), UUID(int=4)})
A_WHILE_SECONDS = 30.0


class Store:
    """Settlements that are open until a test ends them; records which were loaded."""

    def __init__(self, example: Settlement) -> None:
        self.example = example
        self.ended: set[UUID] = set()
        self.asked: list[list[UUID]] = []
        self.is_away = False
        self.unreadable: set[UUID] = set()

    async def load(self, settlement_ids: Sequence[UUID]) -> dict[UUID, Settlement]:
        self.asked.append(list(settlement_ids))
        if self.is_away:
            raise Unavailable("PostgreSQL cannot be reached")
        if self.unreadable.intersection(settlement_ids):
            raise CorruptRecord("the record cannot be read")
        return {one: self._settlement(one) for one in settlement_ids}

    def _settlement(self, settlement_id: UUID) -> Settlement:
        state = State.COMPLETED if settlement_id in self.ended else State.SENT
        return replace(self.example, id=settlement_id, state=state)


@pytest.fixture
async def store() -> Store:
    world = fakes.World()
    accepted = world._accept(payment_request())
    return Store(accepted)


def room_over(store: Any) -> EndWaiters:
    return EndWaiters(SETTINGS, store)


async def test_each_waiting_settlement_is_looked_up_in_turn(store: Store) -> None:
    room = room_over(store)
    ids = [UUID(int=number) for number in range(1, 12)]
    store.ended = {ids[-1]}
    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(room.wait(one, A_WHILE_SECONDS)) for one in ids]
        looking = group.create_task(room.run(CARRIED.__contains__))
        ended = await waiting[-1]
        assert ended is not None
        assert ended.id == ids[-1]
        store.ended = set(ids)
        asked = len(store.asked)
        for one, task in zip(ids, waiting, strict=True):
            if one in CARRIED:
                room.ended(store._settlement(one))
            assert await task is not None
        looking.cancel()
    assert all(len(batch) <= BATCH_MAX for batch in store.asked)
    first_round = [one for batch in store.asked[:asked] for one in batch]
    assert len(first_round) == len(set(first_round)), "none is read twice before all were read"
    assert not CARRIED.intersection(first_round)


async def test_an_unavailable_store_is_read_again(store: Store) -> None:
    room = room_over(store)
    store.is_away = True
    waiting = asyncio.gather(room.wait(UUID(int=1), A_WHILE_SECONDS))
    looking = asyncio.create_task(room.run(CARRIED.__contains__))
    await until(lambda: len(store.asked) > 1, "it is read again")
    store.is_away, store.ended = False, {UUID(int=1)}
    assert (await waiting)[0] is not None
    looking.cancel()


async def test_a_record_that_cannot_be_read_delays_no_other_waiter(store: Store) -> None:
    room = room_over(store)
    store.unreadable, store.ended = {UUID(int=1)}, {UUID(int=3)}
    unreadable = asyncio.create_task(room.wait(UUID(int=1), A_WHILE_SECONDS))
    looking = asyncio.create_task(room.run(CARRIED.__contains__))
    ended = await room.wait(UUID(int=3), A_WHILE_SECONDS)
    assert ended is not None
    assert not unreadable.done()
    for task in (looking, unreadable):
        task.cancel()


async def test_many_may_wait_for_the_same_and_leave_one_by_one(store: Store) -> None:
    room = room_over(store)
    waiting = [asyncio.create_task(room.wait(UUID(int=1), A_WHILE_SECONDS)) for _ in range(4)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    assert await room.wait(UUID(int=1), 0.0) is None
    room.ended(replace(store.example, id=UUID(int=1), state=State.COMPLETED))
    assert [one is not None for one in await asyncio.gather(*waiting[1:])] == [True] * 3
    assert room._futures == {}
