"""Requests that can move money are not sent while sending is paused, nor after they were discarded."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from settlement_engine.domain.lifecycle import Event, State
from settlement_lab.memory import MemoryBarrierStore, Records
from tests.unit.engine.engine_world import (
    EngineWorld,
    RealClock,
    ScriptedRail,
    payment_request,
    running,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID


class ShuttingRail(ScriptedRail):
    """A rail that pauses sending at its first send and does not accept that payment."""

    def __init__(self) -> None:
        super().__init__()
        self.shut: Callable[[], None] | None = None

    async def send(self, questions: Any, report: Any) -> None:
        if self.shut is not None:
            self.shut()
            self.shut = None
            self.sends.append(Event.UNDELIVERED)
        await super().send(questions, report)


def sendings(rail: ScriptedRail) -> int:
    return [word for word, _, _ in rail.asked].count("send")


async def shut_before_the_second_sending(world: EngineWorld, rail: ShuttingRail) -> UUID:
    """Bring a settlement to its second send, and pause sending before it."""
    rail.shut = world.engine._gate.shut
    [accepted] = await world.engine.submit([payment_request()])
    assert not isinstance(accepted, Exception)
    key = accepted.id
    await world.until(lambda: sendings(rail) == 1)
    await world.until(lambda: world.records.open[key].engine_id == 0)  # it is parked
    await world.until(
        lambda: world.records.open[key].engine_id != 0
    )  # it is due, and waits until sending resumes
    return key


async def test_a_due_resend_waits_while_sending_is_paused() -> None:
    rail = ShuttingRail()
    async with running(rail=rail) as world:
        key = await shut_before_the_second_sending(world, rail)
        await asyncio.sleep(0.1)
        assert (sendings(rail), world.records.histories[key].state) == (1, State.LOCKED)
        world.engine._gate.open()
        assert (await world.engine.wait(key, 5)).state is State.COMPLETED
        assert sendings(rail) == 2


async def test_a_waiting_send_is_discarded_with_the_engine_id_that_claimed_it() -> None:
    rail = ShuttingRail()
    async with running(rail=rail) as world:
        key = await shut_before_the_second_sending(world, rail)
        before = world.engine._lease.engine_id
        world.records.engines[before].is_gone = True
        await world.until(lambda: world.engine._lease.engine_id != before)
        assert (await world.engine.wait(key, 5)).state is State.COMPLETED, "by asking, not sending"
        world.engine._gate.open()
        await asyncio.sleep(0.05)
        assert sendings(rail) == 1


class CountedOpenings(MemoryBarrierStore):
    """A record that counts its readings."""

    looks = 0

    async def look(self) -> Any:
        self.looks += 1
        return await super().look()


async def test_an_engine_that_was_declared_gone_reads_the_barrier_before_it_continues() -> None:
    records = Records(clock=RealClock())
    barrier_store = CountedOpenings(records)
    world = EngineWorld(records, barrier_store=barrier_store)
    await world.start()
    await world.until(lambda: world.engine.opening == "sending open (recovery 0)")
    looks, before = barrier_store.looks, world.engine._lease.engine_id
    records.engines[before].is_gone = True
    await world.until(lambda: world.engine._lease.engine_id != before)
    await world.until(lambda: barrier_store.looks > looks)
    await world.until(lambda: world.engine.opening == "sending open (recovery 0)")
    await world.crash()
