"""Recalls after completion: written once, changed in order, due again later, and never rewritten."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg
import pytest

from settlement_engine.domain.exceptions import CaseKind
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.recalls import RecallState
from settlement_engine.errors import NotFound, WrongState
from settlement_engine.evidence import bundle
from settlement_engine.evidence.verification import verify
from settlement_engine.ports import CaseFilter, RecallCommand

if TYPE_CHECKING:
    from settlement_engine.domain.recalls import RecallRequest
    from tests.support.stores import Stores

pytestmark = pytest.mark.asyncio(loop_scope="module")

FIRST, MOST = 3_600.0, 86_400.0


def command(
    recall: RecallRequest, event: Event, state: RecallState, **detail: str
) -> RecallCommand:
    return RecallCommand(
        settlement_id=recall.settlement_id,
        after_seq=recall.seq,
        event=event,
        state=state,
        detail=detail,
    )


async def requested(scene: Any) -> RecallRequest:
    settlement = await scene.bring(State.COMPLETED)
    stores: Stores = scene.stores
    return await stores.recalls.request_recall(settlement.id, "ada", 'paid "twice" ü')


async def due(scene: Any) -> set[UUID]:
    found = await scene.stores.recalls.take_due_recalls(1_000, FIRST, MOST)
    return {each.settlement_id for each in found}


async def test_a_request_is_written_down_once(scene):
    settlement = await scene.bring(State.COMPLETED)
    recalls = scene.stores.recalls
    assert await recalls.recall(settlement.id) is None
    first = await recalls.request_recall(settlement.id, "ada", "why")
    assert (first.state, first.seq, first.is_replay) == (RecallState.REQUESTED, 1, False)
    assert first.steps[0].event is None
    assert first.steps[0].detail == {"requested_by": "ada", "reason": "why"}
    again = await recalls.request_recall(settlement.id, "grace", "another")
    assert (again.steps, again.is_replay) == (first.steps, True)
    assert await recalls.recall(settlement.id) == first
    assert await recalls.recalls([settlement.id, UUID(int=7)]) == {settlement.id: first}


async def test_of_concurrent_requests_one_is_written(scene):
    settlement = await scene.bring(State.COMPLETED)
    other = scene.stores.beside().recalls
    made = await asyncio.gather(
        *(
            store.request_recall(settlement.id, f"who{number}", "why")
            for number, store in enumerate((scene.stores.recalls, other) * 4)
        )
    )
    assert sum(not each.is_replay for each in made) == 1
    assert all(each.steps == made[0].steps for each in made)


@pytest.mark.parametrize(
    "state", [State.SENT, State.IN_DOUBT, State.ROLLED_BACK, State.FAILED, State.RETURNED]
)
async def test_only_a_completed_settlement_is_recalled(scene, state):
    settlement = await scene.bring(state)
    with pytest.raises(WrongState):
        await scene.stores.recalls.request_recall(settlement.id, "ada", "why")
    assert await scene.stores.recalls.recall(settlement.id) is None
    with pytest.raises(NotFound):
        await scene.stores.recalls.request_recall(UUID(int=9), "ada", "why")


async def test_steps_are_appended_and_a_stale_one_is_not(scene):
    recall, recalls = await requested(scene), scene.stores.recalls
    promise = command(recall, Event.RECALLED, RecallState.PROMISED, code="CNCL", text="soon")
    assert await recalls.step_recall(promise)
    assert not await recalls.step_recall(promise)
    found = await recalls.recall(recall.settlement_id)
    assert [step.state for step in found.steps] == [RecallState.REQUESTED, RecallState.PROMISED]
    assert found.steps[0] == recall.steps[0]
    last = found.steps[-1]
    assert (last.seq, last.event, last.detail) == (
        2,
        Event.RECALLED,
        {"code": "CNCL", "text": "soon"},
    )
    assert last.at >= recall.requested_at


async def test_an_open_recall_is_due_at_once_and_then_after_a_pause(scene):
    recall, recalls = await requested(scene), scene.stores.recalls
    assert recall.settlement_id in await due(scene)
    assert recall.settlement_id not in await due(scene)
    step = command(recall, Event.ACKNOWLEDGED, RecallState.IN_PROCESS)
    assert await recalls.step_recall(step)
    assert recall.settlement_id in await due(scene)  # news: it is looked at again


@pytest.mark.parametrize(
    ("event", "state"),
    [(Event.RECALL_REFUSED, RecallState.REFUSED), (Event.RETURNED, RecallState.RETURNED)],
)
async def test_a_recall_that_has_ended_is_never_due_until_it_changes(scene, event, state):
    recall, recalls = await requested(scene), scene.stores.recalls
    assert await recalls.step_recall(command(recall, event, state))
    assert recall.settlement_id not in await due(scene)
    ended = await recalls.recall(recall.settlement_id)
    assert await recalls.step_recall(command(ended, Event.RECALLED, RecallState.PROMISED))
    assert recall.settlement_id in await due(scene)


@pytest.mark.parametrize(
    ("event", "state"),
    [
        (Event.RECALLED, RecallState.PROMISED),
        (Event.RECALL_REFUSED, RecallState.REFUSED),
        (Event.RETURNED, RecallState.RETURNED),
    ],
)
async def test_an_overdue_recall_is_a_case_until_the_bank_answers(scene, event, state):
    recall, recalls = await requested(scene), scene.stores.recalls
    other = await requested(scene)
    for each in (recall, other):
        late = command(each, Event.OVERDUE, RecallState.OVERDUE)
        assert await recalls.step_recall(late)
        assert not await recalls.step_recall(late)
    [case] = await cases_of(scene, recall)
    assert (case.kind, case.closed_at) == (CaseKind.RECALL_OVERDUE, None)
    assert case.detail["rail"] == "mock"
    assert datetime.fromisoformat(case.detail["since"]) == recall.requested_at
    overdue = await recalls.recall(recall.settlement_id)
    assert await recalls.step_recall(command(overdue, event, state))
    [closed] = await cases_of(scene, recall)
    assert (closed.closed_by, closed.closed_at is None) == ("engine", False)
    assert state.value in closed.close_reason
    [untouched] = await cases_of(scene, other)
    assert untouched.closed_at is None


async def test_an_ended_recall_is_due_again_when_money_comes_back(scene):
    recall, recalls = await requested(scene), scene.stores.recalls
    refused = command(recall, Event.RECALL_REFUSED, RecallState.REFUSED)
    assert await recalls.step_recall(refused)
    await recalls.expect_returns([recall.settlement_id, UUID(int=7)])
    assert recall.settlement_id in await due(scene)
    assert recall.settlement_id not in await due(scene)
    await recalls.expect_returns([recall.settlement_id])
    await recalls.stop_expecting(recall.settlement_id)
    assert recall.settlement_id not in await due(scene)


async def test_open_recalls_are_counted_by_state(scene):
    before = (await scene.stores.gauges.gauges(0)).open_recalls
    recall, recalls = await requested(scene), scene.stores.recalls
    counted = (await scene.stores.gauges.gauges(0)).open_recalls
    assert counted["requested"] == before.get("requested", 0) + 1
    assert await recalls.step_recall(command(recall, Event.RECALLED, RecallState.PROMISED))
    counted = (await scene.stores.gauges.gauges(0)).open_recalls
    assert counted["promised"] == before.get("promised", 0) + 1
    assert counted.get("requested", 0) == before.get("requested", 0)


async def test_a_dossier_has_the_recall(scene):
    recall, recalls = await requested(scene), scene.stores.recalls
    assert await recalls.step_recall(command(recall, Event.OVERDUE, RecallState.OVERDUE))
    dossier = await scene.stores.archive.dossier(recall.settlement_id)
    assert [step.state for step in dossier.recall] == [RecallState.REQUESTED, RecallState.OVERDUE]
    assert dossier.recall[0].detail == {"requested_by": "ada", "reason": 'paid "twice" ü'}
    checks = verify(bundle.write(dossier, "1.0"), "1.0").checks
    titles = [check.title for check in checks if check.faults]
    assert not [title for title in titles if "recall" in title]


async def test_a_person_may_close_the_case_of_an_overdue_recall(scene):
    recall, recalls = await requested(scene), scene.stores.recalls
    assert await recalls.step_recall(command(recall, Event.OVERDUE, RecallState.OVERDUE))
    [case] = await cases_of(scene, recall)
    await scene.stores.cases.close_case(case.id, "grace", "the bank has answered by telephone")
    overdue = await recalls.recall(recall.settlement_id)
    assert await recalls.step_recall(command(overdue, Event.RECALLED, RecallState.PROMISED))
    [closed] = await cases_of(scene, recall)
    assert closed.closed_by == "grace"


async def cases_of(scene: Any, recall: RecallRequest) -> Any:
    wanted = CaseFilter(settlement_id=recall.settlement_id, has_closed=True, limit=10)
    return await scene.stores.cases.cases(wanted)


async def test_the_database_keeps_every_step(scene):
    if scene.stores.name != "postgres":
        pytest.skip("the guards are the database's")
    recall = await requested(scene)
    connection = await asyncpg.connect(scene.stores.url)
    insert = (
        "INSERT INTO recall_steps (settlement_id, seq, event, state, detail)"
        " VALUES ($1, $2, $3, $4, '{}')"
    )
    try:
        for statement in (
            "UPDATE recall_steps SET state = 'returned' WHERE settlement_id = $1",
            "DELETE FROM recall_steps WHERE settlement_id = $1",
        ):
            with pytest.raises(asyncpg.PostgresError, match="append"):
                await connection.execute(statement, recall.settlement_id)
        for seq, event, state in (
            (1, "requested", "requested"),
            (2, "requested", "requested"),
            (2, "settled", "returned"),
            (2, "returned", "lost"),
        ):
            with pytest.raises(asyncpg.IntegrityConstraintViolationError):
                await connection.execute(insert, recall.settlement_id, seq, event, state)
    finally:
        await connection.close()
