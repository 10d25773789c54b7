"""Both stores find what is stuck, and ignore what is merely in progress."""

from __future__ import annotations

import math
from datetime import date

import pytest

from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.stuck import StuckLimits, StuckReason
from settlement_engine.ports.rail_files import FileItem, RailFile
from tests.support.stores import LEASE_SECONDS

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATIENT = StuckLimits()
AT_ONCE = StuckLimits(
    unattended_seconds=0.0, screening_seconds=0.0, held_seconds=0.0, at_rail_seconds=0.0
)
ALL = 1_000


async def reasons(stores, settlement, limits=PATIENT):
    report = await stores.finder.stuck(limits, ALL)
    return [each.reason for each in report.found if each.settlement_id == settlement.id]


async def test_a_settlement_in_progress_is_not_stuck(stores, scene):
    for state in (State.VALIDATING, State.HELD, State.LOCKED, State.SENT, State.IN_DOUBT):
        assert await reasons(stores, await scene.bring(state)) == []


@pytest.mark.parametrize("state", [State.LOCKED, State.SENT, State.IN_DOUBT, State.RECALLING])
async def test_a_parked_settlement_without_a_due_time_is_stuck_at_once(stores, scene, state):
    planted = await scene.bring(State.LOCKED)
    way = {
        State.LOCKED: [Event.UNDELIVERED],
        State.SENT: [Event.ACKNOWLEDGED],
        State.IN_DOUBT: [Event.NO_ANSWER],
        State.RECALLING: [Event.ACKNOWLEDGED, Event.OVERDUE],
    }[state]
    for event in way:
        planted = await scene.move(planted, event, due_seconds=math.inf)
    assert planted.state is state
    assert await reasons(stores, planted) == [StuckReason.NO_NEXT_ACTION]
    assert (await stores.gauges.gauges(0)).without_next_action >= 1


async def test_a_settlement_parked_for_a_person_is_not_stuck(stores, scene):
    held = await scene.move(await scene.new(), Event.PARKED, due_seconds=math.inf)
    assert held.state is State.HELD
    assert await reasons(stores, held) == []
    assert await reasons(stores, held, StuckLimits(held_seconds=0.0)) == [StuckReason.PAST_LIMIT]


async def test_a_due_settlement_that_is_not_claimed_is_stuck(stores, scene):
    due = await scene.move(await scene.bring(State.LOCKED), Event.NO_ANSWER, due_seconds=0.0)
    assert await reasons(stores, due) == []
    limits = StuckLimits(unattended_seconds=0.0)
    assert await reasons(stores, due, limits) == [StuckReason.UNATTENDED]
    later = await scene.move(await scene.bring(State.LOCKED), Event.NO_ANSWER, due_seconds=60.0)
    assert await reasons(stores, later, limits) == []


async def test_unclaimed_settlements_of_a_gone_engine_are_stuck(stores, scene):
    other = await stores.registry.join(LEASE_SECONDS)
    [left] = await scene.admit(scene.payment_request(), engine_id=other)
    limits = StuckLimits(unattended_seconds=0.0)
    assert await reasons(stores, left, limits) == []
    await stores.registry.leave(other)
    assert await reasons(stores, left, limits) == [StuckReason.UNATTENDED]
    [orphan] = await scene.admit(scene.payment_request(), engine_id=10**9)
    assert await reasons(stores, orphan, limits) == [StuckReason.UNATTENDED]


async def test_settlements_of_a_dead_engine_with_a_valid_lease_are_stuck(stores, scene):
    other = await stores.registry.join(LEASE_SECONDS)
    [left] = await scene.admit(scene.payment_request(), engine_id=other)
    await stores.end_session(other)
    limits = StuckLimits(unattended_seconds=0.0)
    assert await reasons(stores, left, limits) == []
    await stores.settlements.claim(scene.engine_id, 0)  # an engine notices, and claims nothing
    assert await reasons(stores, left, limits) == [StuckReason.UNATTENDED]


async def test_a_payment_is_past_its_rails_own_limit(stores, scene):
    sent = await scene.bring(State.SENT)
    assert await reasons(stores, sent, StuckLimits(by_rail={"other": 0.0})) == []
    limits = StuckLimits(by_rail={"mock": 0.0})
    assert await reasons(stores, sent, limits) == [StuckReason.PAST_LIMIT]
    assert await reasons(stores, sent, StuckLimits(at_rail_seconds=0.0)) == [StuckReason.PAST_LIMIT]
    own = StuckLimits(at_rail_seconds=0.0, by_rail={"mock": 3600.0})
    assert await reasons(stores, sent, own) == []


async def test_the_age_at_the_rail_counts_from_the_lock_and_not_from_the_last_move(stores, scene):
    locked = await scene.bring(State.LOCKED)
    doubted = await scene.move(locked, Event.NO_ANSWER)
    again = await scene.move(doubted, Event.NOT_FOUND)
    report = await stores.finder.stuck(AT_ONCE, ALL)
    [found] = [each for each in report.found if each.settlement_id == again.id]
    moves = await stores.settlements.history(again.id)
    assert found.since == moves[1].at < moves[-1].at
    assert found.rail == "mock"


async def test_screening_that_never_answers_is_past_its_limit(stores, scene):
    asked = await scene.new()
    limits = StuckLimits(screening_seconds=0.0)
    assert await reasons(stores, asked, limits) == [StuckReason.PAST_LIMIT]


async def test_an_ended_settlement_is_never_stuck(stores, scene):
    for state in (State.COMPLETED, State.FAILED, State.ROLLED_BACK):
        assert await reasons(stores, await scene.bring(state), AT_ONCE) == []


async def test_all_stuck_settlements_are_counted_and_some_listed(stores, scene):
    before = await stores.finder.stuck(PATIENT, ALL)
    for _ in range(3):
        locked = await scene.bring(State.LOCKED)
        await scene.move(locked, Event.NO_ANSWER, due_seconds=math.inf)
    after = await stores.finder.stuck(PATIENT, 2)
    assert len(after.found) == 2
    assert after.total == before.total + 3
    assert [each.since for each in after.found] == sorted(each.since for each in after.found)
    assert after.counts[StuckReason.NO_NEXT_ACTION] >= 3


async def test_a_payment_that_is_in_no_file_for_too_long_is_stuck(stores, scene):
    at_once, patient = StuckLimits(not_filed_seconds=0.0), StuckLimits(unattended_seconds=0.0)
    waits, filed = (
        await scene.locked(trace="091000010000101"),
        await scene.locked("091000010000102"),
    )
    doubted = await scene.move(await scene.locked("091000010000103"), Event.NO_ANSWER)
    acknowledged = await scene.move(await scene.locked("091000010000104"), Event.ACKNOWLEDGED)
    elsewhere = await scene.locked()
    item = FileItem(
        settlement_id=filed.id,
        attempt=1,
        trace="091000010000102",
        fencing_token=filed.fencing_token,
    )
    file = RailFile(
        rail="ach",
        sender="stuck",
        created_on=date(2031, 1, 1),
        modifier="A",
        name="stuck.ach",
        content=b"bytes",
    )
    assert (await stores.rail_files.close_file(file, [item])).is_stored
    for settlement in (waits, doubted):
        assert await reasons(stores, settlement, at_once) == [StuckReason.NOT_FILED]
        assert await reasons(stores, settlement, patient) == []
    for settlement in (filed, acknowledged, elsewhere):
        assert await reasons(stores, settlement, at_once) == []
