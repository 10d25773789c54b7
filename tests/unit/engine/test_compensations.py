"""A compensation waits for two people, is refused if nothing is left, and otherwise settles as every payment does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.proposals import Finding
from settlement_engine.engine.compensations import faults_of_compensations
from settlement_engine.errors import (
    Contention,
    CorruptRecord,
    IdempotencyConflict,
    InvalidInstruction,
    Unavailable,
)
from settlement_engine.ports import Answer
from settlement_lab.memory import MemorySettlements
from tests.unit.engine.engine_world import EngineWorld, payment_request, running
from tests.unit.engine.test_case_worker import attest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from settlement_engine.domain.settlement import Instruction, Settlement

FUNDS = 1_000


async def paid(world: EngineWorld, amount: int = 100) -> Settlement:
    """Settle a payment from AAA to BBB, and give BBB's account funds to pay it back."""
    await world.open_bank("BBB", FUNDS)
    settlement = await world.settle(amount=amount)
    assert settlement.state is State.COMPLETED
    return settlement


def back(key: str, compensated: Settlement | UUID, amount: int = 100, **given: Any) -> Instruction:
    compensates = compensated if isinstance(compensated, UUID) else compensated.id
    sides = {"from_bank": "BBB", "to_bank": "AAA", "compensates": compensates}
    return payment_request(key, amount, **sides | given)


async def submitted(world: EngineWorld, wanted: Instruction) -> Settlement | Exception:
    [found] = await world.engine.submit([wanted])
    return found


async def held(world: EngineWorld, wanted: Instruction) -> Settlement:
    found = await submitted(world, wanted)
    assert not isinstance(found, Exception)
    await world.until(lambda: world.records.histories[found.id].state is State.HELD)
    return world.records.copy(found.id)


async def test_two_people_release_it_and_the_money_goes_back() -> None:
    async with running() as world:
        completed = await paid(world)
        compensation = await held(world, back("c1", completed))
        assert world.screening.asked == 2
        assert len(world.rail.asked) == 1, "nothing is sent before it is released"
        await attest(world, compensation, Finding.RELEASE)
        ended = await world.engine.wait(compensation.id, 5)
        assert ended.state is State.COMPLETED
        history = await world.store.history(compensation.id)
        assert [moved.event for moved in history] == [
            *(Event.ADMITTED, Event.PARKED, Event.APPROVED, Event.CLEARED, Event.SETTLED)
        ]
        assert history[1].detail["code"] == "COMPENSATION"
        assert (await world.nostro()).posted == 10_000 - 100
        assert (await world.nostro("BBB")).posted == FUNDS - 100
        [linked] = world.records.copy(completed.id).compensations
        assert (linked.settlement_id, linked.effect_minor) == (compensation.id, 100)


async def test_declined_it_ends_with_the_reason_and_nothing_has_moved() -> None:
    async with running() as world:
        completed = await paid(world)
        compensation = await held(world, back("c1", completed))
        await attest(world, compensation, Finding.DECLINE)
        ended = await world.engine.wait(compensation.id, 5)
        assert (ended.state, ended.refusal_code) == (State.FAILED, "DECLINED")
        assert (await world.nostro("BBB")).held == 0
        again = await submitted(world, back("c2", completed))
        assert not isinstance(again, Exception), "what it took is left again"


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"compensates": UUID(int=999)}, "compensates"),
        ({"from_bank": "CCC"}, "from_bank"),
        ({"to_bank": "CCC"}, "to_bank"),
        ({"amount": 101}, "amount"),
    ],
)
async def test_one_that_does_not_fit_is_refused_and_nothing_is_written(
    given: dict[str, Any], field: str
) -> None:
    async with running() as world:
        completed = await paid(world)
        before = world.records.head
        wanted = back(
            "c1", given.pop("compensates", completed.id), given.pop("amount", 100), **given
        )
        found = await submitted(world, wanted)
        assert isinstance(found, InvalidInstruction)
        assert [name for name, _ in found.violations] == [field]
        assert world.records.head == before


async def test_what_is_still_open_is_not_compensated() -> None:
    async with running() as world:
        await world.open_bank("BBB", FUNDS)
        world.rail.sends.append(Event.ACKNOWLEDGED)
        world.rail.enquiries.extend([Event.ACKNOWLEDGED] * 10_000)
        sent = await world.settle(wait_seconds=0.1)
        found = await submitted(world, back("c1", sent))
        assert isinstance(found, InvalidInstruction)
        assert "only completed ones" in str(found.violations)


async def test_the_same_call_again_is_a_replay_although_nothing_is_left() -> None:
    async with running() as world:
        completed = await paid(world)
        first = await held(world, back("c1", completed))
        [again] = await world.engine.submit([back("c1", completed)])
        assert not isinstance(again, Exception)
        assert (again.is_replay, again.id) == (True, first.id)
        [other] = await world.engine.submit([back("c1", completed, 99)])
        assert isinstance(other, IdempotencyConflict)
        [third] = await world.engine.submit([back("c3", completed, 1)])
        assert isinstance(third, InvalidInstruction)


async def test_a_return_that_comes_while_it_waits_leaves_nothing_to_pay_back() -> None:
    async with running() as world:
        completed = await paid(world)
        compensation = await held(world, back("c1", completed))
        returned = Answer(settlement_id=completed.id, event=Event.RETURNED, attempt=1)
        world.rail.say([returned])
        await world.until(lambda: world.records.histories[completed.id].state is State.RETURNED)
        await attest(world, compensation, Finding.RELEASE)
        ended = await world.engine.wait(compensation.id, 5)
        assert (ended.state, ended.refusal_code) == (State.FAILED, "NOT_COMPENSABLE")
        assert (await world.nostro("BBB")).held == 0


class Blind(MemorySettlements):
    """A store that shows what is compensated as it was before the last compensation was admitted."""

    async def load(self, settlement_ids: Sequence[UUID]) -> dict[UUID, Settlement]:
        found = await super().load(settlement_ids)
        for settlement in found.values():
            settlement.compensations = ()
        return found


async def test_when_another_engine_was_faster_the_store_decides() -> None:
    async with running() as world:
        completed = await paid(world)
        await held(world, back("c1", completed))
        world.engine._intake._store = Blind(world.records)
        found = await submitted(world, back("c2", completed))
        assert isinstance(found, Contention), "the reading before and after says that it fits"


async def test_two_at_once_are_admitted_as_far_as_something_is_left() -> None:
    async with running() as world:
        completed = await paid(world)
        calls = [submitted(world, back(f"c{number}", completed, 30)) for number in range(8)]
        found = await asyncio.gather(*calls)
        refused = [each for each in found if isinstance(each, Exception)]
        assert len(refused) == 5
        assert all(isinstance(each, InvalidInstruction) for each in refused)


class Unreadable:
    """A store of which one record cannot be read."""

    def __init__(self, world: EngineWorld, broken: UUID, error: Exception) -> None:
        self._world, self._broken, self._error = world, broken, error

    async def load(self, settlement_ids: Sequence[UUID]) -> dict[UUID, Settlement]:
        if self._broken in settlement_ids:
            raise self._error
        return await self._world.store.load(settlement_ids)


async def test_a_record_that_cannot_be_read_costs_no_other_caller() -> None:
    async with running() as world:
        completed = await paid(world)
        broken = UUID(int=5)
        store: Any = Unreadable(world, broken, CorruptRecord("broken"))
        wanted = [back("c1", broken), payment_request("k9"), back("c2", completed)]
        found = await faults_of_compensations(store, wanted)
        assert found == [
            ("compensates", "is a settlement whose record cannot be read"),
            None,
            None,
        ]
        assert await faults_of_compensations(store, [payment_request("k9")]) == []
        store = Unreadable(world, broken, Unavailable("gone"))
        with pytest.raises(Unavailable):
            await faults_of_compensations(store, wanted)


async def test_the_guard_of_the_store_stops_an_engine_that_forgets_to_park_it() -> None:
    async with running() as world:
        completed = await paid(world)
        world.engine._executor._lookups.read_histories = _unchanged  # type: ignore[method-assign]
        found = await submitted(world, back("c1", completed))
        assert not isinstance(found, Exception)
        await world.until(lambda: _is_set_aside(world))
        assert world.records.histories[found.id].state is State.VALIDATING
        assert len(world.rail.asked) == 1


async def _unchanged(batch: Any) -> Any:
    return batch


def _is_set_aside(world: EngineWorld) -> bool:
    return any(case.kind.value == "cannot_be_booked" for case in world.records.cases.values())
