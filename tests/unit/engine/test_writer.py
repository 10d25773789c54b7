"""The writer: a failed batch is written again, and one broken transition does not stop the others."""

from __future__ import annotations

from typing import Any
from unittest.mock import AsyncMock, Mock, call

import msgspec
import pytest

from settlement_engine.domain.lifecycle import TRANSITIONS, Event, State
from settlement_engine.engine.writer import TransitionWriter
from settlement_engine.errors import (
    Contention,
    CorruptRecord,
    InvariantViolated,
    SettlementEngineError,
    Unavailable,
)
from settlement_engine.ports import Result, TransitionCommand, TransitionResult
from tests.support.decided import NOW, settlement

ROW = TRANSITIONS[State.SENT][Event.SETTLED]


def step(number: int) -> TransitionCommand:
    from uuid import UUID

    return TransitionCommand(
        settlement=settlement(State.SENT, id=UUID(int=number)), event=Event.SETTLED, transition=ROW
    )


def outcome(result: Result = Result.APPLIED) -> TransitionResult:
    return TransitionResult(result=result, at=NOW)


def writer(store: Any) -> tuple[TransitionWriter, Mock]:
    meter, lease = Mock(), Mock(engine_id=1, pause=AsyncMock(), now=Mock(return_value=NOW))
    return TransitionWriter(store, lease, meter), meter


@pytest.mark.parametrize(
    ("error", "kind"),
    [(Unavailable("lost"), "commit_unknown"), (Contention("busy"), "contention")],
)
async def test_a_batch_that_did_not_reach_the_database_is_written_again(
    error: SettlementEngineError, kind: str
) -> None:
    store = Mock(apply=AsyncMock(side_effect=[error, [outcome()]]), owned=AsyncMock())
    written, meter = writer(store)
    assert await written.write_after(error, [step(1)]) == [outcome()]
    assert meter.invariant_warning.mock_calls == [call(kind)] * 2


async def test_our_own_first_write_is_recognised_and_another_engines_is_not() -> None:
    ours, theirs = step(1), step(2)
    after = {
        ours.settlement.id: settlement(
            State.COMPLETED, id=ours.settlement.id, seq=4, fencing_token=0
        ),
        theirs.settlement.id: settlement(State.ROLLED_BACK, id=theirs.settlement.id, seq=4),
    }
    stale = [outcome(Result.STALE), outcome(Result.STALE)]
    store = Mock(
        apply=AsyncMock(return_value=stale),
        load=AsyncMock(return_value=after),
        owned=AsyncMock(return_value=set()),
    )
    written, _ = writer(store)
    found = await written.write_after(Unavailable("lost"), [ours, theirs])
    assert [each.result for each in found if isinstance(each, TransitionResult)] == [
        Result.APPLIED,
        Result.STALE,
    ]


async def test_a_transition_that_the_database_refuses_is_isolated_by_halving() -> None:
    steps = [step(number) for number in range(5)]

    broken = InvariantViolated("broken")

    async def apply(batch: list[TransitionCommand], _owner: int) -> list[TransitionResult]:
        if steps[3] in batch:
            raise broken
        return [outcome() for _ in batch]

    written, meter = writer(Mock(apply=apply))
    found = await written.write_after(broken, steps)
    assert [isinstance(each, InvariantViolated) for each in found] == [False] * 3 + [True, False]
    meter.invariant_warning.assert_called_once_with("step_broken")


async def test_a_lost_connection_while_a_batch_is_halved_leads_to_a_look_at_what_was_written() -> (
    None
):
    """The half may have been written when its answer was lost: what is stale then may be our own."""
    ours, broken = step(1), InvariantViolated("broken")
    after = {
        ours.settlement.id: settlement(
            State.COMPLETED, id=ours.settlement.id, seq=4, fencing_token=0
        )
    }
    store = Mock(
        apply=AsyncMock(side_effect=[Unavailable("lost"), [outcome(Result.STALE)], broken]),
        load=AsyncMock(return_value=after),
        owned=AsyncMock(return_value=set()),
    )
    written, _ = writer(store)
    first, second = await written.write_after(broken, [ours, step(2)])
    assert isinstance(first, TransitionResult)
    assert first.result is Result.APPLIED
    assert second is broken


async def test_a_second_debit_that_a_guard_refuses_is_short_and_any_other_step_is_broken() -> None:
    twice = msgspec.structs.replace(
        step(1),
        event=Event.DEBITED_TWICE,
        transition=TRANSITIONS[State.COMPLETED][Event.DEBITED_TWICE],
    )
    refused = InvariantViolated("below its limit")
    written, meter = writer(Mock(apply=AsyncMock(side_effect=refused)))
    short, broken = await written.write_after(refused, [twice, step(2)])
    assert isinstance(short, TransitionResult)
    assert short.result is Result.SHORT
    assert broken is refused
    meter.invariant_warning.assert_called_once_with("step_broken")
    damaged = CorruptRecord("damaged")
    assert await written.write_after(damaged, [twice]) == [damaged]


async def test_a_cover_that_a_guard_keeps_back_was_refused_meanwhile_and_is_no_broken_step() -> (
    None
):
    due = msgspec.structs.replace(
        step(1), event=Event.COVER_DUE, transition=TRANSITIONS[State.SENT][Event.COVER_DUE]
    )
    refused = InvariantViolated("its bank has refused it")
    written, meter = writer(Mock(apply=AsyncMock(side_effect=refused)))
    [kept_back] = await written.write_after(refused, [due])
    assert isinstance(kept_back, TransitionResult)
    assert kept_back.result is Result.NOT_DUE
    meter.invariant_warning.assert_not_called()
    damaged = CorruptRecord("damaged")
    assert await written.write_after(damaged, [due]) == [damaged]
