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
from tests.unit.engine.engine_world import ToldRail, payment_request, running

if TYPE_CHECKING:
    from uuid import UUID

    from tests.unit.engine.engine_world import House


class OneWayRail(ToldRail):
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


async def sent(house: House, event: Event | None, state: State) -> UUID:
    """Send a payment, which the bank answers with this event or not at all, and wait until it is parked."""
    house.rail.sends.append(event)
    [accepted] = await house.engine.submit([payment_request()])
    assert not isinstance(accepted, Exception)
    key = accepted.settlement.id
    await house.until(lambda: house.records.histories[key].state is state)
    await house.until(lambda: house.records.open[key].engine_id == 0)
    return key


@pytest.mark.parametrize(
    ("said", "state"), [(None, State.IN_DOUBT), (Event.ACKNOWLEDGED, State.SENT)]
)
@pytest.mark.parametrize("rail_class", [RailClass.C, RailClass.D])
async def test_a_missing_answer_stays_open_until_the_bank_reports_a_status(
    rail_class: RailClass, said: Event | None, state: State
) -> None:
    async with running(rail=OneWayRail(rail_class)) as house:
        key = await sent(house, said, state)
        await asyncio.sleep(2)
        assert [word for word, _, _ in house.rail.asked] == ["send"]
        moves = len(await house.store.history(key))
        await asyncio.sleep(100)
        assert len(await house.store.history(key)) == moves
        assert house.records.histories[key].state is state
        house.rail.say([Answer(settlement_id=key, event=Event.SETTLED, attempt=1)])
        assert (await house.engine.wait(key, 5)).state is State.COMPLETED


async def test_overdue_is_not_raised_on_a_rail_without_recalls() -> None:
    async with running(rail=OneWayRail(overdue_after_seconds=0.01)) as house:
        key = await sent(house, Event.ACKNOWLEDGED, State.SENT)
        house.rail.say([Answer(settlement_id=key, event=Event.ACKNOWLEDGED, attempt=1)])
        await asyncio.sleep(1)
        assert house.records.histories[key].state is State.SENT
        assert [word for word, _, _ in house.rail.asked] == ["send"]


async def test_a_recall_is_refused_to_the_caller_with_the_reason() -> None:
    async with running(rail=OneWayRail()) as house:
        key = await sent(house, Event.ACKNOWLEDGED, State.SENT)
        with pytest.raises(WrongState) as refused:
            await house.engine.cancel(key)
        assert "does not support recalls" in refused.value.why
        assert house.records.histories[key].state is State.SENT


async def test_a_payment_being_recalled_returns_to_sent_if_the_rail_no_longer_offers_recalls() -> (
    None
):
    async with running() as house:
        house.rail.sends.append(Event.ACKNOWLEDGED)
        house.rail.enquiries.extend([Event.ACKNOWLEDGED] * 1_000)
        house.rail.recalls.extend([None] * 1_000)
        [accepted] = await house.engine.submit([payment_request()])
        assert not isinstance(accepted, Exception)
        key = accepted.settlement.id
        await house.until(lambda: house.records.histories[key].state is State.SENT)
        await house.engine.cancel(key)
        await house.until(lambda: house.records.histories[key].state is State.RECALLING)
        asks = house.rail.capabilities.asks - {Ask.RECALL}
        house.rail.capabilities = replace(house.rail.capabilities, asks=asks)
        await house.until(lambda: house.records.histories[key].state is State.SENT)
        [refused] = [
            moved for moved in await house.store.history(key) if moved.event is Event.RECALL_REFUSED
        ]
        assert refused.detail["text"] == "the rail told takes no recall questions"


async def test_a_payment_taken_over_in_doubt_is_parked_again() -> None:
    async with running(rail=OneWayRail()) as house:
        key = await sent(house, None, State.IN_DOUBT)
        house.records.open[key].due_at = house.records.clock.now()
        await asyncio.sleep(1)
        await house.until(lambda: house.records.open[key].engine_id == 0)
        assert house.records.histories[key].state is State.IN_DOUBT
        assert [word for word, _, _ in house.rail.asked] == ["send"]
