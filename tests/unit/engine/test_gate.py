"""Requests that can move money are not sent while sending is paused, nor after they were discarded."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from settlement_engine.domain.lifecycle import Event, State
from settlement_lab.memory import MemoryBarrierStore, Records
from tests.unit.engine.engine_world import House, RealClock, ToldRail, payment_request, running

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID


class ShuttingRail(ToldRail):
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


def sendings(rail: ToldRail) -> int:
    return [word for word, _, _ in rail.asked].count("send")


async def shut_before_the_second_sending(house: House, rail: ShuttingRail) -> UUID:
    """Bring a settlement to its second send, and pause sending before it."""
    rail.shut = house.engine._gate.shut
    [accepted] = await house.engine.submit([payment_request()])
    assert not isinstance(accepted, Exception)
    key = accepted.settlement.id
    await house.until(lambda: sendings(rail) == 1)
    await house.until(lambda: house.records.open[key].engine_id == 0)  # it is parked
    await house.until(
        lambda: house.records.open[key].engine_id != 0
    )  # it is due, and waits until sending resumes
    return key


async def test_a_due_resend_waits_while_sending_is_paused() -> None:
    rail = ShuttingRail()
    async with running(rail=rail) as house:
        key = await shut_before_the_second_sending(house, rail)
        await asyncio.sleep(0.1)
        assert (sendings(rail), house.records.histories[key].state) == (1, State.LOCKED)
        house.engine._gate.open()
        assert (await house.engine.wait(key, 5)).state is State.COMPLETED
        assert sendings(rail) == 2


async def test_a_waiting_send_is_discarded_with_the_engine_id_that_claimed_it() -> None:
    rail = ShuttingRail()
    async with running(rail=rail) as house:
        key = await shut_before_the_second_sending(house, rail)
        before = house.engine._lease.engine_id
        house.records.engines[before].is_gone = True
        await house.until(lambda: house.engine._lease.engine_id != before)
        assert (await house.engine.wait(key, 5)).state is State.COMPLETED, "by asking, not sending"
        house.engine._gate.open()
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
    house = House(records, barrier_store=barrier_store)
    await house.start()
    await house.until(lambda: house.engine.opening == "sending open (recovery 0)")
    looks, before = barrier_store.looks, house.engine._lease.engine_id
    records.engines[before].is_gone = True
    await house.until(lambda: house.engine._lease.engine_id != before)
    await house.until(lambda: barrier_store.looks > looks)
    await house.until(lambda: house.engine.opening == "sending open (recovery 0)")
    await house.crash()
