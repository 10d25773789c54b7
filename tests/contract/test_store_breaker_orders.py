"""Orders about breakers: kept with who and why, and of each rail and bank the latest stands."""

from __future__ import annotations

import itertools

import pytest

from settlement_engine.domain.breaker_orders import EVERY_BANK, BreakerAction

pytestmark = pytest.mark.asyncio(loop_scope="module")

OPEN, CLOSE, PROBE = BreakerAction.OPEN, BreakerAction.CLOSE, BreakerAction.PROBE
MANY = 1_000
_numbers = itertools.count(1)


@pytest.fixture
def rail() -> str:
    """A rail that no other test speaks of."""
    return f"rail-{next(_numbers)}"


async def give(stores, rail, action, bank=EVERY_BANK):
    return await stores.breaker_orders.give(rail, bank, action, who="ada", reason="because")


async def standing(stores, rail):
    return [each for each in await stores.breaker_orders.standing() if each.rail == rail]


async def test_an_order_is_kept_with_all_that_was_given(stores, rail):
    given = await give(stores, rail, OPEN, "DEUTDEFF")
    assert (given.rail, given.bank, given.action) == (rail, "DEUTDEFF", OPEN)
    assert (given.who, given.reason) == ("ada", "because")
    assert await stores.breaker_orders.latest(rail, MANY) == [given]


async def test_of_each_bank_the_latest_order_that_opens_or_closes_stands(stores, rail):
    every, one = await give(stores, rail, OPEN), await give(stores, rail, OPEN, "AAA")
    assert await standing(stores, rail) == [every, one]
    await give(stores, rail, PROBE)
    assert await standing(stores, rail) == [every, one], "a probe changes nothing"
    await give(stores, rail, CLOSE)
    assert await standing(stores, rail) == [one], "what is about one bank is closed for that bank"
    await give(stores, rail, CLOSE, "AAA")
    assert await standing(stores, rail) == []
    again = await give(stores, rail, OPEN)
    assert await standing(stores, rail) == [again]


async def test_orders_are_read_on_from_any_of_them(stores, rail):
    given = [await give(stores, rail, action) for action in (OPEN, PROBE, CLOSE)]
    after = await stores.breaker_orders.orders_after(given[0].id, MANY)
    assert [each for each in after if each.rail == rail] == given[1:]
    assert await stores.breaker_orders.orders_after(given[0].id, 1) == after[:1]


async def test_the_latest_come_first(stores, rail):
    given = [await give(stores, rail, PROBE, bank) for bank in ("AAA", "BBB", "CCC")]
    await give(stores, f"{rail}-other", OPEN)
    assert await stores.breaker_orders.latest(rail, 2) == given[:0:-1]
    every = await stores.breaker_orders.latest("", MANY)
    assert every[0].rail == f"{rail}-other"
    await give(stores, f"{rail}-other", CLOSE)
