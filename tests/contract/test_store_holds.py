"""Holds: granted in the order of the batch as far as the funds suffice, and never beyond."""

from __future__ import annotations

import asyncio
import random

import pytest

from settlement_engine.domain.ledger import AccountKind
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.windows import WindowOpening
from settlement_engine.errors import InvariantViolated
from settlement_engine.ports import Result
from tests.support.histories import OPEN, SHUT, Scene, funding, results, spec

pytestmark = pytest.mark.asyncio(loop_scope="module")

APPLIED, STALE, SHORT = Result.APPLIED, Result.STALE, Result.SHORT
INACTIVE = Result.INACTIVE


async def lock(scene, *amounts):
    """Try to lock settlements of these amounts in one batch."""
    histories = await scene.admit(*(scene.payment_request(minor=minor) for minor in amounts))
    return histories, await scene.apply(*(scene.step(each, Event.CLEARED) for each in histories))


async def test_an_amount_beyond_the_funds_does_not_block_smaller_ones(stores):
    scene = await Scene.open(stores, funds_minor=50)
    histories, outcomes = await lock(scene, 100, 30)
    assert results(outcomes) == [SHORT, APPLIED]
    assert outcomes[0].available_minor == 50
    assert (await scene.load(histories[0])).state is State.VALIDATING
    assert (await scene.source()).available == 20


async def test_available_funds_exclude_earlier_holds_of_the_batch(stores):
    scene = await Scene.open(stores, funds_minor=100)
    _, outcomes = await lock(scene, 60, 50, 40, 1)
    assert results(outcomes) == [APPLIED, SHORT, APPLIED, SHORT]
    assert [outcome.available_minor for outcome in outcomes] == [0, 40, 0, 0]
    assert (await scene.source()).available == 0


async def test_funds_can_be_used_to_the_last_minor_unit(stores):
    scene = await Scene.open(stores, funds_minor=100)
    _, outcomes = await lock(scene, 101)
    assert results(outcomes) == [SHORT]
    _, outcomes = await lock(scene, 100)
    assert results(outcomes) == [APPLIED]


async def test_a_stale_transition_holds_no_funds(stores):
    scene = await Scene.open(stores, funds_minor=100)
    taken = await scene.new(minor=100)
    stale = scene.step(taken, Event.CLEARED)
    await scene.move(taken, Event.PARKED)
    other = await scene.new(minor=100)
    outcomes = await scene.apply(stale, scene.step(other, Event.CLEARED))
    assert results(outcomes) == [STALE, APPLIED]


async def test_the_credit_limit_counts_for_the_hold_but_not_for_what_is_available(stores):
    scene = await Scene.open(stores, funds_minor=0)
    bank = scene.target_bank
    account = await stores.accounts.open_account(spec(AccountKind.NOSTRO, bank, credit_limit=70))
    await stores.accounts.fund(funding(30, bank=bank))
    [clearing] = await stores.accounts.ensure_controls([(AccountKind.CLEARING, bank, "EUR")])
    target = await stores.accounts.open_account(spec(AccountKind.VOSTRO, scene.source_bank))
    route = {"source_id": account.id, "clearing_id": clearing.id, "target_id": target.id}
    histories = await scene.admit(
        *(
            scene.payment_request(from_bank=bank, to_bank=scene.source_bank, minor=each)
            for each in (60, 50, 40)
        )
    )
    outcomes = await scene.apply(
        *(
            scene.step(each, Event.CLEARED, attempt=scene.attempt(each, **route))
            for each in histories
        )
    )
    assert results(outcomes) == [APPLIED, SHORT, APPLIED]
    assert outcomes[1].available_minor == -30
    assert (await stores.accounts.account(account.id)).available == -70


async def test_accounts_of_a_batch_do_not_share_their_funds(stores):
    scenes = [await Scene.open(stores, funds_minor=100) for _ in range(3)]
    histories = [
        (await each.admit(each.payment_request(minor=80)))[0] for each in scenes for _ in range(2)
    ]
    owners = [each for each in scenes for _ in range(2)]
    steps = [
        each.step(history, Event.CLEARED) for each, history in zip(owners, histories, strict=True)
    ]
    outcomes = await scenes[0].apply(*steps)
    assert results(outcomes) == [APPLIED, SHORT] * 3
    assert [outcome.available_minor for outcome in outcomes] == [0, 20] * 3


@pytest.mark.parametrize("kind", [AccountKind.NOSTRO, AccountKind.VOSTRO])
async def test_nothing_is_held_for_a_deactivated_account(scene, kind):
    settlement = await scene.new()
    account = await scene.account(kind)
    await scene.stores.accounts.set_active(account.id, is_active=False)
    assert results(await scene.apply(scene.step(settlement, Event.CLEARED))) == [INACTIVE]
    assert (await scene.source()).held == 0
    await scene.stores.accounts.set_active(account.id, is_active=True)
    assert results(await scene.apply(scene.step(settlement, Event.CLEARED))) == [APPLIED]


@pytest.mark.parametrize("side", ["source_id", "target_id"])
async def test_nothing_is_held_on_an_account_that_does_not_exist(scene, side):
    settlement = await scene.new()
    attempt = scene.attempt(settlement, **{side: 10**9})
    step = scene.step(settlement, Event.CLEARED, attempt=attempt)
    assert results(await scene.apply(step)) == [INACTIVE]
    assert (await scene.load(settlement)).state is State.VALIDATING


@pytest.mark.parametrize("side", ["agent_id", "clearing_id"])
async def test_nothing_is_posted_to_an_account_that_does_not_exist(scene, side):
    settlement = await scene.bring(State.LOCKED)
    before = await scene.everything(settlement)
    step = scene.step(settlement, Event.SETTLED)
    field = {"agent_id": 0, "clearing_id": 1}[side]
    wrong = [*step.transfers]
    wrong[field] = type(wrong[field])(
        group_id=settlement.id,
        leg=wrong[field].leg,
        debit_id=10**9,
        credit_id=wrong[field].credit_id,
        amount_minor=100,
        currency="EUR",
    )
    with pytest.raises(InvariantViolated):
        await scene.apply(scene.step(settlement, Event.SETTLED, transfers=tuple(wrong)))
    assert await scene.everything(settlement) == before


async def test_no_funds_are_held_outside_the_window(scene):
    settlement = await scene.new()
    [outcome] = await scene.apply(scene.step(settlement, Event.CLEARED, window_opening=SHUT))
    assert outcome.result is Result.SHUT
    [outcome] = await scene.apply(
        scene.step(
            settlement, Event.CLEARED, window_opening=WindowOpening(OPEN.closes_at, OPEN.closes_at)
        )
    )
    assert outcome.result is Result.SHUT
    assert (await scene.source()).held == 0
    assert (await scene.load(settlement)).state is State.VALIDATING


async def test_inactive_has_precedence_over_closed_and_closed_over_short(stores):
    scene = await Scene.open(stores, funds_minor=1)
    settlement = await scene.new(minor=100)
    account = await scene.account(AccountKind.VOSTRO)
    await stores.accounts.set_active(account.id, is_active=False)
    step = scene.step(settlement, Event.CLEARED, window_opening=SHUT)
    assert results(await scene.apply(step)) == [INACTIVE]
    await stores.accounts.set_active(account.id, is_active=True)
    assert results(await scene.apply(step)) == [Result.SHUT]
    assert results(await scene.apply(scene.step(settlement, Event.CLEARED))) == [SHORT]


async def test_twenty_concurrent_locks_never_hold_more_than_the_funds(stores):
    scene = await Scene.open(stores, funds_minor=100)
    histories = await scene.admit(*(scene.payment_request(minor=100) for _ in range(20)))
    sides = [stores.beside() for _ in range(4)]
    watching = asyncio.create_task(watch(scene))
    answers = await asyncio.gather(
        *(
            sides[number % 4].settlements.apply([scene.step(each, Event.CLEARED)], scene.engine_id)
            for number, each in enumerate(histories)
        )
    )
    watching.cancel()
    outcomes = [outcome for [outcome] in answers]
    assert sorted(results(outcomes)) == sorted([APPLIED, *[SHORT] * 19])
    shorts = [each.available_minor for each in outcomes if each.result is SHORT]
    assert shorts == [0] * 19
    assert (await scene.source()).available == 0


async def watch(scene):
    while True:
        assert (await scene.source()).available >= 0
        await asyncio.sleep(0)


async def test_random_batches_of_many_processes_never_hold_more_than_the_funds(stores):
    chance = random.Random(20260731)
    scene = await Scene.open(stores, funds_minor=1000)
    sides = [stores.beside() for _ in range(3)]

    async def work(side):
        for _ in range(4):
            batch = [scene.admission(minor=chance.randint(1, 200)) for _ in range(6)]
            await side.settlements.admit(batch, scene.engine_id)
            found = await side.settlements.load([each.settlement_id for each in batch])
            steps = [scene.step(history, Event.CLEARED) for history in found.values()]
            outcomes = await side.settlements.apply(steps, scene.engine_id)
            locked = [
                step.settlement.id
                for step, outcome in zip(steps, outcomes, strict=True)
                if outcome.result is APPLIED
            ]
            assert (await scene.source()).available >= 0
            ends = [
                scene.step(history, chance.choice([Event.SETTLED, Event.REJECTED]))
                for history in (await side.settlements.load(locked)).values()
            ]
            assert set(results(await side.settlements.apply(ends, scene.engine_id))) <= {APPLIED}

    await asyncio.gather(*(work(side) for side in sides))
    source = await scene.source()
    assert source.held == 0
    assert 0 <= source.posted < 1000
