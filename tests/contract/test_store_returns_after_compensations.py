"""A return and a compensation give the same money back: of two, the second one sees what the first has left."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import pytest

from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.ports import Result
from tests.contract.test_store_compensations import dossier_of, faults, release, way_back
from tests.support.histories import Scene, back_of, results

if TYPE_CHECKING:
    from settlement_engine.domain.settlement import Settlement
    from settlement_engine.ports import TransitionCommand

pytestmark = pytest.mark.asyncio(loop_scope="module")

HELD_IN = [State.LOCKED, State.SENT, State.IN_DOUBT, State.RECALLING, State.COMPLETED]
COURSE = {
    State.LOCKED: (),
    State.SENT: (Event.ACKNOWLEDGED,),
    State.IN_DOUBT: (Event.NO_ANSWER,),
    State.RECALLING: (Event.ACKNOWLEDGED, Event.OVERDUE),
    State.COMPLETED: (Event.SETTLED,),
    State.ROLLED_BACK: (Event.REJECTED,),
    State.RETURNED: (Event.SETTLED, Event.RETURNED),
}


async def released(scene: Scene, back: Scene, completed: Settlement, minor: int) -> Settlement:
    """Return a compensation that two people have released, before its funds are held."""
    compensation = await back.new(minor=minor, compensates=completed.id)
    return await release(back, compensation, "ada", "grace")


def return_of(scene: Scene, settlement: Settlement, minor: int) -> TransitionCommand:
    left = settlement.instruction.amount.minor - minor
    event = Event.PARTLY_RETURNED if left else Event.RETURNED
    return scene.step(settlement, event, back=back_of(settlement, event, amount_minor=minor))


@pytest.mark.parametrize("state", HELD_IN)
async def test_a_return_of_what_a_compensation_has_taken_is_not_booked(scene, state):
    completed = await scene.bring(State.COMPLETED, minor=100)
    back = await way_back(scene)
    compensation = await released(scene, back, completed, 60)
    for event in (Event.CLEARED, *COURSE[state]):
        compensation = await back.move(compensation, event)
    before = await scene.everything(completed, compensation)
    assert results(await scene.apply(return_of(scene, completed, 41))) == [Result.LESS_LEFT]
    assert await scene.everything(completed, compensation) == before
    assert results(await scene.apply(return_of(scene, completed, 40))) == [Result.APPLIED]


@pytest.mark.parametrize("state", [State.ROLLED_BACK, State.RETURNED])
async def test_what_a_compensation_did_not_pay_back_may_be_returned(scene, state):
    completed = await scene.bring(State.COMPLETED, minor=100)
    back = await way_back(scene)
    compensation = await released(scene, back, completed, 60)
    for event in (Event.CLEARED, *COURSE[state]):
        compensation = await back.move(compensation, event)
    assert results(await scene.apply(return_of(scene, completed, 100))) == [Result.APPLIED]


async def test_a_return_comes_before_a_compensation_that_holds_nothing_yet(scene):
    completed = await scene.bring(State.COMPLETED, minor=100)
    back = await way_back(scene)
    compensation = await released(scene, back, completed, 60)
    assert results(await scene.apply(return_of(scene, completed, 41))) == [Result.APPLIED]
    step = back.step(compensation, Event.CLEARED)
    assert results(await back.apply(step)) == [Result.LESS_LEFT]
    assert (await back.source()).held == 0
    assert (await scene.load(compensation)).state is State.VALIDATING


@pytest.mark.parametrize("is_return_first", [True, False])
async def test_in_one_batch_the_first_of_the_two_has_the_rest(scene, is_return_first):
    completed = await scene.bring(State.COMPLETED, minor=100)
    back = await way_back(scene)
    compensation = await released(scene, back, completed, 60)
    steps = [return_of(scene, completed, 60), back.step(compensation, Event.CLEARED)]
    steps = steps if is_return_first else steps[::-1]
    assert results(await scene.apply(*steps)) == [Result.APPLIED, Result.LESS_LEFT]


async def test_one_that_is_written_a_second_time_is_stale_and_not_late(scene):
    completed = await scene.bring(State.COMPLETED, minor=100)
    back = await way_back(scene)
    compensation = await released(scene, back, completed, 60)
    steps = [return_of(scene, completed, 40), back.step(compensation, Event.CLEARED)]
    assert results(await scene.apply(*steps)) == [Result.APPLIED, Result.APPLIED]
    assert results(await scene.apply(*steps)) == [Result.STALE, Result.STALE]


async def test_others_in_the_batch_are_written(scene):
    completed = await scene.bring(State.COMPLETED, minor=100)
    other = await scene.bring(State.COMPLETED, minor=100)
    back = await way_back(scene)
    compensation = await released(scene, back, completed, 100)
    compensation = await back.move(compensation, Event.CLEARED)
    new = await scene.new()
    steps = [
        scene.step(new, Event.CLEARED),
        return_of(scene, completed, 1),
        return_of(scene, other, 1),
        scene.step(completed, Event.CONTRADICTED),
    ]
    assert results(await scene.apply(*steps[:3])) == [
        Result.APPLIED,
        Result.LESS_LEFT,
        Result.APPLIED,
    ]
    assert results(await scene.apply(steps[3])) == [Result.APPLIED]
    assert (await scene.load(completed)).is_frozen


async def test_at_once_one_of_the_two_is_written_and_the_books_are_right(scene):
    for _ in range(8):
        completed = await scene.bring(State.COMPLETED, minor=100)
        back = await way_back(scene)
        compensation = await released(scene, back, completed, 60)
        beside = Scene(scene.stores.beside(), scene.engine_id, back._accounts, 0)
        calls = [
            scene.apply(return_of(scene, completed, 60)),
            beside.apply(back.step(compensation, Event.CLEARED)),
        ]
        found = [result for call in await asyncio.gather(*calls) for result in results(call)]
        assert sorted(found) == sorted([Result.APPLIED, Result.LESS_LEFT])


async def test_evidence_in_which_more_came_back_than_was_settled_is_noticed(scene):
    completed = await scene.bring(State.COMPLETED, minor=100)
    back = await way_back(scene)
    compensation = await released(scene, back, completed, 60)
    compensation = await back.move(compensation, Event.CLEARED)
    await scene.apply(return_of(scene, completed, 40))
    dossier = await dossier_of(scene, completed)
    assert faults(dossier) == []
    [made] = dossier.compensations.made
    larger = msgspec.structs.replace(made, amount_minor=61)
    links = msgspec.structs.replace(dossier.compensations, made=(larger,))
    found = faults(msgspec.structs.replace(dossier, compensations=links))
    assert "61 was compensated and 40 returned: more than was settled" in found
