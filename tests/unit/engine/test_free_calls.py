"""Calls without a lane: when a question may leave so, and what the lanes get to know of it."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest

from settlement_engine.domain.lifecycle import Ask, Event, State
from settlement_engine.engine.dispatch.free_calls import FailedSends, FreeCalls
from settlement_engine.engine.dispatch.lanes import Lanes
from settlement_engine.engine.gate import Gate
from settlement_engine.ports import Answer, BreakerLimits, LaneLimits
from tests.support.decided import settlement
from tests.support.histories import payment_request
from tests.unit.engine.engine_world import ScriptedRail, running

BANK = payment_request().from_bank
WINDOW = 5
ONE_FAILURE_OPENS = BreakerLimits(failures_in_a_row=1)


class Fixture:
    """Free calls of one rail, with the lanes and the gate that they look at."""

    def __init__(self, **limits: Any) -> None:
        self.rail = ScriptedRail()
        self.limit(**limits)
        rails: Any = {"scripted": self.rail}
        self.lanes, self.gate = Lanes(rails), Gate(["scripted"], is_open=True)
        self.lease = SimpleNamespace(holds_lease=True, monotonic=lambda: 0.0)
        self.free = FreeCalls(rails, self.lanes, self.gate, cast("Any", self.lease))

    def limit(self, **limits: Any) -> None:
        self.rail.capabilities = replace(self.rail.capabilities, lane=LaneLimits(**limits))

    def sent(self, count: int, *, failed: int = 0, is_put: bool = True) -> bool:
        batch = [settlement(State.LOCKED, id=UUID(int=number)) for number in range(count)]
        self.free.begin("scripted", batch)
        lost = {each.id for each in batch[:failed]}
        asked = batch if is_put else ()
        return self.free.end(Ask.SEND, "scripted", batch, asked=asked, failed=lost)


def test_a_rail_without_limits_whose_banks_answer_needs_no_lane() -> None:
    made = Fixture()
    assert made.free.may_leave("scripted")
    assert not made.sent(3)
    assert made.lanes.opened == {}


@pytest.mark.parametrize(
    "limits",
    [
        {"concurrency_max": 5},
        {"rate_per_second_max": 5.0},
        {"enquiry_concurrency_max": 5},
        {"enquiry_rate_per_second_max": 5.0},
        {"breaker": BreakerLimits(reject_share=0.5)},
        {"breaker": BreakerLimits(slow_seconds=1.0)},
    ],
    ids=lambda limits: next(iter(limits)),
)
def test_a_rail_with_any_limit_is_never_free(limits: dict[str, Any]) -> None:
    assert not Fixture(**limits).free.is_free("scripted")


def test_a_rail_whose_rules_change_is_looked_at_again() -> None:
    made = Fixture()
    assert made.free.is_free("scripted")
    made.limit(concurrency_max=1)
    assert not made.free.is_free("scripted")


def test_a_send_that_is_not_answered_is_counted_in_its_lane_and_ends_the_freedom() -> None:
    made = Fixture(breaker=ONE_FAILURE_OPENS)
    assert made.sent(3, failed=1) is False, "two of three were answered: the bank is there"
    assert not made.free.is_free("scripted")
    assert made.sent(1, failed=1), "a breaker has opened"
    assert not made.lanes.opened["scripted", BANK].breaker.is_closed


def test_what_the_engine_itself_ended_says_nothing_about_the_bank() -> None:
    made = Fixture()
    assert not made.sent(3, is_put=False)
    assert made.lanes.opened == {}


def test_answered_sends_that_left_before_are_counted_and_the_freedom_returns() -> None:
    made = Fixture(breaker=BreakerLimits(window=WINDOW))
    made.sent(1, failed=1)
    lane = made.lanes.opened["scripted", BANK]
    made.lanes.forget_idle([lane])
    assert not made.free.is_free("scripted"), "one failure is remembered"
    made.sent(WINDOW)
    made.lanes.forget_idle([lane])
    assert made.free.is_free("scripted")


def test_what_was_held_back_by_the_engine_itself_is_no_failure() -> None:
    failed, [first, second, third] = FailedSends(), [UUID(int=number) for number in range(3)]
    failed.heard(
        [
            Answer(settlement_id=first, event=Event.UNDELIVERED, attempt=1, is_held_back=True),
            Answer(settlement_id=second, event=Event.UNDELIVERED, attempt=1),
            Answer(settlement_id=third, event=Event.SETTLED, attempt=1),
        ]
    )
    assert failed == {second}
    failed.silent([first])
    assert failed == {first, second}


def test_a_stopped_bank_ends_the_freedom_of_its_rail() -> None:
    made = Fixture()
    made.lanes.stop_only({("scripted", BANK)})
    assert not made.free.is_free("scripted")
    made.lanes.stop_only(())
    assert made.free.is_free("scripted")


def test_nothing_leaves_without_a_lane_while_gate_or_lease_could_forbid_it() -> None:
    made = Fixture()
    made.gate.shut()
    assert not made.free.may_leave("scripted")
    made.gate.open(frozenset({"E1"}))
    assert not made.free.may_leave("scripted"), "the bank may have a payment that we have lost"
    made.gate.open()
    made.lease.holds_lease = False
    assert not made.free.may_leave("scripted")


def test_what_is_under_way_without_a_lane_is_shown() -> None:
    made = Fixture()
    batch = [settlement(State.LOCKED) for _ in range(3)]
    made.free.begin("scripted", batch)
    [shown] = made.lanes.statuses("scripted", 0.0, 9, made.free.under_way("scripted"))
    assert (shown.bank, shown.breaker, shown.in_flight, shown.waiting) == (BANK, "closed", 3, 0)
    made.free.end(Ask.SEND, "scripted", batch, asked=batch)
    assert made.lanes.statuses("scripted", 0.0, 9, made.free.under_way("scripted")) == ()


async def test_in_an_engine_a_lane_exists_from_the_first_send_without_an_answer() -> None:
    async with running() as world:
        await world.settle("k1")
        lanes = world.engine._dispatcher.lanes
        assert lanes.opened == {}
        world.rail.sends.append(None)
        world.rail.enquiries.append(Event.SETTLED)
        assert (await world.settle("k2")).state is State.COMPLETED
        assert lanes.watched == {"scripted"}
        assert (await world.settle("k3")).state is State.COMPLETED, "over its lane"
