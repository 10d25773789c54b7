"""What the failover barrier must wait for and check: each test fails without its safeguard."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from settlement_engine.domain.announcement import POSITIONS_PER_EPOCH, marker_id
from settlement_engine.domain.backoff import Backoff
from settlement_engine.domain.exceptions import CaseKind
from settlement_engine.domain.identifiers import references
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.engine import bank_lists
from settlement_engine.ports import Announced, BankPage, BankPayment
from settlement_lab.memory import MemoryBarrierStore, Records
from tests.support.jumpingloop import LoopClock
from tests.unit.engine.engine_world import EngineWorld, RealClock, ScriptedRail, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest

PATIENT: dict[str, Any] = {"lease_seconds": 600.0, "heartbeat_seconds": 60.0}
"""So long that no engine is declared gone and none renews its lease during a test."""


class ListingRail(ScriptedRail):
    """A rail whose bank lists its payments, two on each page."""

    PAGE = 2

    def __init__(self) -> None:
        super().__init__()
        self.has: list[BankPayment] = []
        self.listed = 0
        self.is_stuck = False

    def holds(self, reference: str, at: datetime) -> None:
        """Let the bank have a payment that it received at that time of its own clock."""
        self.has.append(
            BankPayment(reference=reference, event=Event.SETTLED, received_at=at, facts={})
        )

    async def payments_since(self, since: datetime, after: str = "") -> BankPage:
        self.listed += 1
        if self.is_stuck:
            await asyncio.sleep(3_600)
        found = [payment for payment in self.has if payment.received_at >= since]
        start = int(after or "0")
        end = start + self.PAGE
        return BankPage(payments=found[start:end], after=str(end) if end < len(found) else "")


class ScriptedBarrierStore(MemoryBarrierStore):
    """Barrier records that report other engines as the test set, with a hook in between."""

    def __init__(self, records: Records) -> None:
        super().__init__(records)
        self.leads = True
        self.others = 0
        self.left = 0
        self.asked_of_others = 0
        self.moves_while_looking = False

    async def lead(self) -> bool:
        return self.leads

    async def others_alive(self) -> int:
        self.asked_of_others += 1
        return self.others

    async def unclaimed(self) -> int:
        return self.left

    async def unknown(self, limit: int) -> list[str]:
        if self.moves_while_looking:
            self.moves_while_looking = False
            elsewhere(self._records)
            self._watch.tell_refusal()
        return await super().unknown(limit)


class ScriptedStreamCheck:
    """Returns the announcement that the test set."""

    def __init__(self, last: Announced) -> None:
        self.last = last

    async def last_announced(self) -> Announced:
        return self.last


def elsewhere(records: Records, **changes: Any) -> None:
    """Move the records to another server, as a failover does."""
    changes = changes or {"timeline": records.server.timeline + 1}
    records.server = msgspec.structs.replace(records.server, **changes)


@asynccontextmanager
async def site(
    records: Records | None = None, **settings: Any
) -> AsyncIterator[tuple[EngineWorld, ScriptedBarrierStore, ListingRail]]:
    """An engine with barrier records and a bank that lists its payments; the test starts it."""
    records = records or Records(clock=RealClock())
    barrier_store, rail = ScriptedBarrierStore(records), ListingRail()
    world = EngineWorld(records, barrier_store=barrier_store, rail=rail, **settings)
    world.ids._last = 1000 * (1 + len(records.engines))
    if not records.accounts:
        await world.open_bank("AAA", 10_000)
        await world.open_bank("BBB", 0)
    try:
        yield world, barrier_store, rail
    finally:
        if world._task is not None:
            await world.crash()


async def settled_once() -> Records:
    """Return the records of an engine that settled one payment and crashed."""
    async with site() as (world, _, _):
        await world.start()
        assert (await world.settle("k0")).state is State.COMPLETED
    return world.records


def whys(world: EngineWorld) -> list[str]:
    return [system_epoch.opening.why for system_epoch in world.records.system_epochs]


async def opened(world: EngineWorld, system_epoch: int) -> None:
    await world.until(lambda: world.engine.opening == f"sending open (recovery {system_epoch})")


def look_again(world: EngineWorld) -> None:
    world.engine._barrier.look_again()  # type: ignore[union-attr]


async def test_a_server_with_a_shorter_log_than_seen_before_begins_a_system_epoch() -> None:
    async with site() as (world, _, _):
        await world.start()
        elsewhere(world.records, flushed=1_000)
        look_again(world)
        await opened(world, 0)
        elsewhere(world.records, flushed=999)
        look_again(world)
        await opened(world, 1)
        assert whys(world) == ["first", "older_state"]


async def test_an_epochs_marker_without_moves_begins_no_other_system_epoch() -> None:
    records = await settled_once()
    elsewhere(records)
    async with site(records) as (world, _, _):
        await world.start()
        await opened(world, 1)
    marker = Announced(position=POSITIONS_PER_EPOCH, name=marker_id(1), at=LoopClock().now())
    again = EngineWorld(
        records,
        barrier_store=ScriptedBarrierStore(records),
        stream_check=ScriptedStreamCheck(marker),
    )
    await again.start()
    await again.until(lambda: again.engine.opening.startswith("sending open ("))
    assert again.engine.opening == "sending open (recovery 1)"
    await again.crash()


async def test_a_new_system_epoch_follows_the_last_one_that_was_announced() -> None:
    records = await settled_once()
    ahead = Announced(position=3 * POSITIONS_PER_EPOCH + 7, name="forgotten", at=LoopClock().now())
    world = EngineWorld(
        records,
        barrier_store=ScriptedBarrierStore(records),
        stream_check=ScriptedStreamCheck(ahead),
    )
    await world.start()
    await world.until(lambda: len(records.system_epochs) == 2)
    assert (whys(world), records.system_epochs[-1].opening.system_epoch) == (
        ["first", "stream_ahead"],
        4,
    )
    await world.crash()


async def test_a_refused_connection_makes_the_engine_check_the_server_again() -> None:
    async with site(**PATIENT) as (world, barrier_store, _):
        await world.start()
        await opened(world, 0)
        elsewhere(world.records)
        barrier_store._watch.tell_refusal()
        await opened(world, 1)


async def test_a_reason_to_pause_during_the_resumption_is_not_lost() -> None:
    records = await settled_once()
    async with site(records) as (world, barrier_store, _):
        barrier_store.moves_while_looking = True
        await world.start()
        await opened(world, 1)
        assert whys(world) == ["first", "another_timeline"]


async def test_an_engine_takes_its_new_engine_id_as_soon_as_a_system_epoch_begins() -> None:
    async with site(**PATIENT) as (world, _, _):
        await world.start()
        await world.settle("k1")
        elsewhere(world.records)
        look_again(world)
        await world.until(lambda: world.engine._lease.engine_id > 1_000_000)
        assert (await world.settle("k2")).state is State.COMPLETED


async def test_the_banks_are_asked_only_when_no_earlier_engine_may_still_send() -> None:
    records = await settled_once()
    elsewhere(records)
    async with site(records, **PATIENT) as (world, barrier_store, rail):
        barrier_store.others = 1
        await world.start()
        await world.until(lambda: barrier_store.asked_of_others > 2)
        assert (rail.listed, world.engine.opening.split(" (")[0]) == (0, "sending paused")
        barrier_store.others = 0
        await opened(world, 1)


async def test_earlier_engines_are_waited_for_until_their_leases_expire() -> None:
    records = await settled_once()
    elsewhere(records)
    async with site(records) as (world, barrier_store, _):
        barrier_store.others = 1
        await world.start()
        await opened(world, 1)
        assert barrier_store.asked_of_others > 1


async def test_one_engine_leads_the_recovery_and_the_others_wait() -> None:
    records = await settled_once()
    elsewhere(records)
    async with site(records) as (world, barrier_store, rail):
        barrier_store.leads = False
        await world.start()
        await world.until(lambda: len(records.system_epochs) == 2)
        await asyncio.sleep(0.05)
        assert (rail.listed, barrier_store.asked_of_others) == (0, 0)
        assert world.engine.opening.startswith("sending paused (recovery 1)")
        assert await barrier_store.note(records.system_epochs[-1].opening.epoch_id, "opened", {})
        await opened(world, 1)


async def test_payments_left_in_flight_are_claimed_before_anything_new_is_sent() -> None:
    records = await settled_once()
    elsewhere(records)
    async with site(records) as (world, barrier_store, rail):
        barrier_store.left = 1
        await world.start()
        await world.until(lambda: rail.listed)
        await asyncio.sleep(0.1)
        assert world.engine.opening.startswith("sending paused (recovery 1)")
        barrier_store.left = 0
        await opened(world, 1)


async def test_a_bank_whose_clock_is_behind_hides_no_payment_from_a_recovery() -> None:
    records = await settled_once()
    elsewhere(records)
    async with site(records) as (world, _, rail):
        rail.holds("Eforgotten", records.moves[-1].at - timedelta(minutes=9))
        await world.start()
        await opened(world, 1)
        assert [kind for _, kind, _ in records.cases] == [CaseKind.UNKNOWN_PAYMENT]


async def test_a_bank_whose_clock_is_behind_hides_no_payment_from_a_start() -> None:
    records = await settled_once()
    async with site(records) as (world, _, rail):
        rail.holds("Eforgotten", records.moves[-1].at - timedelta(seconds=50))
        await world.start()
        await opened(world, 1)
        assert whys(world) == ["first", "bank_knows_more"]


async def test_a_start_reads_every_page_of_the_banks_list() -> None:
    records = await settled_once()
    known = references("test", "k0", 1).end_to_end_id
    async with site(records) as (world, _, rail):
        at = records.moves[-1].at
        for reference in [known] * 4 + ["Eforgotten"]:
            rail.holds(reference, at)
        await world.start()
        await opened(world, 1)
        assert whys(world) == ["first", "bank_knows_more"]


async def test_the_loss_is_dated_from_the_first_unknown_payment() -> None:
    records = await settled_once()
    written_at = records.moves[-1].at
    async with site(records) as (world, _, rail):
        rail.holds("Elater", written_at - timedelta(seconds=10))
        rail.holds("Efirst", written_at - timedelta(seconds=40))
        await world.start()
        await opened(world, 1)
        assert records.system_epochs[-1].opening.since == written_at - timedelta(seconds=40)


async def test_the_wait_for_a_banks_list_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bank_lists, "LIST_SECONDS", 0.05)
    monkeypatch.setattr(bank_lists, "CHECK_SECONDS", 0.05)
    records = await settled_once()
    async with site(records) as (world, _, rail):
        rail.is_stuck = True
        await world.start()
        await opened(
            world, 0
        )  # on the same server the list is only an extra check, and is not waited for
        assert (
            world.meter.invariant_warnings.count("bank_list_unchecked")
            == bank_lists.CHECK_TRIES_MAX
        )
        elsewhere(records)
        look_again(world)
        await world.until(lambda: world.meter.invariant_warnings.count("opening_without_list") > 1)
        assert world.engine.opening.startswith(
            "sending paused (recovery 1): the rail scripted does not give"
        )
        rail.is_stuck = False
        await opened(world, 1)


async def test_a_payment_is_not_recalled_while_sending_is_paused() -> None:
    async with running(enquiry=Backoff(first_seconds=60, max_seconds=60)) as world:
        world.rail.sends.append(Event.ACKNOWLEDGED)
        world.rail.enquiries.extend([None] * 10)
        found = await world.settle(wait_seconds=0.05)
        await world.until(lambda: world.records.open[found.id].engine_id == 0)
        world.engine._gate.shut()
        world.rail.recalls.append(Event.RECALLED)
        await world.engine.cancel(found.id)
        await asyncio.sleep(0.1)
        assert [word for word, _, _ in world.rail.asked if word == "recall"] == []
        assert world.records.histories[found.id].state is State.RECALLING
        world.engine._gate.open()
        assert (await world.engine.wait(found.id, 5)).state is State.ROLLED_BACK
