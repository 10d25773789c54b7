"""What can move money does not leave while the gate is shut, nor after it was forgotten."""

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
    """A rail at whose first sending the gate is shut, and which takes nothing in at that time."""

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
    """Bring a settlement to where its bytes would leave again, had the gate not been shut."""
    rail.shut = house.engine._gate.shut
    [accepted] = await house.engine.submit([payment_request()])
    assert not isinstance(accepted, Exception)
    key = accepted.settlement.id
    await house.until(lambda: sendings(rail) == 1)
    await house.until(lambda: house.records.open[key].engine_id == 0)  # it rests
    await house.until(
        lambda: house.records.open[key].engine_id != 0
    )  # it is due, and waits at the gate
    return key


async def test_what_is_due_to_be_sent_again_waits_at_a_shut_gate() -> None:
    rail = ShuttingRail()
    async with running(rail=rail) as house:
        key = await shut_before_the_second_sending(house, rail)
        await asyncio.sleep(0.1)
        assert (sendings(rail), house.records.histories[key].state) == (1, State.LOCKED)
        house.engine._gate.open()
        assert (await house.engine.wait(key, 5)).state is State.COMPLETED
        assert sendings(rail) == 2


async def test_what_waits_at_the_gate_is_forgotten_with_the_number_that_it_was_claimed_under() -> (
    None
):
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
    """A record that counts how often it is looked at."""

    looks = 0

    async def look(self) -> Any:
        self.looks += 1
        return await super().look()


async def test_an_engine_that_was_declared_gone_looks_at_the_record_before_it_goes_on() -> None:
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
