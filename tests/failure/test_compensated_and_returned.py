"""A return and a compensation of the same money, with engines: more than was settled never comes back unnoticed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from settlement_engine.domain.exceptions import CaseKind
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.returns import StatedAmount
from settlement_engine.ports import Answer, CaseFilter
from tests.failure.load import END_SECONDS, POLL_SECONDS
from tests.failure.test_compensations_killed import AMOUNT, Scenery, back
from tests.support.unasked import message_of
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from settlement_engine.domain.exceptions import ExceptionCase
    from settlement_engine.domain.settlement import Settlement

PART = 60
AT_ONCE = 6


@pytest.fixture
async def scenery(database_url: str) -> AsyncIterator[Scenery]:
    made = Scenery(database_url)
    yield made
    await made.close()


async def returns(scenery: Scenery, settled: Settlement, minor: int, reference: str) -> None:
    """Let the bank's return arrive at the second engine."""
    settled = await scenery.load(settled)
    assert settled.attempt is not None
    stated = StatedAmount(minor=minor, reference=reference)
    answer = Answer(settlement_id=settled.id, event=Event.RETURNED, attempt=1, stated=stated)
    message = message_of(settled.attempt.route.rail, answer, settled.attempt.references)
    await scenery.engines[1].service._inbound.receive([message])


async def until_decided(scenery: Scenery, settled: Settlement) -> Settlement:
    """Wait until the return was booked, or has become an exception."""
    async with asyncio.timeout(END_SECONDS):
        while True:
            now = await scenery.load(settled)
            if now.returns or now.is_frozen:
                return now
            await asyncio.sleep(POLL_SECONDS)


async def exceptions(scenery: Scenery, settled: Settlement) -> list[ExceptionCase]:
    wanted = CaseFilter(settlement_id=settled.id)
    return list(await scenery.town.stores.cases.cases(wanted))


async def compensated(scenery: Scenery, settled: Settlement, minor: int) -> Settlement:
    [accepted] = await scenery.engines[0].service.submit([back(settled, minor)])
    assert not isinstance(accepted, Exception)
    return accepted


async def test_a_return_of_what_was_paid_back_is_an_exception_and_moves_nothing(
    scenery: Scenery,
) -> None:
    settled = await scenery.open()
    compensation = await compensated(scenery, settled, PART)
    assert (await scenery.until_ended(compensation)).state is State.COMPLETED
    await returns(scenery, settled, AMOUNT, "R-1")
    now = await until_decided(scenery, settled)
    assert (now.state, now.returns, now.is_frozen) == (State.COMPLETED, (), True)
    [found] = await exceptions(scenery, settled)
    assert found.kind is CaseKind.AMOUNT_DIFFERS
    assert (found.detail["amount_minor"], found.detail["return_reference"]) == ("100", "R-1")
    # What is left may still be returned.
    await returns(scenery, settled, AMOUNT - PART, "R-2")

    async def is_returned() -> bool:
        return bool((await scenery.load(settled)).returns)

    await until(is_returned)
    now = await scenery.load(settled)
    assert [each.part_minor for each in now.returns] == [AMOUNT - PART]
    assert await scenery.town.stores.differences() == []


async def test_a_compensation_is_refused_when_the_money_has_come_back_by_itself(
    scenery: Scenery,
) -> None:
    settled = await scenery.open()
    compensation = await compensated(scenery, settled, PART)
    await returns(scenery, settled, PART, "R-1")
    assert (await until_decided(scenery, settled)).returns
    ended = await scenery.until_ended(compensation)
    assert (ended.state, ended.refusal_code) == (State.FAILED, "NOT_COMPENSABLE")
    assert await exceptions(scenery, settled) == []
    assert await scenery.town.stores.differences() == []


async def test_at_once_the_money_comes_back_one_way(scenery: Scenery) -> None:
    await scenery.open()
    for number in range(AT_ONCE):
        settled = await scenery.settle()
        compensation = await compensated(scenery, settled, PART)
        ending = asyncio.create_task(scenery.until_ended(compensation))
        await asyncio.sleep(number * POLL_SECONDS)
        await returns(scenery, settled, PART, f"R-{number}")
        ended, now = await ending, await until_decided(scenery, settled)
        found = [each.kind for each in await exceptions(scenery, settled)]
        if now.returns:
            assert (ended.state, found) == (State.FAILED, [])
        else:
            assert (ended.state, found) == (State.COMPLETED, [CaseKind.AMOUNT_DIFFERS])
    assert await scenery.town.stores.differences() == []
