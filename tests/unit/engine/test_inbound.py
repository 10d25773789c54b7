"""Inbound messages: stored first, then processed in order, whatever crashes in between."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from settlement_engine.domain.exceptions import CaseKind
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.errors import NotPermitted, Unavailable
from settlement_engine.ports import (
    CaseFilter,
    InboundMessage,
    MessageSource,
    PaymentReferences,
    ReportOutcome,
    Result,
    StatusReport,
    TransitionResult,
)
from settlement_lab.memory import MemoryCases, MemoryInbound
from tests.unit.engine.engine_world import EngineWorld, running

if TYPE_CHECKING:
    from collections.abc import Sequence

    from settlement_engine.domain.settlement import Settlement

_numbers = itertools.count(1)


def message(settlement: Settlement, *events: Event, content: bytes = b"") -> InboundMessage:
    assert settlement.attempt is not None
    named = PaymentReferences(uetr=settlement.attempt.references.uetr)
    return InboundMessage(
        rail="scripted",
        source=MessageSource.CALLBACK,
        content=content or f"message {next(_numbers)}".encode(),
        reports=tuple(StatusReport(event=event, references=named) for event in events),
    )


async def sent(world: EngineWorld, key: str = "k1") -> Settlement:
    """Leave a settlement at the bank, which acknowledges it and reports nothing more."""
    world.rail.sends.append(Event.ACKNOWLEDGED)
    world.rail.enquiries.extend([Event.ACKNOWLEDGED] * 10_000)
    return await world.settle(key, wait_seconds=0.05)


def outcomes(world: EngineWorld) -> list[ReportOutcome]:
    return list(world.records.closed_reports.values())


async def worked_off(world: EngineWorld, count: int) -> None:
    await world.until(lambda: len(world.records.closed_reports) == count)


async def test_an_acknowledged_message_is_processed_by_the_next_engine() -> None:
    """SETTLED was delivered, and the engine is killed during the write: COMPLETED afterwards."""
    world = EngineWorld()
    await world.open_bank("AAA", 10_000)
    await world.open_bank("BBB", 0)
    await world.start()
    found = await sent(world)
    writing = asyncio.Event()
    apply = world.store.apply

    async def stuck(steps: Any, engine_id: int) -> Any:
        if any(step.event is Event.SETTLED for step in steps):
            writing.set()
            await asyncio.Event().wait()
        return await apply(steps, engine_id)

    world.store.apply = stuck  # type: ignore[method-assign]
    await world.engine._inbound.receive([message(found, Event.SETTLED)])
    await writing.wait()
    await world.crash()
    assert world.records.histories[found.id].state is State.SENT

    other = EngineWorld(records=world.records)
    other.rail.enquiries.extend([None] * 1_000)
    await other.start()
    try:
        assert (await other.engine.wait(found.id, 5)).state is State.COMPLETED
        await worked_off(other, 1)
    finally:
        await other.crash()


async def test_no_message_is_acknowledged_before_it_is_stored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running() as world:
        found = await sent(world)

        async def lost(_self: MemoryInbound, _messages: Sequence[InboundMessage]) -> list[bool]:
            raise Unavailable("lost")

        with monkeypatch.context() as patch:
            patch.setattr(MemoryInbound, "record", lost)
            with pytest.raises(Unavailable):
                await world.engine._inbound.receive([message(found, Event.SETTLED)])
        assert world.records.inbound_reports == {}


async def test_a_call_back_about_a_payment_of_another_rail_is_refused_and_counted() -> None:
    async with running() as world:
        found = await sent(world)
        moves = len(await world.store.history(found.id))
        given = msgspec.structs.replace(message(found, Event.SETTLED), rail="another")
        with pytest.raises(NotPermitted):
            await world.engine._inbound.receive([given])
        assert world.records.inbound_messages == {}
        assert world.records.inbound_reports == {}
        assert len(await world.store.history(found.id)) == moves
        assert world.meter.invariant_warnings.count("inbound_of_another_bank") == 1


@pytest.mark.parametrize("turn", range(13))
async def test_thirteen_callbacks_in_any_order_give_one_final_state_and_none_is_dropped(
    turn: int,
) -> None:
    events = [Event.ACKNOWLEDGED] * 6 + [Event.SETTLED] * 7
    async with running() as world:
        found = await sent(world)
        for event in events[turn:] + events[:turn]:
            await world.engine._inbound.receive([message(found, event)])
        assert (await world.engine.wait(found.id, 5)).state is State.COMPLETED
        await worked_off(world, 13)
        moves = await world.store.history(found.id)
        assert [move.to_state for move in moves].count(State.COMPLETED) == 1
        assert "late_answer_dropped" not in world.meter.invariant_warnings


async def test_thirteen_callbacks_at_once_are_all_processed() -> None:
    async with running() as world:
        found = await sent(world)
        events = [Event.ACKNOWLEDGED] * 12 + [Event.SETTLED]
        await world.engine._inbound.receive([message(found, *events)])
        assert (await world.engine.wait(found.id, 5)).state is State.COMPLETED
        await worked_off(world, 13)


async def test_reports_are_decided_in_the_order_of_receipt() -> None:
    """Settled and then returned is RETURNED; a return that was decided first would be lost."""
    async with running() as world:
        found = await sent(world)
        world.rail.enquiries.clear()
        world.rail.enquiries.extend([None] * 1_000)
        await world.engine._inbound.receive(
            [message(found, Event.SETTLED), message(found, Event.RETURNED)]
        )
        await worked_off(world, 2)
        assert world.records.histories[found.id].state is State.RETURNED
        assert outcomes(world) == [ReportOutcome.APPLIED] * 2


async def test_a_repeated_message_is_recognised() -> None:
    async with running() as world:
        found = await sent(world)
        told = message(found, Event.SETTLED, content=b"the same")
        for _ in range(3):
            await world.engine._inbound.receive([told])
        await worked_off(world, 1)
        assert world.meter.invariant_warnings.count("inbound_message_repeated") == 2
        assert len(world.records.inbound_reports) == 1


async def test_the_same_contradiction_in_two_messages_is_one_case_and_both_are_closed() -> None:
    async with running() as world:
        found = await world.settle()
        assert found.state is State.COMPLETED
        for _ in range(2):
            await world.engine._inbound.receive([message(found, Event.REJECTED)])
        await worked_off(world, 2)
        assert sorted(outcomes(world)) == [ReportOutcome.APPLIED, ReportOutcome.NO_NEWS]
        cases = await MemoryCases(world.records).cases(CaseFilter())
        assert [case.kind for case in cases] == [CaseKind.CONTRADICTION]


async def test_a_status_that_is_valid_only_as_an_answer_is_ignored() -> None:
    async with running() as world:
        found = await sent(world)
        await world.engine._inbound.receive([message(found, Event.NOT_FOUND, Event.UNDELIVERED)])
        await worked_off(world, 2)
        assert outcomes(world) == [ReportOutcome.NOT_HEARD] * 2
        assert (await world.nostro()).held == 100


async def test_an_unknown_payment_becomes_a_case() -> None:
    async with running() as world:
        named = PaymentReferences(end_to_end_id="NOBODYS")
        report = StatusReport(event=Event.SETTLED, references=named)
        unknown = InboundMessage(
            rail="scripted", source=MessageSource.CALLBACK, content=b"?", reports=(report,)
        )
        await world.engine._inbound.receive([unknown])
        await worked_off(world, 1)
        [case] = await MemoryCases(world.records).cases(CaseFilter())
        assert case.kind is CaseKind.UNKNOWN_PAYMENT
        assert case.detail["end_to_end_id"] == "NOBODYS"


async def test_a_report_about_another_engines_payment_waits_for_its_owner() -> None:
    async with running() as world:
        found = await sent(world)
        other = EngineWorld(records=world.records)
        await other.start()
        try:
            world.records.open[found.id].engine_id = other.engine._lease.engine_id
            await world.engine._inbound.receive([message(found, Event.SETTLED)])
            assert not await world.inbound.open_reports(world.engine._lease.engine_id, 10)
            assert await world.inbound.open_reports(other.engine._lease.engine_id, 10)
        finally:
            await other.crash()
            world.records.open[found.id].engine_id = 0
        assert (await world.engine.wait(found.id, 5)).state is State.COMPLETED
        await worked_off(world, 1)


async def test_a_transition_refused_as_stale_is_decided_again() -> None:
    async with running() as world:
        found = await sent(world)
        apply, turned_down = world.store.apply, asyncio.Event()

        async def stale_once(steps: Any, engine_id: int) -> Any:
            if any(step.event is Event.SETTLED for step in steps) and not turned_down.is_set():
                turned_down.set()
                now = world.records.clock.now()
                return [
                    TransitionResult(result=Result.STALE, at=now, available_minor=0) for _ in steps
                ]
            return await apply(steps, engine_id)

        world.store.apply = stale_once  # type: ignore[method-assign]
        await world.engine._inbound.receive([message(found, Event.SETTLED)])
        assert (await world.engine.wait(found.id, 5)).state is State.COMPLETED
        await worked_off(world, 1)
        assert turned_down.is_set()
        assert outcomes(world) == [ReportOutcome.APPLIED]
