"""A rail that can only send: without enquiries and without recalls."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from settlement_engine.domain.answer import Answer
from settlement_engine.domain.decisions.resending import RailClass
from settlement_engine.domain.lifecycle import Ask, Event, State
from settlement_engine.errors import WrongState
from tests.unit.engine.engine_world import ScriptedRail, payment_request, running

if TYPE_CHECKING:
    from uuid import UUID

    from tests.unit.engine.engine_world import EngineWorld


class OneWayRail(ScriptedRail):
    """Accepts payments and has no other part: any other request would be an error of the engine."""

    def __init__(self, rail_class: RailClass = RailClass.D, **rules: Any) -> None:
        super().__init__()
        self.capabilities = replace(
            self.capabilities,
            rail_class=rail_class,
            is_not_found_definite=False,
            asks=frozenset({Ask.SEND}),
            **rules,
        )

    enquire: Any = None
    recall: Any = None


async def sent(world: EngineWorld, event: Event | None, state: State) -> UUID:
    """Send a payment, which the bank answers with this event or not at all, and wait until it is parked."""
    world.rail.sends.append(event)
    [accepted] = await world.engine.submit([payment_request()])
    assert not isinstance(accepted, Exception)
    key = accepted.id
    await world.until(lambda: world.records.histories[key].state is state)
    await world.until(lambda: world.records.open[key].engine_id == 0)
    return key


@pytest.mark.parametrize(
    ("said", "state"), [(None, State.IN_DOUBT), (Event.ACKNOWLEDGED, State.SENT)]
)
@pytest.mark.parametrize("rail_class", [RailClass.C, RailClass.D])
async def test_a_missing_answer_stays_open_until_the_bank_reports_a_status(
    rail_class: RailClass, said: Event | None, state: State
) -> None:
    async with running(rail=OneWayRail(rail_class)) as world:
        key = await sent(world, said, state)
        await asyncio.sleep(2)
        assert [word for word, _, _ in world.rail.asked] == ["send"]
        moves = len(await world.store.history(key))
        await asyncio.sleep(100)
        assert len(await world.store.history(key)) == moves
        assert world.records.histories[key].state is state
        world.rail.say([Answer(settlement_id=key, event=Event.SETTLED, attempt=1)])
        assert (await world.engine.wait(key, 5)).state is State.COMPLETED


async def test_overdue_is_not_raised_on_a_rail_without_recalls() -> None:
    async with running(rail=OneWayRail(overdue_after_seconds=0.01)) as world:
        key = await sent(world, Event.ACKNOWLEDGED, State.SENT)
        world.rail.say([Answer(settlement_id=key, event=Event.ACKNOWLEDGED, attempt=1)])
        await asyncio.sleep(1)
        assert world.records.histories[key].state is State.SENT
        assert [word for word, _, _ in world.rail.asked] == ["send"]


async def test_a_recall_is_refused_to_the_caller_with_the_reason() -> None:
    async with running(rail=OneWayRail()) as world:
        key = await sent(world, Event.ACKNOWLEDGED, State.SENT)
        with pytest.raises(WrongState) as refused:
            await world.engine.cancel(key)
        assert "does not support recalls" in refused.value.why
        assert world.records.histories[key].state is State.SENT


async def test_a_payment_being_recalled_returns_to_sent_if_the_rail_no_longer_offers_recalls() -> (
    None
):
    async with running() as world:
        world.rail.sends.append(Event.ACKNOWLEDGED)
        world.rail.enquiries.extend([Event.ACKNOWLEDGED] * 1_000)
        world.rail.recalls.extend([None] * 1_000)
        [accepted] = await world.engine.submit([payment_request()])
        assert not isinstance(accepted, Exception)
        key = accepted.id
        await world.until(lambda: world.records.histories[key].state is State.SENT)
        await world.engine.cancel(key)
        await world.until(lambda: world.records.histories[key].state is State.RECALLING)
        asks = world.rail.capabilities.asks - {Ask.RECALL}
        world.rail.capabilities = replace(world.rail.capabilities, asks=asks)
        await world.until(lambda: world.records.histories[key].state is State.SENT)
        [refused] = [
            moved for moved in await world.store.history(key) if moved.event is Event.RECALL_REFUSED
        ]
        assert refused.detail["text"] == "the rail scripted takes no recall questions"


async def test_a_payment_taken_over_in_doubt_is_parked_again() -> None:
    async with running(rail=OneWayRail()) as world:
        key = await sent(world, None, State.IN_DOUBT)
        world.records.open[key].due_at = world.records.clock.now()
        await asyncio.sleep(1)
        await world.until(lambda: world.records.open[key].engine_id == 0)
        assert world.records.histories[key].state is State.IN_DOUBT
        assert [word for word, _, _ in world.rail.asked] == ["send"]
