"""Claims: whatever nobody carries is taken over by one engine, once, and the last owner is fenced off."""

from __future__ import annotations

import asyncio
import math

import pytest
import pytest_asyncio

from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.ports import Result
from tests.support.lives import results

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMIT = 1000
LEASE_SECONDS = 600.0


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def _nothing_is_left(scene):
    """Take over what earlier tests have left, so that only this test's settlements can be claimed."""
    while await scene.stores.settlements.claim(scene.owner, LIMIT, is_sweep=True):
        pass


async def claim(scene, *, owner=None, limit=LIMIT, is_sweep=False, stores=None):
    stores = stores or scene.stores
    owner = scene.owner if owner is None else owner
    claimed = await stores.settlements.claim(owner, limit, is_sweep=is_sweep)
    return {each.settlement.id: each for each in claimed}


async def rest(scene, state=State.SENT, seconds=0.0):
    """Make a settlement that nobody owns."""
    settlement = await scene.bring(state)
    event = Event.UNDELIVERED if state is State.LOCKED else Event.NO_ANSWER
    return await scene.move(settlement, event, rest_seconds=seconds)


@pytest.mark.parametrize(
    ("state", "asked"),
    [
        (State.VALIDATING, 1),
        (State.LOCKED, 1),
        # Beyond the line P every question counts, whatever the rail said in between.
        (State.IN_DOUBT, 2),
        (State.SENT, 2),
        (State.RECALLING, 3),
    ],
)
async def test_what_is_due_is_claimed_and_its_epoch_raised(scene, state, asked):
    settlement = await rest(scene, state)
    claimed = await claim(scene)
    assert claimed.keys() == {settlement.id}
    [taken] = claimed.values()
    assert not taken.was_asked
    assert taken.settlement.epoch == settlement.epoch + 1
    assert taken.settlement == await scene.load(settlement)
    assert (taken.settlement.state, taken.settlement.seq) == (settlement.state, settlement.seq)
    assert taken.settlement.asked == settlement.asked == asked
    assert await claim(scene) == {}


async def test_the_registrys_clock_is_the_one_that_steps_are_dated_by(scene):
    before = await scene.stores.registry.now()
    settlement = await scene.bring(State.SENT)
    after = await scene.stores.registry.now()
    moves = await scene.stores.settlements.life(settlement.id)
    assert before <= moves[-1].at <= after


async def test_what_is_not_due_is_left(scene):
    later = await rest(scene, seconds=3600.0)
    never = await rest(scene, seconds=math.inf)
    parked = await scene.move(await scene.new(), Event.PARKED, rest_seconds=math.inf)
    owned = await scene.new()
    ended = await scene.bring(State.COMPLETED)
    before = await scene.everything(later, never, parked, owned, ended)
    assert await claim(scene, is_sweep=True) == {}
    assert await scene.everything(later, never, parked, owned, ended) == before


async def test_a_claim_fences_off_whoever_had_it_before(scene):
    settlement = await rest(scene)
    other = await scene.stores.registry.join(LEASE_SECONDS)
    [taken] = (await claim(scene, owner=other)).values()
    assert results(await scene.apply(scene.step(settlement, Event.SETTLED))) == [Result.STALE]
    step = scene.step(taken.settlement, Event.SETTLED)
    assert results(await scene.apply(step)) == [Result.STALE]
    assert results(await scene.apply(step, owner=other)) == [Result.APPLIED]


async def test_a_claim_of_what_waits_to_be_sent_is_one_sending_more(scene):
    settlement = await rest(scene, State.LOCKED)
    [taken] = (await claim(scene)).values()
    assert taken.settlement.attempt.sends == settlement.attempt.sends + 1
    assert taken.settlement.attempt.undelivered == settlement.attempt.undelivered


async def test_no_more_is_claimed_than_was_asked_for_and_the_longest_due_comes_first(scene):
    lives = [await rest(scene) for _ in range(5)]
    first = await claim(scene, limit=2)
    assert first.keys() == {each.id for each in lives[:2]}
    second = await claim(scene, limit=2)
    assert second.keys() == {each.id for each in lives[2:4]}
    assert (await claim(scene, limit=2)).keys() == {lives[4].id}


async def owned_by(scene, stores, lease_seconds=LEASE_SECONDS):
    """Make another engine with a settlement that it carries."""
    owner = await stores.registry.join(lease_seconds)
    [settlement] = await scene.admit(scene.wish(), owner=owner)
    return owner, settlement


async def test_what_a_living_engine_carries_is_left(scene):
    await owned_by(scene, scene.stores.beside())
    assert await claim(scene, is_sweep=True) == {}


async def test_an_engine_whose_session_has_ended_is_noticed_at_once(scene):
    owner, settlement = await owned_by(scene, scene.stores.beside())
    await scene.stores.end_session(owner)
    claimed = await claim(scene)
    assert claimed.keys() == {settlement.id}
    assert claimed[settlement.id].was_asked
    assert claimed[settlement.id].settlement.epoch == settlement.epoch + 1
    assert await claim(scene, is_sweep=True) == {}


async def test_an_engine_whose_lease_has_run_out_is_noticed_at_once(scene):
    _, settlement = await owned_by(scene, scene.stores.beside(), lease_seconds=-1.0)
    claimed = await claim(scene)
    assert claimed.keys() == {settlement.id}
    assert claimed[settlement.id].was_asked


async def test_what_the_last_transaction_of_the_dead_leaves_is_found_without_a_sweep(scene):
    """It may come to its end after the engine was found gone, or hold its rows until then."""
    owner, settlement = await owned_by(scene, scene.stores.beside())
    await scene.stores.end_session(owner)
    assert (await claim(scene)).keys() == {settlement.id}
    [late] = await scene.admit(scene.wish(), owner=owner)
    assert (await claim(scene)).keys() == {late.id}


async def test_what_an_engine_left_behind_is_found_at_once(scene):
    stores = scene.stores.beside()
    owner, settlement = await owned_by(scene, stores)
    await stores.registry.leave(owner)
    assert (await claim(scene)).keys() == {settlement.id}


async def test_a_taken_over_question_is_not_one_sending_more(scene):
    """The event is NO_ANSWER: it is the page that decides about sending again."""
    stores = scene.stores.beside()
    owner, settlement = await owned_by(scene, stores)
    [outcome] = await scene.apply(scene.step(settlement, Event.CLEARED), owner=owner)
    assert outcome.result is Result.APPLIED
    await scene.stores.end_session(owner)
    [taken] = (await claim(scene)).values()
    assert (taken.was_asked, taken.settlement.state) == (True, State.LOCKED)
    assert taken.settlement.attempt.sends == 1


async def test_an_engine_that_was_declared_gone_cannot_write_and_must_join_anew(scene):
    stores = scene.stores.beside()
    owner, settlement = await owned_by(scene, stores, lease_seconds=-1.0)
    assert settlement.id in await claim(scene)
    assert not await stores.registry.beat(owner, LEASE_SECONDS)
    step = scene.step(settlement, Event.CLEARED)
    assert results(await scene.apply(step, owner=owner)) == [Result.STALE]
    assert await stores.registry.join(LEASE_SECONDS) > owner


async def test_an_engine_that_beats_before_it_is_missed_lives_on(scene):
    stores = scene.stores.beside()
    owner, _ = await owned_by(scene, stores)
    await scene.stores.end_session(owner)
    assert await stores.registry.beat(owner, LEASE_SECONDS)
    assert await claim(scene, is_sweep=True) == {}


async def test_a_beat_renews_the_lease(scene):
    stores = scene.stores.beside()
    owner, _ = await owned_by(scene, stores, lease_seconds=-1.0)
    assert await stores.registry.beat(owner, LEASE_SECONDS)
    assert await claim(scene, is_sweep=True) == {}


async def test_what_an_engine_left_behind_is_found_by_a_sweep(scene):
    stores = scene.stores.beside()
    owner, settlement = await owned_by(scene, stores)
    await stores.registry.leave(owner)
    claimed = await claim(scene, is_sweep=True)
    assert claimed.keys() == {settlement.id}
    assert claimed[settlement.id].was_asked
    assert not await stores.registry.beat(owner, LEASE_SECONDS)


async def test_what_belongs_to_a_number_that_nobody_has_is_found_by_a_sweep(scene):
    [settlement] = await scene.admit(scene.wish(), owner=10**6)
    assert await claim(scene) == {}
    assert (await claim(scene, is_sweep=True)).keys() == {settlement.id}


async def test_an_engine_takes_over_anew_what_it_has_lost_sight_of(scene):
    stores = scene.stores
    owner = await stores.registry.join(LEASE_SECONDS)
    lost, kept = await scene.admit(scene.wish(), scene.wish(), owner=owner)
    others, ended = await scene.new(), await scene.bring(State.COMPLETED)
    resting = await rest(scene, seconds=math.inf)
    assert await stores.settlements.owned(owner) == {lost.id, kept.id}
    found = await stores.settlements.reclaim(owner, [lost.id, others.id, ended.id, resting.id])
    assert [(each.settlement.id, each.was_asked) for each in found] == [(lost.id, True)]
    assert found[0].settlement == await scene.load(lost)
    assert found[0].settlement.epoch == lost.epoch + 1
    stale = scene.step(lost, Event.PARKED, rest_seconds=math.inf)
    assert results(await scene.apply(stale, owner=owner)) == [Result.STALE]
    assert (await scene.load(kept)).epoch == kept.epoch
    assert await stores.settlements.reclaim(owner, []) == []


async def test_numbers_of_engines_are_never_given_twice(scene):
    stores = scene.stores.beside()
    numbers = [await stores.registry.join(LEASE_SECONDS) for _ in range(3)]
    await stores.registry.leave(numbers[-1])
    numbers.append(await stores.registry.join(LEASE_SECONDS))
    assert len(set(numbers)) == 4
    assert 0 not in numbers


async def test_two_claimers_at_once_never_take_the_same(scene):
    due = {(await rest(scene)).id for _ in range(12)}
    owner, _ = await owned_by(scene, scene.stores.beside())
    orphans = {
        each.id for each in await scene.admit(*(scene.wish() for _ in range(12)), owner=owner)
    }
    orphans |= {each.id for each in await scene.admit(scene.wish(), owner=10**6)}
    await scene.stores.end_session(owner)
    sides = [scene.stores.beside() for _ in range(4)]
    owners = [await side.registry.join(LEASE_SECONDS) for side in sides]
    taken = []
    for _ in range(2):
        taken += await asyncio.gather(
            *(
                claim(scene, stores=side, owner=number, limit=4, is_sweep=True)
                for side, number in zip(sides, owners, strict=True)
            )
        )
    ids = [key for claimed in taken for key in claimed]
    assert len(ids) == len(set(ids))
    while claimed := await claim(scene, is_sweep=True):
        assert not claimed.keys() & set(ids)
        ids += claimed
    assert due | orphans <= set(ids)


async def test_a_claim_and_a_step_at_once_agree_on_the_owner(scene):
    """Either the answer came first and the claim finds the new state, or the claim fenced it off."""
    lives = [await rest(scene) for _ in range(10)]
    other = await scene.stores.registry.join(LEASE_SECONDS)
    side = scene.stores.beside()
    claimed, outcomes = await asyncio.gather(
        claim(scene, owner=other),
        side.settlements.apply([scene.step(each, Event.SETTLED) for each in lives], scene.owner),
    )
    for life, outcome in zip(lives, outcomes, strict=True):
        is_fenced = outcome.result is Result.STALE
        assert is_fenced == (life.id in claimed)
        state = (await scene.load(life)).state
        assert state is (State.SENT if is_fenced else State.COMPLETED)
