"""Partial returns, charges and different amounts: what is posted, and which cases need a person."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import pytest

from settlement_engine.domain.exceptions import CaseKind
from settlement_engine.domain.ledger import AccountKind, Leg
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.returns import StatedAmount
from settlement_engine.ports import TransferFilter
from tests.unit.engine.engine_world import running
from tests.unit.engine.test_case_worker import SILENT, kinds, posted, say, spend, unspend

if TYPE_CHECKING:
    from settlement_engine.domain.settlement import Settlement


def part(minor: int, reference: str, charges_minor: int = 0) -> StatedAmount:
    return StatedAmount(minor=minor, reference=reference, charges_minor=charges_minor)


async def test_two_partial_returns_are_two_postings_and_hold_the_obligation_between():
    """COMPLETED until returns and charges together equal the amount; then RETURNED."""
    async with running() as world:
        found = await world.settle()
        history = world.records.histories[found.id]
        say(world, found, Event.RETURNED, stated=part(60, "R-1", 5))
        await world.until(lambda: len(history.returns) == 1)
        assert history.state is State.COMPLETED
        obligation = found.instruction.obligation_id
        held = await world.store.find_by_obligation(obligation)
        assert held is not None
        assert held.id == found.id
        assert (await world.nostro()).posted == 10_000 - 100 + 60
        assert await posted(world, AccountKind.FEES) == -5
        assert await posted(world, AccountKind.VOSTRO) == 35
        say(world, found, Event.RETURNED, stated=part(35, "R-2"))
        await world.until(lambda: history.state is State.RETURNED)
        made = await world.accounts.transfers(TransferFilter(group_id=found.id))
        assert sorted((each.posting, each.leg, each.amount_minor) for each in made) == [
            *((1, Leg.CASH, 100), (1, Leg.OBLIGATION, 100)),
            *((2, Leg.CASH_RETURNED, 60), (2, Leg.OBLIGATION_RESTORED, 65)),
            (2, Leg.RETURN_CHARGES, 5),
            *((3, Leg.CASH_RETURNED, 35), (3, Leg.OBLIGATION_RESTORED, 35)),
        ]
        assert await posted(world, AccountKind.SETTLEMENT) == 0
        assert await posted(world, AccountKind.VOSTRO) == 0
        assert await posted(world, AccountKind.CLEARING) == 10_000
        assert kinds(world) == []


async def test_a_return_that_is_reported_again_is_booked_once():
    async with running() as world:
        found = await world.settle()
        history = world.records.histories[found.id]
        for text in ("once", "and again", "and again"):
            say(world, found, Event.RETURNED, stated=part(60, "R-1"), text=text)
        await world.until(lambda: len(history.returns) == 1)
        await asyncio.sleep(0.05)
        assert [each.left_minor for each in history.returns] == [40]
        assert kinds(world) == []


async def test_a_return_of_more_than_is_left_opens_a_case_and_books_nothing():
    async with running() as world:
        found = await world.settle()
        history = world.records.histories[found.id]
        say(world, found, Event.RETURNED, stated=part(60, "R-1"))
        await world.until(lambda: len(history.returns) == 1)
        say(world, found, Event.RETURNED, stated=part(41, "R-2"))
        await world.until(lambda: kinds(world))
        assert kinds(world) == [CaseKind.AMOUNT_DIFFERS]
        assert (history.state, len(history.returns), history.is_frozen) == (
            State.COMPLETED,
            1,
            True,
        )
        say(world, found, Event.RETURNED, stated=part(40, "R-3"))
        await world.until(lambda: history.state is State.RETURNED)
        say(world, found, Event.RETURNED, stated=part(1, "R-4"))
        await world.until(lambda: len(kinds(world)) == 2)
        assert (history.state, len(history.returns)) == (State.RETURNED, 2)


def has_returns(history: Settlement, count: int) -> bool:
    return len(history.returns) == count


async def test_each_uncovered_partial_return_goes_to_suspense():
    async with running() as world:
        found = await world.settle()
        history = world.records.histories[found.id]
        spend(world, 90)
        for number, minor in enumerate((30, 40, 30), 1):
            say(world, found, Event.RETURNED, stated=part(minor, f"R-{number}", 0))
            await world.until(partial(has_returns, history, number))
        assert history.state is State.RETURNED
        assert await posted(world, AccountKind.SUSPENSE) == -100
        assert kinds(world) == [CaseKind.UNCOVERED_RETURN] * 3
        unspend(world, 90)


@pytest.mark.parametrize(
    "stated", [StatedAmount(minor=99), StatedAmount(minor=100, currency="USD")]
)
async def test_another_amount_settled_than_sent_posts_nothing_and_freezes(stated):
    async with running() as world:
        world.rail.sends.append(None)
        world.rail.enquiries.extend(SILENT)
        found = await world.settle(wait_seconds=0.1)
        history = world.records.histories[found.id]
        for text in ("one", "two"):
            say(world, found, Event.SETTLED, stated=stated, text=text)
            await world.until(lambda: history.is_frozen)
            await asyncio.sleep(0.02)
        assert kinds(world) == [CaseKind.AMOUNT_DIFFERS]
        assert (history.state, history.attempt is not None) == (State.SENT, True)
        assert (await world.nostro()).held == 100
        assert not await world.accounts.transfers(TransferFilter(group_id=found.id))
        say(world, found, Event.SETTLED, stated=StatedAmount(minor=100, currency="EUR"))
        await world.engine.wait(found.id, 5)
        assert history.state is State.COMPLETED


async def test_another_amount_after_completion_opens_a_case():
    async with running() as world:
        found = await world.settle()
        say(world, found, Event.SETTLED, stated=StatedAmount(minor=99))
        await world.until(lambda: kinds(world))
        assert kinds(world) == [CaseKind.AMOUNT_DIFFERS]
