"""Instructions for another day are refused; a repeated call is recognised first."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from settlement_engine.domain.lifecycle import State
from settlement_engine.domain.value_dates import ValueDateRange
from settlement_engine.errors import IdempotencyConflict, InvalidInstruction, Unavailable
from settlement_engine.ports import Accepted
from tests.unit.engine.engine_world import House, payment_request, running

DAY = timedelta(days=1)


def today(house: House):
    return house.engine._lease.now().astimezone(UTC).date()


@pytest.mark.parametrize("days", [-1, 1, 40 * 365])
async def test_another_day_is_refused_by_name_and_nothing_is_written(days: int) -> None:
    async with running() as house:
        with pytest.raises(InvalidInstruction) as caught:
            await house.settle(value_date=today(house) + timedelta(days))
        assert [field for field, _ in caught.value.violations] == ["settlement_date"]
        assert not house.records.histories
        assert (await house.settle()).state is State.COMPLETED  # the key and obligation are free


async def test_today_is_settled() -> None:
    async with running() as house:
        assert (await house.settle(value_date=today(house))).state is State.COMPLETED


async def test_the_range_is_the_configured_one() -> None:
    async with running(value_dates=ValueDateRange(days_back=1, days_ahead=2)) as house:
        for number, days in enumerate((-1, 2)):
            found = await house.settle(f"k{number}", value_date=today(house) + timedelta(days))
            assert found.state is State.COMPLETED
        with pytest.raises(InvalidInstruction):
            await house.settle("k9", value_date=today(house) + 3 * DAY)


async def test_the_same_call_on_another_day_is_a_replay_and_other_content_a_conflict() -> None:
    async with running() as house:
        day = today(house)
        first = await house.settle(value_date=day)
        house.engine._lease.saw(datetime.combine(day + DAY, datetime.min.time(), UTC))
        again = await house.engine.settle(payment_request(value_date=day), 5)
        assert again.is_replay
        assert again.settlement.id == first.id
        with pytest.raises(IdempotencyConflict) as caught:
            await house.engine.settle(payment_request(value_date=day, amount=7), 5)
        assert caught.value.field == "amount"
        with pytest.raises(InvalidInstruction):
            await house.engine.settle(payment_request("k2", value_date=day), 5)


async def test_one_for_another_day_does_not_stop_the_rest_of_its_batch() -> None:
    async with running() as house:
        day = today(house)
        dates = [None, day - DAY, day, day + DAY, None]
        payment_requests = [
            payment_request(f"k{number}", value_date=date) for number, date in enumerate(dates)
        ]
        results = await house.engine.submit(payment_requests)
        assert [type(each) for each in results] == [
            Accepted, InvalidInstruction, Accepted, InvalidInstruction, Accepted
        ]  # fmt: skip
        await house.until(lambda: len(house.records.histories) == 3)


async def test_a_database_outage_fails_only_the_affected_call(monkeypatch) -> None:
    async with running() as house:

        async def away(_: object) -> None:
            what = "PostgreSQL cannot be reached"
            raise Unavailable(what)

        monkeypatch.setattr(house.store, "find_by_keys", away)
        payment_requests = [
            payment_request("k1"),
            payment_request("k2", value_date=today(house) - DAY),
        ]
        results = await asyncio.wait_for(house.engine.submit(payment_requests), 5)
        assert [type(each) for each in results] == [Accepted, Unavailable]
