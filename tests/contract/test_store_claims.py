"""Claims: an unowned settlement is claimed by one engine, once, and its earlier owner is fenced off."""

from __future__ import annotations

import asyncio
import math

import pytest
import pytest_asyncio

from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.ports import Result
from tests.support.histories import results

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMIT = 1000
LEASE_SECONDS = 600.0


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def _nothing_is_left(scene):
    """Claim what earlier tests have left, so that only this test's settlements can be claimed."""
    while await scene.stores.settlements.claim(scene.engine_id, LIMIT, is_sweep=True):
        pass


async def claim(scene, *, engine_id=None, limit=LIMIT, is_sweep=False, stores=None):
    stores = stores or scene.stores
    engine_id = scene.engine_id if engine_id is None else engine_id
    claimed = await stores.settlements.claim(engine_id, limit, is_sweep=is_sweep)
    return {each.settlement.id: each for each in claimed}


async def rest(scene, state=State.SENT, seconds=0.0):
    """Create a settlement without an owner."""
    settlement = await scene.bring(state)
    event = Event.UNDELIVERED if state is State.LOCKED else Event.NO_ANSWER
    return await scene.move(settlement, event, due_seconds=seconds)


@pytest.mark.parametrize(
    ("state", "asked"),
    [
        (State.VALIDATING, 1),
        (State.LOCKED, 1),
        # Past the point of no return every enquiry counts, whatever the rail reported in between.
        (State.IN_DOUBT, 2),
        (State.SENT, 2),
        (State.RECALLING, 3),
    ],
)
async def test_a_due_settlement_is_claimed_with_a_new_fencing_token(scene, state, asked):
    settlement = await rest(scene, state)
    claimed = await claim(scene)
    assert claimed.keys() == {settlement.id}
    [taken] = claimed.values()
    assert not taken.was_asked
    assert taken.settlement.fencing_token == settlement.fencing_token + 1
    assert taken.settlement == await scene.load(settlement)
    assert (taken.settlement.state, taken.settlement.seq) == (settlement.state, settlement.seq)
    assert taken.settlement.asked == settlement.asked == asked
    assert await claim(scene) == {}


async def test_transitions_are_dated_by_the_registrys_clock(scene):
    before = await scene.stores.registry.now()
    settlement = await scene.bring(State.SENT)
    after = await scene.stores.registry.now()
    moves = await scene.stores.settlements.history(settlement.id)
    assert before <= moves[-1].at <= after


async def test_a_settlement_that_is_not_due_is_not_claimed(scene):
    later = await rest(scene, seconds=3600.0)
    never = await rest(scene, seconds=math.inf)
    parked = await scene.move(await scene.new(), Event.PARKED, due_seconds=math.inf)
    owned = await scene.new()
    ended = await scene.bring(State.COMPLETED)
    before = await scene.everything(later, never, parked, owned, ended)
    assert await claim(scene, is_sweep=True) == {}
    assert await scene.everything(later, never, parked, owned, ended) == before


async def test_a_claim_fences_off_the_previous_owner(scene):
    settlement = await rest(scene)
    other = await scene.stores.registry.join(LEASE_SECONDS)
    [taken] = (await claim(scene, engine_id=other)).values()
    assert results(await scene.apply(scene.step(settlement, Event.SETTLED))) == [Result.STALE]
    step = scene.step(taken.settlement, Event.SETTLED)
    assert results(await scene.apply(step)) == [Result.STALE]
    assert results(await scene.apply(step, engine_id=other)) == [Result.APPLIED]


async def test_claiming_a_settlement_that_waits_to_be_sent_counts_a_send(scene):
    settlement = await rest(scene, State.LOCKED)
    [taken] = (await claim(scene)).values()
    assert taken.settlement.attempt.sends == settlement.attempt.sends + 1
    assert taken.settlement.attempt.undelivered == settlement.attempt.undelivered


async def test_a_claim_is_limited_and_takes_the_longest_due_first(scene):
    histories = [await rest(scene) for _ in range(5)]
    first = await claim(scene, limit=2)
    assert first.keys() == {each.id for each in histories[:2]}
    second = await claim(scene, limit=2)
    assert second.keys() == {each.id for each in histories[2:4]}
    assert (await claim(scene, limit=2)).keys() == {histories[4].id}


async def owned_by(scene, stores, lease_seconds=LEASE_SECONDS):
    """Create another engine that owns a settlement."""
    engine_id = await stores.registry.join(lease_seconds)
    [settlement] = await scene.admit(scene.payment_request(), engine_id=engine_id)
    return engine_id, settlement


async def test_settlements_of_a_live_engine_are_not_claimed(scene):
    await owned_by(scene, scene.stores.beside())
    assert await claim(scene, is_sweep=True) == {}


async def test_an_ended_session_is_detected_at_once(scene):
    engine_id, settlement = await owned_by(scene, scene.stores.beside())
    await scene.stores.end_session(engine_id)
    claimed = await claim(scene)
    assert claimed.keys() == {settlement.id}
    assert claimed[settlement.id].was_asked
    assert claimed[settlement.id].settlement.fencing_token == settlement.fencing_token + 1
    assert await claim(scene, is_sweep=True) == {}


async def test_an_expired_lease_is_detected_at_once(scene):
    _, settlement = await owned_by(scene, scene.stores.beside(), lease_seconds=-1.0)
    claimed = await claim(scene)
    assert claimed.keys() == {settlement.id}
    assert claimed[settlement.id].was_asked


async def test_the_last_commit_of_a_dead_engine_is_found_without_a_sweep(scene):
    """Its transaction may commit after the engine was found gone, or hold its row locks until then."""
    engine_id, settlement = await owned_by(scene, scene.stores.beside())
    await scene.stores.end_session(engine_id)
    assert (await claim(scene)).keys() == {settlement.id}
    [late] = await scene.admit(scene.payment_request(), engine_id=engine_id)
    assert (await claim(scene)).keys() == {late.id}


async def test_settlements_of_an_engine_that_left_are_claimed_at_once(scene):
    stores = scene.stores.beside()
    engine_id, settlement = await owned_by(scene, stores)
    await stores.registry.leave(engine_id)
    assert (await claim(scene)).keys() == {settlement.id}


async def test_a_taken_over_enquiry_does_not_count_as_a_send(scene):
    """The event is NO_ANSWER: the state machine decides whether to send again."""
    stores = scene.stores.beside()
    engine_id, settlement = await owned_by(scene, stores)
    [outcome] = await scene.apply(scene.step(settlement, Event.CLEARED), engine_id=engine_id)
    assert outcome.result is Result.APPLIED
    await scene.stores.end_session(engine_id)
    [taken] = (await claim(scene)).values()
    assert (taken.was_asked, taken.settlement.state) == (True, State.LOCKED)
    assert taken.settlement.attempt.sends == 1


async def test_an_engine_that_was_declared_gone_cannot_write_and_must_join_again(scene):
    stores = scene.stores.beside()
    engine_id, settlement = await owned_by(scene, stores, lease_seconds=-1.0)
    assert settlement.id in await claim(scene)
    assert not await stores.registry.renew(engine_id, LEASE_SECONDS)
    step = scene.step(settlement, Event.CLEARED)
    assert results(await scene.apply(step, engine_id=engine_id)) == [Result.STALE]
    assert await stores.registry.join(LEASE_SECONDS) > engine_id


async def test_a_late_heartbeat_before_detection_keeps_the_engine(scene):
    stores = scene.stores.beside()
    engine_id, _ = await owned_by(scene, stores)
    await scene.stores.end_session(engine_id)
    assert await stores.registry.renew(engine_id, LEASE_SECONDS)
    assert await claim(scene, is_sweep=True) == {}


async def test_a_renewal_extends_the_lease(scene):
    stores = scene.stores.beside()
    engine_id, _ = await owned_by(scene, stores, lease_seconds=-1.0)
    assert await stores.registry.renew(engine_id, LEASE_SECONDS)
    assert await claim(scene, is_sweep=True) == {}


async def test_settlements_of_a_gone_engine_are_found_by_a_sweep(scene):
    stores = scene.stores.beside()
    engine_id, settlement = await owned_by(scene, stores)
    await stores.registry.leave(engine_id)
    claimed = await claim(scene, is_sweep=True)
    assert claimed.keys() == {settlement.id}
    assert claimed[settlement.id].was_asked
    assert not await stores.registry.renew(engine_id, LEASE_SECONDS)


async def test_settlements_of_an_unknown_owner_are_found_by_a_sweep(scene):
    [settlement] = await scene.admit(scene.payment_request(), engine_id=10**6)
    assert await claim(scene) == {}
    assert (await claim(scene, is_sweep=True)).keys() == {settlement.id}


async def test_an_engine_reclaims_settlements_missing_from_its_memory(scene):
    stores = scene.stores
    engine_id = await stores.registry.join(LEASE_SECONDS)
    lost, kept = await scene.admit(
        scene.payment_request(), scene.payment_request(), engine_id=engine_id
    )
    others, ended = await scene.new(), await scene.bring(State.COMPLETED)
    parked = await rest(scene, seconds=math.inf)
    assert await stores.settlements.owned(engine_id) == {lost.id, kept.id}
    found = await stores.settlements.reclaim(engine_id, [lost.id, others.id, ended.id, parked.id])
    assert [(each.settlement.id, each.was_asked) for each in found] == [(lost.id, True)]
    assert found[0].settlement == await scene.load(lost)
    assert found[0].settlement.fencing_token == lost.fencing_token + 1
    stale = scene.step(lost, Event.PARKED, due_seconds=math.inf)
    assert results(await scene.apply(stale, engine_id=engine_id)) == [Result.STALE]
    assert (await scene.load(kept)).fencing_token == kept.fencing_token
    assert await stores.settlements.reclaim(engine_id, []) == []


async def test_engine_ids_are_never_reused(scene):
    stores = scene.stores.beside()
    numbers = [await stores.registry.join(LEASE_SECONDS) for _ in range(3)]
    await stores.registry.leave(numbers[-1])
    numbers.append(await stores.registry.join(LEASE_SECONDS))
    assert len(set(numbers)) == 4
    assert 0 not in numbers


async def test_two_claimers_at_once_never_take_the_same(scene):
    due = {(await rest(scene)).id for _ in range(12)}
    engine_id, _ = await owned_by(scene, scene.stores.beside())
    orphans = {
        each.id
        for each in await scene.admit(
            *(scene.payment_request() for _ in range(12)), engine_id=engine_id
        )
    }
    orphans |= {each.id for each in await scene.admit(scene.payment_request(), engine_id=10**6)}
    await scene.stores.end_session(engine_id)
    sides = [scene.stores.beside() for _ in range(4)]
    owners = [await side.registry.join(LEASE_SECONDS) for side in sides]
    taken = []
    for _ in range(2):
        taken += await asyncio.gather(
            *(
                claim(scene, stores=side, engine_id=number, limit=4, is_sweep=True)
                for side, number in zip(sides, owners, strict=True)
            )
        )
    ids = [key for claimed in taken for key in claimed]
    assert len(ids) == len(set(ids))
    while claimed := await claim(scene, is_sweep=True):
        assert not claimed.keys() & set(ids)
        ids += claimed
    assert due | orphans <= set(ids)


async def test_a_concurrent_claim_and_transition_agree_on_the_owner(scene):
    """Either the transition came first and the claim finds the new state, or the claim fenced it off."""
    histories = [await rest(scene) for _ in range(10)]
    other = await scene.stores.registry.join(LEASE_SECONDS)
    side = scene.stores.beside()
    claimed, outcomes = await asyncio.gather(
        claim(scene, engine_id=other),
        side.settlements.apply(
            [scene.step(each, Event.SETTLED) for each in histories], scene.engine_id
        ),
    )
    for history, outcome in zip(histories, outcomes, strict=True):
        is_fenced = outcome.result is Result.STALE
        assert is_fenced == (history.id in claimed)
        state = (await scene.load(history)).state
        assert state is (State.SENT if is_fenced else State.COMPLETED)
