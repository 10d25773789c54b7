"""The route of a payment in a running engine: decided once, stored with its reasons, and never changed."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import time
from typing import TYPE_CHECKING, Any

import pytest

from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.routing import read_rejected
from settlement_engine.domain.windows import Window, always_open
from tests.unit.engine.engine_world import ToldRail, payment_request, running, shut_window

if TYPE_CHECKING:
    from settlement_engine.domain.settlement import Moved, Settlement
    from tests.unit.engine.engine_world import House


def rail(name: str, **rules: Any) -> ToldRail:
    made = ToldRail()
    made.name = name
    made.unasked.rail = name
    made.capabilities = replace(made.capabilities, **rules)
    return made


async def into(house: House, settlement: Settlement, state: State) -> Moved:
    moves = await house.store.history(settlement.id)
    [found] = [moved for moved in moves if moved.to_state is state]
    return found


async def test_the_route_is_stored_with_the_send_intent_and_the_reason_against_each_other_rail() -> (
    None
):
    first = rail("first", amount_max_minor={"EUR": 50})
    async with running(rail=first, others=[rail("second")]) as house:
        small, large = await house.settle("k1", amount=50), await house.settle("k2", amount=51)
        assert small.attempt is not None
        assert small.attempt.route.rail == "first"
        assert read_rejected((await into(house, small, State.LOCKED)).detail) == ()
        assert large.attempt is not None
        assert large.attempt.route.rail == "second"
        detail = (await into(house, large, State.LOCKED)).detail
        assert detail["route"].startswith("second ")
        assert detail["rail.first"] == (
            "AMOUNT_ABOVE_LIMIT: it carries no more than 50 minor units of EUR"
        )


async def test_a_payment_that_no_rail_carries_is_refused_with_all_reasons() -> None:
    first = rail("first", currencies=frozenset({"USD"}))
    second = rail("second", banks=frozenset({"CCC"}))
    async with running(rail=first, others=[second]) as house:
        failed = await house.settle()
        assert (failed.state, failed.refusal_code) == (State.FAILED, "NO_ROUTE")
        assert failed.refusal_detail == {
            "currency": "EUR",
            "rail.first": "CURRENCY_NOT_CARRIED: it carries USD, not EUR",
            "rail.second": "BANK_NOT_REACHED: AAA takes no orders over it",
        }


async def test_a_route_that_changes_while_accounts_are_looked_up_is_still_the_one_decided() -> None:
    """The decision is made once: a payment prepared for one rail is not locked for another."""
    first, second = rail("first"), rail("second")
    async with running(rail=first, others=[second]) as house:
        ensure = house.accounts.ensure_controls

        async def slow(wanted: Any) -> Any:
            first.capabilities = replace(first.capabilities, currencies=frozenset({"USD"}))
            return await ensure(wanted)

        house.accounts.ensure_controls = slow  # type: ignore[method-assign]
        settled = await house.settle()
        assert settled.state is State.COMPLETED
        assert settled.attempt is not None
        assert settled.attempt.route.rail == "first"
        assert not house.meter.invariant_warnings


async def test_the_rail_is_never_switched_after_the_send_intent() -> None:
    first, second = rail("first"), rail("second")
    async with running(rail=first, others=[second]) as house:
        first.sends.extend([Event.UNDELIVERED, None])
        first.enquiries.extend([None, Event.NOT_FOUND])
        [accepted] = await house.engine.submit([payment_request()])
        assert not isinstance(accepted, Exception)
        await house.until(lambda: first.asked)
        first.capabilities = replace(first.capabilities, currencies=frozenset({"USD"}))
        ended = await house.engine.wait(accepted.settlement.id, 5)
        assert ended.state is State.COMPLETED
        assert [word for word, _, _ in first.asked].count("send") >= 2
        assert second.asked == []


@pytest.mark.parametrize("is_queueing", [True, False], ids=["queue", "refuse"])
async def test_the_windows_of_the_rail_count_beside_those_of_the_currency(
    *, is_queueing: bool
) -> None:
    shut = {"told": [replace(shut_window(), currency="")]}
    async with running(
        has_real_windows=True, is_queueing=is_queueing, windows_by_rail=shut
    ) as house:
        house.records.windows[:] = [always_open("EUR")]
        house.engine._window_calendar.replace([always_open("EUR")])
        settlement = await house.settle(wait_seconds=0.1)
        if is_queueing:
            assert settlement.state is State.QUEUED
            moved = await into(house, settlement, State.QUEUED)
            assert moved.detail["rail"] == "told"
            assert "next_opening" in moved.detail
        else:
            assert settlement.refusal_code == "SETTLEMENT_WINDOW_CLOSED"


async def test_a_closed_rail_is_replaced_by_an_open_one() -> None:
    shut = {"first": [shut_window()]}
    async with running(
        rail=rail("first"), others=[rail("second")], has_real_windows=True, windows_by_rail=shut
    ) as house:
        house.records.windows[:] = [always_open("EUR")]
        house.engine._window_calendar.replace([always_open("EUR")])
        settled = await house.settle()
        assert settled.attempt is not None
        assert settled.attempt.route.rail == "second"
        detail = (await into(house, settled, State.LOCKED)).detail
        assert detail["rail.first"].startswith("WINDOW_CLOSED: next opening: ")


async def test_a_window_of_the_rail_for_another_currency_fails_closed() -> None:
    dollars = Window(
        currency="USD",
        zone="UTC",
        opens=time(0),
        closes=time(0),
        weekdays=frozenset(range(1, 8)),
    )
    async with running(has_real_windows=True, windows_by_rail={"told": [dollars]}) as house:
        house.records.windows[:] = [always_open("EUR")]
        house.engine._window_calendar.replace([always_open("EUR")])
        assert (await house.settle()).refusal_code == "SETTLEMENT_WINDOW_CLOSED"


async def test_a_payment_with_two_possible_rails_waits_until_both_have_resumed() -> None:
    """The rail that is still paused may have the payment from before the failover."""
    first, second = rail("first"), rail("second")
    async with running(rail=first, others=[second]) as house:
        house.engine._gate.shut()
        house.engine._gate.open(rail="second")
        [either] = await house.engine.submit([payment_request("k1")])
        assert not isinstance(either, Exception)
        await asyncio.sleep(1)
        assert house.records.histories[either.settlement.id].state is State.VALIDATING
        assert first.asked == second.asked == []
        first.capabilities = replace(first.capabilities, amount_max_minor={"EUR": 50})
        only_second = await house.settle("k2", amount=100)
        assert only_second.state is State.COMPLETED
        house.engine._gate.open(rail="first")
        assert (await house.engine.wait(either.settlement.id, 5)).state is State.COMPLETED
