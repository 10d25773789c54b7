"""Failover barriers: after a new epoch all earlier engine ids, positions and proofs are invalid."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from settlement_engine.domain.announcement import ERA_PLACES, era_of, event_id, follows
from settlement_engine.domain.exceptions import MatterKind
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.ports import BankPayment, MatterFilter, Result, Suspicion
from tests.support.lives import results

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMIT = 1000
LEASE_SECONDS = 600.0


@pytest_asyncio.fixture(loop_scope="module")
async def openings(scene):
    """The record, with sending open."""
    record = scene.stores.openings
    server, opening = await record.look()
    if opening is None:
        await record.shut(None, Suspicion(why="first"), server)
        _, opening = await record.look()
    if not opening.is_open:
        assert await record.note(opening.incarnation, "opened", {})
    return record


async def shut(openings, **suspicion):
    """Begin an epoch; return its record."""
    server, before = await openings.look()
    why = suspicion.pop("why", "operator")
    await openings.shut(before.incarnation, Suspicion(why=why, **suspicion), server)
    _, after = await openings.look()
    assert after.incarnation != before.incarnation
    return after


async def test_a_new_database_is_open_in_the_first_epoch(scene, openings):
    server, opening = await openings.look()
    assert opening.is_open
    assert opening.server.is_same(server)


async def test_an_epoch_begins_paused_with_reason_and_start(scene, openings):
    settlement = await scene.bring(State.COMPLETED)
    _, before = await openings.look()
    after = await shut(openings, why="another_timeline")
    assert (after.era, after.is_open, after.why) == (before.era + 1, False, "another_timeline")
    last = (await scene.stores.settlements.life(settlement.id))[-1]
    assert after.since == last.at
    assert await openings.listed(after.incarnation) == frozenset()
    for rail in ("mock", "other", "mock"):
        await openings.note(after.incarnation, "listed", {"rail": rail})
    assert await openings.listed(after.incarnation) == {"mock", "other"}
    assert await openings.listed(before.incarnation) == frozenset(), "another opening's"
    assert await openings.note(after.incarnation, "opened", {})
    _, opened = await openings.look()
    assert opened.is_open
    assert (opened.era, opened.incarnation) == (after.era, after.incarnation)
    assert not await openings.note(after.incarnation, "listed", {}), "that opening is over"


async def test_a_barrier_based_on_an_older_record_changes_nothing(scene, openings):
    server, before = await openings.look()
    after = await shut(openings)
    await openings.shut(before.incarnation, Suspicion(why="older_state"), server)
    await openings.shut(None, Suspicion(why="first"), server)
    assert (await openings.look())[1] == after


async def test_a_new_epoch_skips_epochs_used_elsewhere(scene, openings):
    _, before = await openings.look()
    after = await shut(openings, era_min=before.era + 5)
    assert after.era == before.era + 5


async def test_the_last_common_announcement_gives_the_start_of_the_gap(scene, openings):
    first, second = await scene.bring(State.COMPLETED), await scene.bring(State.COMPLETED)
    known = (await scene.stores.settlements.life(first.id))[-1]
    assert known.position < (await scene.stores.settlements.life(second.id))[-1].position
    assert (await shut(openings, known_to=known.position)).since == known.at


async def test_a_missing_payment_moves_the_start_of_the_gap_back(scene, openings):
    settlement = await scene.bring(State.COMPLETED)
    last = (await scene.stores.settlements.life(settlement.id))[-1]
    missing = last.at - timedelta(hours=3)
    assert (await shut(openings, since=missing)).since == missing
    assert (await shut(openings, since=last.at + timedelta(hours=3))).since == last.at


async def test_transitions_of_a_new_epoch_start_at_its_first_position(scene, openings):
    settlement = await scene.bring(State.LOCKED)
    head = await scene.stores.stream.head()
    after = await shut(openings)
    assert await scene.stores.stream.head() == after.era * ERA_PLACES
    owner = await scene.stores.registry.join(LEASE_SECONDS)
    [claimed] = [
        each
        for each in await scene.stores.settlements.claim(owner, LIMIT, is_sweep=True)
        if each.settlement.id == settlement.id
    ]
    scene.owner = owner
    await scene.move(claimed.settlement, Event.SETTLED)
    [move] = [
        each.moved
        for each in await scene.stores.stream.read(head, LIMIT)
        if each.moved.settlement_id == settlement.id
    ]
    first = (await scene.stores.stream.read(head, 1))[0].moved
    assert first.position == after.era * ERA_PLACES + 1
    assert follows(first.position, head)
    assert era_of(move.position) == after.era
    assert event_id(move) == f"{move.settlement_id}.{move.seq}.{after.era}"


async def test_engines_of_an_earlier_epoch_are_gone_and_their_ids_not_reused(scene, openings):
    beside = scene.stores.beside()
    before = await beside.registry.join(LEASE_SECONDS)
    after = await shut(openings)
    assert not await beside.registry.beat(before, LEASE_SECONDS)
    assert await openings.others_alive() > 0, "its lease still runs"
    await beside.registry.leave(before)
    joined = await scene.stores.registry.join(LEASE_SECONDS)
    assert joined > max(before, after.era * 1_000_000)
    assert await scene.stores.registry.beat(joined, LEASE_SECONDS)


@pytest.mark.parametrize("state", [State.LOCKED, State.SENT, State.IN_DOUBT, State.RECALLING])
async def test_a_parked_payment_past_the_point_of_no_return_is_enquired_about(
    scene, openings, state
):
    settlement = await scene.bring(state)
    event = Event.UNDELIVERED if state is State.LOCKED else Event.NO_ANSWER
    await scene.move(settlement, event, rest_seconds=3600.0)
    await shut(openings)
    assert await openings.unclaimed() >= 1
    owner = await scene.stores.registry.join(LEASE_SECONDS)
    claimed = {
        each.settlement.id: each
        for each in await scene.stores.settlements.claim(owner, LIMIT, is_sweep=True)
    }
    assert claimed[settlement.id].was_asked
    assert await openings.unclaimed() == 0


async def test_a_claimed_settlement_before_the_point_of_no_return_keeps_waiting(scene, openings):
    settlement = await scene.move(await scene.new(), Event.POSTPONED, rest_seconds=3600.0)
    await shut(openings)
    owner = await scene.stores.registry.join(LEASE_SECONDS)
    claimed = await scene.stores.settlements.claim(owner, LIMIT, is_sweep=True)
    assert settlement.id not in {each.settlement.id for each in claimed}


async def test_proofs_of_an_earlier_epoch_do_not_allow_abandoning(scene, openings):
    """The payment may have been sent once more in the lost time."""
    settlement = await scene.bring(State.LOCKED)
    await shut(openings)
    scene.owner = await scene.stores.registry.join(LEASE_SECONDS)
    await scene.stores.settlements.claim(scene.owner, LIMIT, is_sweep=True)
    taken = await scene.load(settlement)
    step = scene.step(taken, Event.ABANDONED)
    assert results(await scene.stores.settlements.apply([step], scene.owner)) == [Result.STALE]


async def test_payments_of_ours_are_known_and_others_are_reported_once(scene, openings):
    settlement = await scene.load(await scene.bring(State.COMPLETED))
    ours = settlement.attempt.references.end_to_end_id
    written_at = await openings.last_written()
    foreign = f"E{settlement.id.hex}"
    [known] = await openings.known([ours, foreign], written_at)
    assert (known.reference, known.settlement_id) == (ours, settlement.id)
    assert (known.attempt, known.state) == (1, State.COMPLETED)
    payment = BankPayment(
        reference=foreign, event=Event.SETTLED, received_at=written_at, facts={"amount": "1.00"}
    )
    assert await openings.report_unknown([payment], "mock") == 1
    again = msgspec.structs.replace(payment, event=Event.ACKNOWLEDGED)
    assert await openings.report_unknown([again], "mock") == 0
    found = {each.reference: each for each in await openings.known([ours, foreign], written_at)}
    assert found.keys() == {ours, foreign}
    assert found[foreign].settlement_id is None
    assert (await openings.unknown(1)) == [foreign]


async def test_a_payment_of_ours_is_known_however_old_its_instruction_is(scene, openings):
    settlement = await scene.load(await scene.bring(State.COMPLETED))
    ours = settlement.attempt.references.end_to_end_id
    much_later = datetime(2090, 1, 1, tzinfo=UTC)
    assert [each.settlement_id for each in await openings.known([ours], much_later)] == [
        settlement.id
    ]


async def test_a_closed_case_does_not_block_sending_and_stays_on_record(scene, openings):
    written_at = await openings.last_written()
    foreign = f"E{(await scene.new()).id.hex}"
    payment = BankPayment(reference=foreign, event=Event.SETTLED, received_at=written_at, facts={})
    await openings.report_unknown([payment], "mock")
    assert foreign in await openings.unknown(LIMIT)
    wanted = MatterFilter(kinds=frozenset({MatterKind.UNKNOWN_PAYMENT}), limit=LIMIT)
    [matter] = [
        each
        for each in await scene.stores.matters.matters(wanted)
        if each.detail["reference"] == foreign
    ]
    await scene.stores.matters.close_matter(matter.id, "ada", "it was another bank's")
    assert foreign not in await openings.unknown(LIMIT)
    assert [each.reference for each in await openings.known([foreign], written_at)] == [foreign]


async def test_a_confirmation_is_valid_for_its_recovery_only(scene, openings):
    first = await shut(openings)
    assert not await openings.is_confirmed(first.incarnation)
    await openings.note(first.incarnation, "confirmed", {"who": "ada", "reason": "by hand"})
    assert await openings.is_confirmed(first.incarnation)
    second = await shut(openings)
    assert not await openings.is_confirmed(second.incarnation)


async def test_another_server_or_an_older_state_is_recognised(scene, openings):
    server, _ = await openings.look()
    openings.accept(server)
    assert openings.doubt(server) == ""
    changes: dict[str, dict[str, Any]] = {
        "another_system": {"system_identifier": "other"},
        "another_database": {"database_id": 0},
        "another_timeline": {"timeline": server.timeline + 1},
        "older_state": {"flushed": server.flushed - 1},
        "restarted": {"started_at": datetime(2026, 1, 1, tzinfo=UTC)},
    }
    for why, change in changes.items():
        assert openings.doubt(msgspec.structs.replace(server, **change)) == why
