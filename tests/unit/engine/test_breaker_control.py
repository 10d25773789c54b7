"""Orders of operators about breakers: every engine follows them, and only sending stops."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from settlement_engine.domain.backoff import Backoff
from settlement_engine.domain.breaker_orders import EVERY_BANK, BreakerAction
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.preconditions import RefusalCode
from settlement_engine.errors import Unavailable
from settlement_engine.ports import BreakerLimits, LaneLimits
from tests.unit.engine.engine_world import EngineWorld, ScriptedRail, payment_request, running

if TYPE_CHECKING:
    import pytest

    from settlement_engine.domain.settlement import Settlement
    from settlement_engine.engine.breaker_control import BreakerControl

OPEN, CLOSE, PROBE = BreakerAction.OPEN, BreakerAction.CLOSE, BreakerAction.PROBE
SHORT_SECONDS = 0.3
SOON: dict[str, Any] = {"full_lane": Backoff(first_seconds=0.05, max_seconds=0.1)}
SILENT = BreakerLimits(failures_in_a_row=1, rest=Backoff(first_seconds=1_000, max_seconds=1_000))


def control(world: EngineWorld) -> BreakerControl:
    assert world.engine.breakers is not None
    return world.engine.breakers


async def order(world: EngineWorld, action: BreakerAction, bank: str = EVERY_BANK) -> None:
    await control(world).give("scripted", bank, action, who="ada", reason="because")


def sent(rail: ScriptedRail) -> int:
    return [word for word, _, _ in rail.asked].count("send")


async def until_state(world: EngineWorld, settlement: Settlement, state: State) -> None:
    await world.until(lambda: world.records.histories[settlement.id].state is state)


async def test_an_open_breaker_stops_sending_without_a_hold_until_it_is_closed() -> None:
    async with running(**SOON) as world:
        await order(world, OPEN)
        waiting = await world.settle(wait_seconds=SHORT_SECONDS)
        assert waiting.state is State.QUEUED
        assert (await world.nostro()).held == 0
        assert sent(world.rail) == 0
        [moved] = [
            move for move in await world.store.history(waiting.id) if move.event is Event.POSTPONED
        ][:1]
        assert moved.detail["text"] == "a person has stopped sending to this bank"
        await order(world, CLOSE)
        await until_state(world, waiting, State.COMPLETED)


async def test_one_bank_is_stopped_in_any_spelling_and_no_other() -> None:
    async with running(**SOON) as world:
        await world.open_bank("DEUTDEFF", 1_000)
        await order(world, OPEN, "deutdeffxxx")
        stopped = await world.settle("k1", SHORT_SECONDS, from_bank="DEUTDEFF")
        assert stopped.state is State.QUEUED
        assert (await world.settle("k2")).state is State.COMPLETED
        await order(world, CLOSE, "DEUTDEFF")
        await until_state(world, stopped, State.COMPLETED)


async def test_what_was_sent_before_is_still_asked_about() -> None:
    async with running() as world:
        world.rail.sends.append(None)
        world.rail.enquiries.extend([None] * 3)
        doubted = await world.settle(wait_seconds=0.06)
        await order(world, OPEN)
        await until_state(world, doubted, State.COMPLETED)
        assert sent(world.rail) == 1


async def test_other_engines_follow_and_one_that_starts_later_reads_what_stands() -> None:
    async with running(**SOON) as world:
        other = EngineWorld(world.records, **SOON)
        other.ids._last = 1_000
        await other.start()
        await order(world, OPEN)
        await world.until(lambda: control(other).rails()[0].standing)
        later = EngineWorld(world.records, **SOON)
        later.ids._last = 2_000
        await later.start()
        for number, each in enumerate((world, other, later)):
            found = await each.settle(f"k{number}", SHORT_SECONDS)
            assert found.state is State.QUEUED
            assert sent(each.rail) == 0
        await order(later, CLOSE)
        await world.until(
            lambda: all(
                history.state is State.COMPLETED for history in world.records.histories.values()
            )
        )
        await other.crash()
        await later.crash()


async def test_a_probe_sends_one_payment_and_the_order_to_stop_stands() -> None:
    async with running(**SOON) as world:
        await order(world, OPEN)
        waiting = [await world.settle(f"k{number}", SHORT_SECONDS) for number in range(3)]
        await order(world, PROBE)
        await world.until(lambda: sent(world.rail) == 1)
        await asyncio.sleep(1)
        assert sent(world.rail) == 1
        states = [world.records.histories[each.id].state for each in waiting]
        assert sorted(states) == [State.COMPLETED, State.QUEUED, State.QUEUED]
        assert control(world).rails()[0].lanes[0].is_stopped
        await order(world, PROBE)
        await world.until(lambda: sent(world.rail) == 2)
        await order(world, CLOSE)
        for each in waiting:
            await until_state(world, each, State.COMPLETED)


class SilentRail(ScriptedRail):
    """Its breaker opens after one send without an answer, for longer than the test."""

    def __init__(self, **breaker: Any) -> None:
        super().__init__()
        limits = LaneLimits(breaker=replace(SILENT, **breaker))
        self.capabilities = replace(self.capabilities, lane=limits)
        self.sends.append(None)


async def opened_by_itself(world: EngineWorld) -> None:
    await world.settle("first")
    await world.until(lambda: control(world).rails()[0].lanes[0].breaker == "open")


async def test_closing_also_closes_a_breaker_that_has_opened_by_itself() -> None:
    async with running(rail=SilentRail()) as world:
        await opened_by_itself(world)
        [lane] = control(world).rails()[0].lanes
        assert (lane.is_stopped, lane.why) == (False, "sends were not answered in time")
        assert 0 < lane.tries_in_seconds <= 1_000
        waiting = await world.settle("k2", SHORT_SECONDS)
        assert waiting.state is State.LOCKED
        await order(world, CLOSE, "AAA")
        await until_state(world, waiting, State.COMPLETED)
        assert (
            control(world).rails()[0].lanes == ()
        )  # nothing is limited, counted or held back any more


async def test_a_probe_that_is_answered_closes_a_breaker_that_has_opened_by_itself() -> None:
    async with running(rail=SilentRail()) as world:
        await opened_by_itself(world)
        waiting = await world.settle("k2", SHORT_SECONDS)
        await order(world, PROBE)
        await until_state(world, waiting, State.COMPLETED)
        assert (
            control(world).rails()[0].lanes == ()
        )  # nothing is limited, counted or held back any more


async def test_a_rail_that_is_configured_so_refuses_while_its_breaker_is_open() -> None:
    rail = SilentRail(refuses_while_open=True)
    async with running(rail=rail) as world:
        await opened_by_itself(world)
        refused = await world.settle("k2")
        assert (refused.state, refused.refusal_code) == (State.FAILED, RefusalCode.NO_ROUTE)
        assert refused.refusal_detail["rail.scripted"].startswith("BREAKER_OPEN")
        await order(world, OPEN)
        refused = await world.settle("k3")
        assert refused.refusal_detail["rail.scripted"].startswith("STOPPED_BY_OPERATOR")
        assert control(world).rails()[0].refuses_while_open


async def test_limits_of_the_configuration_come_before_the_rails_own() -> None:
    limits = {"scripted": replace(SILENT, refuses_while_open=True)}
    async with running(breakers_by_rail=limits) as world:
        world.rail.sends.append(None)
        await opened_by_itself(world)
        assert (await world.settle("k2")).refusal_code == RefusalCode.NO_ROUTE


async def test_while_the_database_is_away_the_last_orders_stand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running(**SOON) as world:
        await order(world, OPEN)

        async def lost(*_: object) -> None:
            raise Unavailable("lost")

        with monkeypatch.context() as patch:
            patch.setattr(control(world)._store, "orders_after", lost)
            await asyncio.sleep(0.5)
            waiting = await world.settle(wait_seconds=SHORT_SECONDS)
            assert waiting.state is State.QUEUED
        await order(world, CLOSE)
        await until_state(world, waiting, State.COMPLETED)


async def test_an_order_that_is_committed_late_is_followed() -> None:
    """Its number is lower than that of an order which was read before."""
    async with running(**SOON) as world:
        store = control(world)._store
        await order(world, PROBE)
        first = await store.give("scripted", EVERY_BANK, OPEN, who="ada", reason="because")
        world.records.breaker_orders.remove(first)
        await store.give("scripted", "ZZZ", PROBE, who="ada", reason="because")
        second = number_last(world, first.id + 1)
        await world.until(lambda: second in control(world)._seen)
        world.records.breaker_orders.insert(1, first)
        await world.until(lambda: control(world).rails()[0].standing == (first,))
        await order(world, CLOSE)


def number_last(world: EngineWorld, number: int) -> int:
    """Give the last order this number, as if another transaction had the one before."""
    orders = world.records.breaker_orders
    orders[-1] = msgspec.structs.replace(orders[-1], id=number)
    return number


async def test_a_probe_of_what_is_not_stopped_lets_nothing_pass_later() -> None:
    async with running(**SOON) as world:
        await order(world, PROBE)
        await order(world, OPEN)
        assert (await world.settle(wait_seconds=SHORT_SECONDS)).state is State.QUEUED
        assert sent(world.rail) == 0


async def test_after_a_recovery_what_stands_is_read_anew() -> None:
    """A restored database may have lost orders, and gives their numbers to others."""
    async with running(**SOON) as world:
        await order(world, PROBE)
        await order(world, PROBE)
        world.records.breaker_orders.pop()
        await control(world)._store.give("scripted", EVERY_BANK, OPEN, who="ada", reason="because")
        world.engine._gate.forget()
        await world.until(lambda: control(world).rails()[0].standing)
        waiting = await world.settle(wait_seconds=SHORT_SECONDS)
        assert waiting.state is State.QUEUED
        await order(world, CLOSE)
        await until_state(world, waiting, State.COMPLETED)


async def test_an_order_about_another_rail_changes_nothing() -> None:
    async with running() as world:
        await control(world).give("elsewhere", EVERY_BANK, OPEN, who="ada", reason="because")
        [accepted] = await world.engine.submit([payment_request("k1")])
        assert not isinstance(accepted, Exception)
        await until_state(world, accepted, State.COMPLETED)
