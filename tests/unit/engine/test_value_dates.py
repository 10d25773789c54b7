"""Instructions for another day are refused; a repeated call is recognised first."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from settlement_engine.domain.lifecycle import State
from settlement_engine.domain.settlement import Settlement
from settlement_engine.domain.value_dates import ValueDateRange
from settlement_engine.errors import IdempotencyConflict, InvalidInstruction, Unavailable
from tests.unit.engine.engine_world import EngineWorld, payment_request, running

DAY = timedelta(days=1)


def today(world: EngineWorld):
    return world.engine._lease.now().astimezone(UTC).date()


@pytest.mark.parametrize("days", [-1, 1, 40 * 365])
async def test_another_day_is_refused_by_name_and_nothing_is_written(days: int) -> None:
    async with running() as world:
        with pytest.raises(InvalidInstruction) as caught:
            await world.settle(value_date=today(world) + timedelta(days))
        assert [field for field, _ in caught.value.violations] == ["settlement_date"]
        assert not world.records.histories
        assert (await world.settle()).state is State.COMPLETED  # the key and obligation are free


async def test_today_is_settled() -> None:
    async with running() as world:
        assert (await world.settle(value_date=today(world))).state is State.COMPLETED


async def test_the_range_is_the_configured_one() -> None:
    async with running(value_dates=ValueDateRange(days_back=1, days_ahead=2)) as world:
        for number, days in enumerate((-1, 2)):
            found = await world.settle(f"k{number}", value_date=today(world) + timedelta(days))
            assert found.state is State.COMPLETED
        with pytest.raises(InvalidInstruction):
            await world.settle("k9", value_date=today(world) + 3 * DAY)


async def test_the_same_call_on_another_day_is_a_replay_and_other_content_a_conflict() -> None:
    async with running() as world:
        day = today(world)
        first = await world.settle(value_date=day)
        world.engine._lease.saw(datetime.combine(day + DAY, datetime.min.time(), UTC))
        again = await world.engine.settle(payment_request(value_date=day), 5)
        assert again.is_replay
        assert again.id == first.id
        with pytest.raises(IdempotencyConflict) as caught:
            await world.engine.settle(payment_request(value_date=day, amount=7), 5)
        assert caught.value.field == "amount"
        with pytest.raises(InvalidInstruction):
            await world.engine.settle(payment_request("k2", value_date=day), 5)


async def test_one_for_another_day_does_not_stop_the_rest_of_its_batch() -> None:
    async with running() as world:
        day = today(world)
        dates = [None, day - DAY, day, day + DAY, None]
        payment_requests = [
            payment_request(f"k{number}", value_date=date) for number, date in enumerate(dates)
        ]
        results = await world.engine.submit(payment_requests)
        assert [type(each) for each in results] == [
            Settlement, InvalidInstruction, Settlement, InvalidInstruction, Settlement
        ]  # fmt: skip
        await world.until(lambda: len(world.records.histories) == 3)


async def test_a_database_outage_fails_only_the_affected_call(monkeypatch) -> None:
    async with running() as world:

        async def away(_: object) -> None:
            what = "PostgreSQL cannot be reached"
            raise Unavailable(what)

        monkeypatch.setattr(world.store, "find_by_keys", away)
        payment_requests = [
            payment_request("k1"),
            payment_request("k2", value_date=today(world) - DAY),
        ]
        results = await asyncio.wait_for(world.engine.submit(payment_requests), 5)
        assert [type(each) for each in results] == [Settlement, Unavailable]
