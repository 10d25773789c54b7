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
    from tests.unit.engine.engine_world import House


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


def parks(house: House, reason: str) -> Parking:
    made = Parking(reason)
    house.screening.screen = made.screen  # type: ignore[method-assign]
    return made


async def test_a_release_by_two_people_holds_although_screening_parks_for_the_same_reason() -> None:
    async with running() as house:
        parking = parks(house, "as large as that")
        held = await house.settle(wait_seconds=0.1)
        assert held.state is State.HELD
        await house.until(lambda: kinds(house) == [CaseKind.HELD])
        number = await attest(house, held, Finding.RELEASE)
        assert (await house.engine.wait(held.id, 5)).state is State.COMPLETED
        assert parking.asked == 2
        await house.until(lambda: house.records.resolutions[number].proposal.finished_at)
        await house.until(lambda: all(each.closed_at for each in house.records.cases.values()))
        history = await house.store.history(held.id)
        assert [moved.event for moved in history][1:4] == [
            Event.PARKED,
            Event.APPROVED,
            Event.CLEARED,
        ]
        assert history[2].detail["approved_by"] == "grace"


async def test_another_reason_parks_it_again() -> None:
    async with running() as house:
        parking = parks(house, "as large as that")
        held = await house.settle(wait_seconds=0.1)
        parking.reason = "on a list by now"
        await attest(house, held, Finding.RELEASE)
        await house.until(lambda: house.records.histories[held.id].seq == 4)
        assert house.records.histories[held.id].state is State.HELD
        await house.until(lambda: kinds(house) == [CaseKind.HELD] * 2)


async def test_a_payment_declined_by_two_people_fails() -> None:
    async with running() as house:
        parks(house, "as large as that")
        held = await house.settle(wait_seconds=0.1)
        await attest(house, held, Finding.DECLINE)
        ended = await house.engine.wait(held.id, 5)
        assert (ended.state, ended.refusal_code) == (State.FAILED, "DECLINED")


async def test_the_caller_may_still_cancel_it() -> None:
    async with running() as house:
        parks(house, "as large as that")
        held = await house.settle(wait_seconds=0.1)
        ended = await house.engine.cancel(held.id)
        assert (ended.state, ended.refusal_code) == (State.FAILED, "CANCELLED_BY_CALLER")
        await house.until(lambda: all(each.closed_at for each in house.records.cases.values()))


@pytest.mark.parametrize("is_overdue", [True, False])
async def test_a_recall_states_its_reason(is_overdue: bool) -> None:
    async with running() as house:
        house.rail.capabilities = RailCapabilities(
            rail_class=RailClass.A,
            answer_timeout_seconds=0.05,
            is_not_found_definite=True,
            validity_seconds=3600,
            deduplicates_seconds=3600,
            overdue_after_seconds=0.0 if is_overdue else None,
        )
        house.rail.sends.append(Event.ACKNOWLEDGED)
        house.rail.enquiries.extend([Event.ACKNOWLEDGED] * 10_000)
        house.rail.recalls.append(Event.RECALLED)
        sent = await house.settle(wait_seconds=0.1)
        if not is_overdue:
            await house.engine.cancel(sent.id)
        ended = await house.engine.wait(sent.id, 5)
        reason = "RECALLED_OVERDUE" if is_overdue else "CANCELLED_BY_CALLER"
        assert (ended.state, ended.refusal_code) == (State.ROLLED_BACK, reason)
