"""Intake: what was accepted is stored, the same key gives the same settlement, and the queue has a bound."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any
from unittest.mock import AsyncMock, Mock
from uuid import UUID

import pytest

from settlement_engine.domain.lifecycle import State
from settlement_engine.domain.settlement import Settlement, new_settlement
from settlement_engine.engine.intake import Intake
from settlement_engine.engine.settings import EngineSettings
from settlement_engine.errors import (
    IdempotencyConflict,
    InvalidInstruction,
    InvariantViolated,
    Overloaded,
    Unavailable,
)
from settlement_engine.ports import Existing, Verdict
from tests.support.decided import NOW, settlement
from tests.support.histories import payment_request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Fixture:
    """An intake over a store that answers as it is told."""

    def __init__(self, **settings: Any) -> None:
        self.verdict: Verdict | None = None
        self.poison = ""
        self.lost = 0
        self.task: asyncio.Future[None] | None = None
        self.written: list[list[UUID]] = []
        self.store = Mock(
            admit=self._admit, load=AsyncMock(), find_by_keys=AsyncMock(return_value={})
        )
        self.mailbox = Mock(carried_count=0, backlog=0)
        self.mailbox.is_carried.return_value = False
        self.lease = Mock(engine_id=1, pause=AsyncMock())
        self.lease.now.return_value = NOW
        self.lease.monotonic = lambda: asyncio.get_running_loop().time()
        self.meter, ids = Mock(), Mock()
        ids.new.side_effect = [UUID(int=number) for number in range(1, 100)]
        told = EngineSettings(has_real_windows=False, **settings)
        self.intake = Intake(told, self.store, self.mailbox, self.lease, ids, self.meter)

    async def _admit(self, new: Any, engine_id: int) -> list[Settlement | Existing]:
        assert engine_id == 1
        self.written.append([settlement_id for settlement_id, _ in new])
        if any(instruction.idempotency_key == self.poison for _, instruction in new):
            raise InvariantViolated("broken")
        if self.lost:
            self.lost -= 1
            raise Unavailable("lost")
        return [
            new_settlement(settlement_id, instruction, NOW)
            if self.verdict is None
            else Existing(verdict=self.verdict, settlement_id=settlement_id, at=NOW)
            for settlement_id, instruction in new
        ]


@asynccontextmanager
async def running(**settings: Any) -> AsyncIterator[Fixture]:
    made = Fixture(**settings)
    made.task = task = asyncio.ensure_future(made.intake.run())
    try:
        yield made
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_what_is_accepted_was_written_and_is_carried() -> None:
    async with running() as made:
        first, second = await made.intake.submit([payment_request(), payment_request()])
        assert isinstance(first, Settlement)
        assert isinstance(second, Settlement)
        assert not first.is_replay
        assert first.state is State.VALIDATING
        assert first.value_date == NOW.date()
        assert made.written == [[first.id, second.id]]
        made.mailbox.begin.assert_called_once_with([first, second])


async def test_a_batch_whose_answer_was_lost_is_written_again_under_the_same_ids() -> None:
    async with running() as made:
        made.lost = 1
        [accepted] = await made.intake.submit([payment_request()])
        assert isinstance(accepted, Settlement)
        assert made.written == [[accepted.id]] * 2
        made.meter.invariant_warning.assert_called_once_with("commit_unknown")


async def test_when_the_database_stays_away_a_new_engine_id_finds_what_was_written() -> None:
    async with running(admission_timeout_seconds=-1.0) as made:
        made.lost = 1
        [refused] = await made.intake.submit([payment_request()])
        assert isinstance(refused, Unavailable)
        made.lease.renounce.assert_called_once_with()


async def test_one_broken_instruction_stops_no_other() -> None:
    async with running() as made:
        payment_requests = [payment_request() for _ in range(5)]
        made.poison = payment_requests[3].idempotency_key
        found = await made.intake.submit(payment_requests)
        assert [type(each) for each in found] == [
            *[Settlement] * 3,
            InvariantViolated,
            Settlement,
        ]


async def test_a_known_key_begins_nothing_and_tells_what_is_stored() -> None:
    async with running() as made:
        made.verdict = Verdict.REPLAYED
        known = settlement(State.COMPLETED)
        made.store.load.side_effect = lambda ids: _all(ids, known)
        [found] = await made.intake.submit([payment_request()])
        assert isinstance(found, Settlement)
        assert found is known
        made.mailbox.begin.assert_not_called()


async def test_our_own_lost_admission_is_begun_and_is_no_replay() -> None:
    async with running() as made:
        made.verdict = Verdict.REPLAYED
        ours = settlement(State.VALIDATING, id=UUID(int=1))
        made.store.load.side_effect = lambda ids: _all(ids, ours)
        [found] = await made.intake.submit([payment_request()])
        assert found is ours
        made.mailbox.begin.assert_called_once_with([ours])


async def test_a_key_with_other_content_names_the_field_that_differs() -> None:
    async with running() as made:
        made.verdict = Verdict.KEY_TAKEN
        asked = payment_request(minor=5)
        known = settlement(
            State.COMPLETED, instruction=payment_request(obligation_id=asked.obligation_id)
        )
        made.store.load.side_effect = lambda ids: _all(ids, known)
        [found] = await made.intake.submit([asked])
        assert isinstance(found, IdempotencyConflict)
        assert found.field == "amount"


async def test_another_day_is_refused_unless_it_was_accepted_before() -> None:
    async with running() as made:
        tomorrow: date = NOW.date() + timedelta(days=1)
        late, known = payment_request(value_date=tomorrow), payment_request(value_date=tomorrow)
        before = settlement(State.COMPLETED, instruction=known)
        made.store.find_by_keys.return_value = {known.key_hash: before}
        refused, repeated = await made.intake.submit([late, known])
        assert isinstance(refused, InvalidInstruction)
        assert isinstance(repeated, Settlement)
        assert (repeated, repeated.is_replay) == (before, True)
        assert made.written == []


async def test_beyond_its_bound_and_while_draining_it_takes_nothing_more() -> None:
    made = Fixture(intake_queue_max=3)
    with made.intake.reading(2), pytest.raises(Overloaded):
        await made.intake.submit([payment_request(), payment_request()])
    made.intake.close()
    with pytest.raises(Overloaded, match="draining"):
        await made.intake.submit([payment_request()])


async def test_the_callers_leaving_changes_nothing() -> None:
    async with running() as made:
        caller = asyncio.ensure_future(made.intake.submit([payment_request()]))
        await asyncio.wait([caller], timeout=0)
        caller.cancel()
        await asyncio.gather(caller, return_exceptions=True)
        assert made.task is not None
        await asyncio.wait([made.task], timeout=1.0)  # on the virtual clock
        made.mailbox.begin.assert_called_once()


def _all(ids: Any, known: Any) -> dict[UUID, Any]:
    return dict.fromkeys(ids, known)
