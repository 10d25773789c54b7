"""Failover barriers: after a new epoch all earlier engine ids, positions and proofs are invalid."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from settlement_engine.domain.announcement import (
    POSITIONS_PER_EPOCH,
    event_id,
    follows,
    system_epoch_of,
)
from settlement_engine.domain.exceptions import CaseKind
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.notices import notice_id
from settlement_engine.ports import BankPayment, CaseFilter, Result, StaleDatabase
from tests.support.histories import results

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMIT = 1000
LEASE_SECONDS = 600.0


@pytest_asyncio.fixture(loop_scope="module")
async def barrier_store(scene):
    """The record, with sending open."""
    record = scene.stores.barrier_store
    server, opening = await record.look()
    if opening is None:
        await record.shut(None, StaleDatabase(why="first"), server)
        _, opening = await record.look()
    if not opening.is_open:
        assert await record.note(opening.epoch_id, "opened", {})
    return record


async def shut(barrier_store, **stale_database):
    """Begin an epoch; return its record."""
    server, before = await barrier_store.look()
    why = stale_database.pop("why", "operator")
    await barrier_store.shut(before.epoch_id, StaleDatabase(why=why, **stale_database), server)
    _, after = await barrier_store.look()
    assert after.epoch_id != before.epoch_id
    return after


async def test_a_new_database_is_open_in_the_first_epoch(scene, barrier_store):
    server, opening = await barrier_store.look()
    assert opening.is_open
    assert opening.server.is_same(server)


async def test_an_epoch_begins_paused_with_reason_and_start(scene, barrier_store):
    settlement = await scene.bring(State.COMPLETED)
    _, before = await barrier_store.look()
    after = await shut(barrier_store, why="another_timeline")
    assert (after.system_epoch, after.is_open, after.why) == (
        before.system_epoch + 1,
        False,
        "another_timeline",
    )
    last = (await scene.stores.settlements.history(settlement.id))[-1]
    assert after.since == last.at
    assert await barrier_store.listed(after.epoch_id) == frozenset()
    for rail in ("mock", "other", "mock"):
        await barrier_store.note(after.epoch_id, "listed", {"rail": rail})
    assert await barrier_store.listed(after.epoch_id) == {"mock", "other"}
    assert await barrier_store.listed(before.epoch_id) == frozenset(), "another opening's"
    assert await barrier_store.note(after.epoch_id, "opened", {})
    _, opened = await barrier_store.look()
    assert opened.is_open
    assert (opened.system_epoch, opened.epoch_id) == (after.system_epoch, after.epoch_id)
    assert not await barrier_store.note(after.epoch_id, "listed", {}), "that opening is over"


async def test_a_barrier_based_on_an_older_record_changes_nothing(scene, barrier_store):
    server, before = await barrier_store.look()
    after = await shut(barrier_store)
    await barrier_store.shut(before.epoch_id, StaleDatabase(why="older_state"), server)
    await barrier_store.shut(None, StaleDatabase(why="first"), server)
    assert (await barrier_store.look())[1] == after


async def test_a_new_epoch_skips_epochs_used_elsewhere(scene, barrier_store):
    _, before = await barrier_store.look()
    after = await shut(barrier_store, system_epoch_min=before.system_epoch + 5)
    assert after.system_epoch == before.system_epoch + 5


async def test_the_last_common_announcement_gives_the_start_of_the_gap(scene, barrier_store):
    first, second = await scene.bring(State.COMPLETED), await scene.bring(State.COMPLETED)
    known = (await scene.stores.settlements.history(first.id))[-1]
    assert known.position < (await scene.stores.settlements.history(second.id))[-1].position
    assert (await shut(barrier_store, known_to=known.position)).since == known.at


async def test_a_missing_payment_moves_the_start_of_the_gap_back(scene, barrier_store):
    settlement = await scene.bring(State.COMPLETED)
    last = (await scene.stores.settlements.history(settlement.id))[-1]
    missing = last.at - timedelta(hours=3)
    assert (await shut(barrier_store, since=missing)).since == missing
    assert (await shut(barrier_store, since=last.at + timedelta(hours=3))).since == last.at


async def test_transitions_of_a_new_epoch_start_at_its_first_position(scene, barrier_store):
    settlement = await scene.bring(State.LOCKED)
    head = await scene.stores.stream.head()
    after = await shut(barrier_store)
    assert await scene.stores.stream.head() == after.system_epoch * POSITIONS_PER_EPOCH
    engine_id = await scene.stores.registry.join(LEASE_SECONDS)
    [claimed] = [
        each
        for each in await scene.stores.settlements.claim(engine_id, LIMIT, is_sweep=True)
        if each.settlement.id == settlement.id
    ]
    scene.engine_id = engine_id
    await scene.move(claimed.settlement, Event.SETTLED)
    [move] = [
        each.moved
        for each in await scene.stores.stream.read(head, LIMIT)
        if each.moved.settlement_id == settlement.id
    ]
    first = (await scene.stores.stream.read(head, 1))[0].moved
    assert first.position == after.system_epoch * POSITIONS_PER_EPOCH + 1
    assert follows(first.position, head)
    assert system_epoch_of(move.position) == after.system_epoch
    assert event_id(move) == f"{move.settlement_id}.{move.seq}.{after.system_epoch}"


async def test_notices_of_a_new_epoch_start_at_its_first_position(scene, barrier_store):
    settlement = await scene.bring(State.COMPLETED)
    after = await shut(barrier_store)
    await scene.stores.recalls.request_recall(settlement.id, "ada", "why")
    outbox = scene.stores.stream.notices
    head = await outbox.head()
    assert head == after.system_epoch * POSITIONS_PER_EPOCH + 1
    [notice] = await outbox.read(head - 1, LIMIT)
    assert notice_id(notice) == f"recall.{settlement.id}.1.{after.system_epoch}"


async def test_engines_of_an_earlier_epoch_are_gone_and_their_ids_not_reused(scene, barrier_store):
    beside = scene.stores.beside()
    before = await beside.registry.join(LEASE_SECONDS)
    after = await shut(barrier_store)
    assert not await beside.registry.renew(before, LEASE_SECONDS)
    assert await barrier_store.others_alive() > 0, "its lease still runs"
    await beside.registry.leave(before)
    joined = await scene.stores.registry.join(LEASE_SECONDS)
    assert joined > max(before, after.system_epoch * 1_000_000)
    assert await scene.stores.registry.renew(joined, LEASE_SECONDS)


@pytest.mark.parametrize("state", [State.LOCKED, State.SENT, State.IN_DOUBT, State.RECALLING])
async def test_a_parked_payment_past_the_point_of_no_return_is_enquired_about(
    scene, barrier_store, state
):
    settlement = await scene.bring(state)
    event = Event.UNDELIVERED if state is State.LOCKED else Event.NO_ANSWER
    await scene.move(settlement, event, due_seconds=3600.0)
    await shut(barrier_store)
    assert await barrier_store.unclaimed() >= 1
    engine_id = await scene.stores.registry.join(LEASE_SECONDS)
    claimed = {
        each.settlement.id: each
        for each in await scene.stores.settlements.claim(engine_id, LIMIT, is_sweep=True)
    }
    assert claimed[settlement.id].was_asked
    assert await barrier_store.unclaimed() == 0


async def test_a_claimed_settlement_before_the_point_of_no_return_keeps_waiting(
    scene, barrier_store
):
    settlement = await scene.move(await scene.new(), Event.POSTPONED, due_seconds=3600.0)
    await shut(barrier_store)
    engine_id = await scene.stores.registry.join(LEASE_SECONDS)
    claimed = await scene.stores.settlements.claim(engine_id, LIMIT, is_sweep=True)
    assert settlement.id not in {each.settlement.id for each in claimed}


async def test_proofs_of_an_earlier_epoch_do_not_allow_abandoning(scene, barrier_store):
    """The payment may have been sent once more in the lost time."""
    settlement = await scene.bring(State.LOCKED)
    await shut(barrier_store)
    scene.engine_id = await scene.stores.registry.join(LEASE_SECONDS)
    await scene.stores.settlements.claim(scene.engine_id, LIMIT, is_sweep=True)
    taken = await scene.load(settlement)
    step = scene.step(taken, Event.ABANDONED)
    assert results(await scene.stores.settlements.apply([step], scene.engine_id)) == [Result.STALE]


async def test_payments_of_ours_are_known_and_others_are_reported_once(scene, barrier_store):
    settlement = await scene.load(await scene.bring(State.COMPLETED))
    ours = settlement.attempt.references.end_to_end_id
    written_at = await barrier_store.last_written()
    foreign = f"E{settlement.id.hex}"
    [known] = await barrier_store.known([ours, foreign], written_at)
    assert (known.reference, known.settlement_id) == (ours, settlement.id)
    assert (known.attempt, known.state) == (1, State.COMPLETED)
    payment = BankPayment(
        reference=foreign, event=Event.SETTLED, received_at=written_at, facts={"amount": "1.00"}
    )
    assert await barrier_store.report_unknown([payment], "mock") == 1
    again = msgspec.structs.replace(payment, event=Event.ACKNOWLEDGED)
    assert await barrier_store.report_unknown([again], "mock") == 0
    found = {
        each.reference: each for each in await barrier_store.known([ours, foreign], written_at)
    }
    assert found.keys() == {ours, foreign}
    assert found[foreign].settlement_id is None
    assert (await barrier_store.unknown(1)) == [foreign]


async def test_a_payment_of_ours_is_known_however_old_its_instruction_is(scene, barrier_store):
    settlement = await scene.load(await scene.bring(State.COMPLETED))
    ours = settlement.attempt.references.end_to_end_id
    much_later = datetime(2090, 1, 1, tzinfo=UTC)
    assert [each.settlement_id for each in await barrier_store.known([ours], much_later)] == [
        settlement.id
    ]


async def test_a_closed_case_does_not_block_sending_and_stays_on_record(scene, barrier_store):
    written_at = await barrier_store.last_written()
    foreign = f"E{(await scene.new()).id.hex}"
    payment = BankPayment(reference=foreign, event=Event.SETTLED, received_at=written_at, facts={})
    await barrier_store.report_unknown([payment], "mock")
    assert foreign in await barrier_store.unknown(LIMIT)
    wanted = CaseFilter(kinds=frozenset({CaseKind.UNKNOWN_PAYMENT}), limit=LIMIT)
    [case] = [
        each
        for each in await scene.stores.cases.cases(wanted)
        if each.detail["reference"] == foreign
    ]
    await scene.stores.cases.close_case(case.id, "ada", "it was another bank's")
    assert foreign not in await barrier_store.unknown(LIMIT)
    assert [each.reference for each in await barrier_store.known([foreign], written_at)] == [
        foreign
    ]


async def test_a_confirmation_is_valid_for_its_recovery_only(scene, barrier_store):
    first = await shut(barrier_store)
    assert not await barrier_store.is_confirmed(first.epoch_id)
    await barrier_store.note(first.epoch_id, "confirmed", {"who": "ada", "reason": "by hand"})
    assert await barrier_store.is_confirmed(first.epoch_id)
    second = await shut(barrier_store)
    assert not await barrier_store.is_confirmed(second.epoch_id)


async def test_another_server_or_an_older_state_is_recognised(scene, barrier_store):
    server, _ = await barrier_store.look()
    barrier_store.accept(server)
    assert barrier_store.doubt(server) == ""
    changes: dict[str, dict[str, Any]] = {
        "another_system": {"system_identifier": "other"},
        "another_database": {"database_id": 0},
        "another_timeline": {"timeline": server.timeline + 1},
        "older_state": {"flushed": server.flushed - 1},
        "restarted": {"started_at": datetime(2026, 1, 1, tzinfo=UTC)},
    }
    for why, change in changes.items():
        assert barrier_store.doubt(msgspec.structs.replace(server, **change)) == why
