"""Recalls in a running engine: asked until answered, nothing moves, and only a return is money."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from settlement_engine.domain.breaker_orders import EVERY_BANK
from settlement_engine.domain.exceptions import CaseKind
from settlement_engine.domain.lifecycle import Ask, Event, State
from settlement_engine.domain.recalls import RecallState
from settlement_engine.domain.returns import StatedAmount
from settlement_engine.errors import NotFound, WrongState
from settlement_engine.ports import Answer, LaneLimits
from tests.unit.engine.engine_world import ScriptedRail, running
from tests.unit.engine.test_case_worker import kinds, say

if TYPE_CHECKING:
    from settlement_engine.domain.recalls import RecallRequest
    from settlement_engine.domain.settlement import Settlement
    from tests.unit.engine.engine_world import EngineWorld


def rail(**rules: Any) -> ScriptedRail:
    made = ScriptedRail()
    made.capabilities = replace(made.capabilities, **rules)
    return made


async def comes_to(
    world: EngineWorld, settlement: Settlement, *states: RecallState
) -> RecallRequest:
    await world.until(lambda: world.records.recalls[settlement.id].state in states)
    return world.records.recalls[settlement.id]


async def recalled(world: EngineWorld, **fields: Any) -> Settlement:
    """Settle one, and ask for the money back."""
    found = await world.settle(**fields)
    await world.recaller.request(found.id, "ada", "why")
    return found


def recalls_asked(world: EngineWorld) -> int:
    return sum(word == "recall" for word, _, _ in world.rail.asked)


async def test_an_acceptance_is_a_promise_and_the_return_is_the_money() -> None:
    async with running() as world:
        world.rail.recalls.extend([None, Event.ACKNOWLEDGED, Event.RECALLED])
        found = await recalled(world)
        promised = await comes_to(world, found, RecallState.PROMISED)
        assert [step.state for step in promised.steps] == [
            RecallState.REQUESTED,
            RecallState.IN_PROCESS,
            RecallState.PROMISED,
        ]
        history = world.records.histories[found.id]
        assert (history.state, history.is_frozen) == (State.COMPLETED, False)
        assert (await world.nostro()).posted == 10_000 - 100
        say(world, found, Event.RETURNED)
        await comes_to(world, found, RecallState.RETURNED)
        assert history.state is State.RETURNED
        assert (await world.nostro()).posted == 10_000
        assert kinds(world) == []
        assert found.id not in world.records.open_recalls


async def test_a_refusal_closes_it_with_the_banks_reason() -> None:
    async with running() as world:
        world.rail.recalls.append(Event.RECALL_REFUSED)
        found = await recalled(world)
        refused = await comes_to(world, found, RecallState.REFUSED)
        assert refused.steps[-1].detail == {"code": "X1"}
        assert recalls_asked(world) == 1
        assert world.records.histories[found.id].state is State.COMPLETED
        assert kinds(world) == []


async def test_money_that_comes_back_after_a_refusal_ends_the_recall_as_returned() -> None:
    async with running() as world:
        world.rail.recalls.append(Event.RECALL_REFUSED)
        found = await recalled(world)
        await comes_to(world, found, RecallState.REFUSED)
        part = StatedAmount(minor=40, reference="R-1")
        say(world, found, Event.RETURNED, stated=part)
        await world.until(lambda: world.records.histories[found.id].returns)
        await world.until(lambda: found.id not in world.records.open_recalls)
        assert world.records.recalls[found.id].state is RecallState.REFUSED
        say(world, found, Event.RETURNED, stated=StatedAmount(minor=60, reference="R-2"))
        await comes_to(world, found, RecallState.RETURNED)
        assert world.records.histories[found.id].state is State.RETURNED
        assert found.id not in world.records.open_recalls


async def test_a_bank_that_only_says_settled_leaves_the_payment_as_it_is() -> None:
    async with running() as world:
        world.rail.recalls.append(Event.SETTLED)
        found = await recalled(world)
        await comes_to(world, found, RecallState.REFUSED)


async def test_what_the_bank_says_later_and_unasked_counts_and_is_no_contradiction() -> None:
    async with running() as world:
        world.rail.recalls.append(Event.RECALL_REFUSED)
        found = await recalled(world)
        await comes_to(world, found, RecallState.REFUSED)
        say(world, found, Event.RECALLED)
        await comes_to(world, found, RecallState.PROMISED)
        say(world, found, Event.RECALL_REFUSED)
        await comes_to(world, found, RecallState.REFUSED)
        say(world, found, Event.SETTLED, promises_return=True)
        await comes_to(world, found, RecallState.PROMISED)
        history = world.records.histories[found.id]
        assert (history.state, history.is_frozen) == (State.COMPLETED, False)
        await world.until(lambda: len(world.records.closed_reports) == 3)
        assert kinds(world) == []


async def test_without_a_recall_recalled_still_contradicts_what_has_completed() -> None:
    async with running() as world:
        found = await world.settle()
        say(world, found, Event.RECALLED)
        await world.until(lambda: world.records.histories[found.id].is_frozen)
        assert len(kinds(world)) == 1


async def test_silence_is_not_a_no_and_ends_with_the_time_limit() -> None:
    async with running(rail=rail(recall_answer_seconds=0.2)) as world:
        world.rail.recalls.extend([None] * 1_000)
        found = await recalled(world)
        await comes_to(world, found, RecallState.OVERDUE)
        assert kinds(world) == [CaseKind.RECALL_OVERDUE]
        assert recalls_asked(world) > 1
        assert world.records.histories[found.id].state is State.COMPLETED
        say(world, found, Event.RECALLED)
        await comes_to(world, found, RecallState.PROMISED)
        assert all(case.closed_by == "engine" for case in world.records.cases.values())


async def test_the_time_limit_is_counted_in_banking_days() -> None:
    async with running(rail=rail(recall_answer_banking_days=5)) as world:
        found = await recalled(world)
        requested = world.records.recalls[found.id].requested_at
        until = world.recaller._answer_until(
            world.records.recalls[found.id], world.records.histories[found.id], world.rail
        )
        assert until is not None
        assert timedelta(days=7) < until - requested <= timedelta(days=8)


async def test_a_bank_to_which_sending_is_stopped_is_not_asked_until_it_is_allowed_again() -> None:
    async with running(recall_interval_seconds=600.0) as world:
        found = await recalled(world)
        lanes = world.engine._dispatcher.lanes
        world.rail.recalls.extend([None, Event.RECALLED])
        for stopped in ({("scripted", "AAA")}, {("scripted", EVERY_BANK)}):
            lanes.stop_only(stopped)
            make_due(world, found)
            await world.recaller.look()
            assert recalls_asked(world) == 0
        lanes.stop_only([])
        lane = lanes.of("scripted", "AAA", 0.0, ())
        lane.breaker.ended(0, 100, 0.0)
        assert not lane.breaker.is_closed
        make_due(world, found)
        await world.recaller.look()
        assert recalls_asked(world) == 0
        lane.breaker.close()
        for asked in (1, 2):
            make_due(world, found)
            await world.recaller.look()
            await asked_so_often(world, asked)
            await world.until(lambda: not world.recaller._asked)
        await comes_to(world, found, RecallState.PROMISED)


async def test_a_recall_waits_in_the_lane_of_its_bank_and_goes_before_the_sends() -> None:
    narrow = rail(lane=LaneLimits(concurrency_max=1), answer_timeout_seconds=5.0)
    async with running(rail=narrow, recall_interval_seconds=600.0) as world:
        found = await recalled(world)
        world.rail.answer_delay_seconds = 0.2
        others = [
            asyncio.create_task(world.settle(f"o{number}", obligation_id=f"o{number}"))
            for number in range(3)
        ]
        await world.until(lambda: len(world.rail.asked) == 2)
        await world.recaller.look()
        await world.recaller.look()  # it waits already
        await asyncio.gather(*others)
        await world.until(lambda: recalls_asked(world) == 1)
        assert [word for word, _, _ in world.rail.asked] == [
            "send",
            "send",
            "recall",
            "send",
            "send",
        ]
        await comes_to(world, found, RecallState.REFUSED)


async def test_a_late_answer_to_another_question_is_no_answer_to_the_recall() -> None:
    """The status that an earlier enquiry brings late says *settled*; that refuses nothing."""
    patient = rail(answer_timeout_seconds=5.0)
    async with running(rail=patient, recall_interval_seconds=600.0) as world:
        found = await recalled(world)
        world.rail.answer_delay_seconds = 0.1
        world.rail.recalls.append(Event.RECALLED)
        await world.recaller.look()
        late = Answer(settlement_id=found.id, event=Event.SETTLED, attempt=1)
        world.engine._asker._hear([late])
        assert found.id in world.recaller._asked
        recall = await comes_to(world, found, RecallState.PROMISED)
        assert [step.event for step in recall.steps] == [None, Event.RECALLED]


async def test_a_recall_that_was_discarded_with_the_lanes_is_asked_later() -> None:
    narrow = rail(lane=LaneLimits(concurrency_max=1), answer_timeout_seconds=0.2)
    async with running(rail=narrow, recall_interval_seconds=600.0) as world:
        found = await recalled(world)
        world.rail.answer_delay_seconds = 0.1
        other = asyncio.create_task(world.settle("o1", wait_seconds=0.1, obligation_id="o1"))
        await world.until(lambda: len(world.rail.asked) == 2)
        await world.recaller.look()
        assert found.id in world.recaller._asked
        world.engine._gate.turn += 1
        await other
        world.rail.answer_delay_seconds = 0.0
        make_due(world, found)
        world.rail.recalls.append(Event.RECALLED)
        await world.recaller.look()
        await comes_to(world, found, RecallState.PROMISED)


async def asked_so_often(world: EngineWorld, count: int) -> None:
    await world.until(lambda: recalls_asked(world) == count)


def make_due(world: EngineWorld, settlement: Settlement) -> None:
    world.records.open_recalls[settlement.id].due_at = world.records.clock.now()


async def test_a_recall_survives_the_engine_that_took_it() -> None:
    async with running(recall_interval_seconds=600.0) as world:
        found = await recalled(world)
        assert recalls_asked(world) == 0
        world.rail.recalls.append(Event.RECALLED)
        await world.recaller.look()
        await comes_to(world, found, RecallState.PROMISED)


async def test_repeated_it_is_the_same_recall() -> None:
    async with running() as world:
        world.rail.recalls.append(Event.RECALL_REFUSED)
        found = await recalled(world)
        await comes_to(world, found, RecallState.REFUSED)
        again = await world.recaller.request(found.id, "grace", "another reason")
        assert again.is_replay
        assert again.steps[0].detail == {"requested_by": "ada", "reason": "why"}


async def test_before_completion_it_is_a_cancellation() -> None:
    async with running() as world:
        world.rail.sends.append(Event.ACKNOWLEDGED)
        world.rail.enquiries.extend([Event.ACKNOWLEDGED] * 1_000)
        found = await world.settle(wait_seconds=0.1)
        with pytest.raises(WrongState) as refused:
            await world.recaller.request(found.id, "ada", "why")
        assert "CancelSettlement" in refused.value.todo
        with pytest.raises(NotFound):
            await world.recaller.request(world.ids.new(), "ada", "why")
        assert not world.records.recalls


async def test_a_rail_without_recalls_and_one_whose_time_is_over_are_not_asked() -> None:
    no_recalls = rail(asks=frozenset({Ask.SEND, Ask.ENQUIRE}))
    for made, why in (
        (no_recalls, "does not support recalls"),
        (rail(recall_within_seconds=0.0), "took recalls of it until"),
    ):
        async with running(rail=made) as world:
            found = await world.settle()
            with pytest.raises(WrongState) as refused:
                await world.recaller.request(found.id, "ada", "why")
            assert why in refused.value.why
