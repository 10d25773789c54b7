"""Payments that screening parks are released or declined by two people; a recall states its true reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from settlement_engine.domain.exceptions import CaseKind
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.proposals import Finding
from settlement_engine.ports import Answer, RailCapabilities, RailClass
from tests.unit.engine.engine_world import running
from tests.unit.engine.test_case_worker import attest, kinds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from settlement_engine.domain.settlement import Settlement
    from tests.unit.engine.engine_world import EngineWorld


class Parking:
    """Parks for the reason that the test set, every time; without one it clears."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        self.asked = 0

    async def screen(
        self, settlements: Sequence[Settlement], report: Callable[[Sequence[Answer]], None]
    ) -> None:
        for settlement in settlements:
            self.asked += 1
            event = Event.PARKED if self.reason else Event.CLEARED
            report([Answer(settlement_id=settlement.id, event=event, text=self.reason)])


def parks(world: EngineWorld, reason: str) -> Parking:
    made = Parking(reason)
    world.screening.screen = made.screen  # type: ignore[method-assign]
    return made


async def test_a_release_by_two_people_holds_although_screening_parks_for_the_same_reason() -> None:
    async with running() as world:
        parking = parks(world, "as large as that")
        held = await world.settle(wait_seconds=0.1)
        assert held.state is State.HELD
        await world.until(lambda: kinds(world) == [CaseKind.HELD])
        number = await attest(world, held, Finding.RELEASE)
        assert (await world.engine.wait(held.id, 5)).state is State.COMPLETED
        assert parking.asked == 2
        await world.until(lambda: world.records.resolutions[number].proposal.finished_at)
        await world.until(lambda: all(each.closed_at for each in world.records.cases.values()))
        history = await world.store.history(held.id)
        assert [moved.event for moved in history][1:4] == [
            Event.PARKED,
            Event.APPROVED,
            Event.CLEARED,
        ]
        assert history[2].detail["approved_by"] == "grace"


async def test_another_reason_parks_it_again() -> None:
    async with running() as world:
        parking = parks(world, "as large as that")
        held = await world.settle(wait_seconds=0.1)
        parking.reason = "on a list by now"
        await attest(world, held, Finding.RELEASE)
        await world.until(lambda: world.records.histories[held.id].seq == 4)
        assert world.records.histories[held.id].state is State.HELD
        await world.until(lambda: kinds(world) == [CaseKind.HELD] * 2)


async def test_a_payment_declined_by_two_people_fails() -> None:
    async with running() as world:
        parks(world, "as large as that")
        held = await world.settle(wait_seconds=0.1)
        await attest(world, held, Finding.DECLINE)
        ended = await world.engine.wait(held.id, 5)
        assert (ended.state, ended.refusal_code) == (State.FAILED, "DECLINED")


async def test_the_caller_may_still_cancel_it() -> None:
    async with running() as world:
        parks(world, "as large as that")
        held = await world.settle(wait_seconds=0.1)
        ended = await world.engine.cancel(held.id)
        assert (ended.state, ended.refusal_code) == (State.FAILED, "CANCELLED_BY_CALLER")
        await world.until(lambda: all(each.closed_at for each in world.records.cases.values()))


@pytest.mark.parametrize("is_overdue", [True, False])
async def test_a_recall_states_its_reason(is_overdue: bool) -> None:
    async with running() as world:
        world.rail.capabilities = RailCapabilities(
            rail_class=RailClass.A,
            answer_timeout_seconds=0.05,
            is_not_found_definite=True,
            validity_seconds=3600,
            deduplicates_seconds=3600,
            overdue_after_seconds=0.0 if is_overdue else None,
        )
        world.rail.sends.append(Event.ACKNOWLEDGED)
        world.rail.enquiries.extend([Event.ACKNOWLEDGED] * 10_000)
        world.rail.recalls.append(Event.RECALLED)
        sent = await world.settle(wait_seconds=0.1)
        if not is_overdue:
            await world.engine.cancel(sent.id)
        ended = await world.engine.wait(sent.id, 5)
        reason = "RECALLED_OVERDUE" if is_overdue else "CANCELLED_BY_CALLER"
        assert (ended.state, ended.refusal_code) == (State.ROLLED_BACK, reason)
