"""The failover barrier: nothing is sent until no payment can be missing from the records unnoticed."""

from __future__ import annotations

import asyncio
import copy
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
import pytest

from settlement_engine.domain.announcement import (
    EPOCHS_AHEAD_MAX,
    POSITIONS_PER_EPOCH,
    SYSTEM_EPOCH_MAX,
    event_id,
    system_epoch_of,
)
from settlement_engine.domain.exceptions import CaseKind
from settlement_engine.domain.identifiers import references
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.errors import Unavailable
from settlement_engine.ports import Announced, BankPage, BankPayment, StaleDatabase
from settlement_lab.memory import MemoryAuditor, MemoryBarrierStore
from tests.support.jumpingloop import LoopClock
from tests.unit.engine.engine_world import EngineWorld, ScriptedRail, payment_request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from settlement_lab.memory import Records


TURNS = 10


class ListingRail(ScriptedRail):
    """A rail whose bank lists its payments, two on each page."""

    PAGE = 2

    def __init__(self) -> None:
        super().__init__()
        self.has: list[BankPayment] = []
        self.listed = 0
        self.failures = 0

    def holds(self, key: str, event: Event = Event.SETTLED) -> str:
        """Let the bank have one of our payments."""
        reference = references("test", key, 1).end_to_end_id
        at = LoopClock().now()
        self.has.append(
            BankPayment(reference=reference, event=event, received_at=at, facts={"key": key})
        )
        return reference

    async def payments_since(self, since: datetime, after: str = "") -> BankPage:
        self.listed += 1
        if self.failures:
            self.failures -= 1
            message = "the bank is closed"
            raise OSError(message)
        found = [payment for payment in self.has if payment.received_at >= since]
        start = int(after or "0")
        end = start + self.PAGE
        return BankPage(payments=found[start:end], after=str(end) if end < len(found) else "")


class Site:
    """Engines, one after the other, on records that may be restored or moved to another server."""

    def __init__(self) -> None:
        self.worlds: list[EngineWorld] = []
        self._begun = 0

    async def engine(
        self,
        records: Records | None = None,
        rail: ScriptedRail | None = None,
        stream_check: ScriptedStreamCheck | None = None,
    ) -> EngineWorld:
        """Start an engine."""
        world = EngineWorld(records, rail=rail or ListingRail(), barrier_store=None)
        barrier_store = MemoryBarrierStore(world.records)
        world = EngineWorld(
            world.records, rail=world.rail, barrier_store=barrier_store, stream_check=stream_check
        )
        self._begun += 1
        world.ids._last = 1000 * self._begun  # no two engines make the same identifier
        if not world.records.accounts:
            await world.open_bank("AAA", 10_000)
            await world.open_bank("BBB", 0)
        self.worlds.append(world)
        await world.start()
        return world

    async def crash(self, world: EngineWorld) -> None:
        """Kill an engine."""
        self.worlds.remove(world)
        await world.crash()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """A site whose books are proved at the end."""
    made = Site()
    yield made
    records = [world.records for world in made.worlds]
    for world in list(made.worlds):
        await made.crash(world)
    for each in records:
        assert not (await MemoryAuditor(each).prove()).differences


def elsewhere(records: Records, **changes: Any) -> Records:
    """Move the records to another server, as a failover does."""
    records.server = msgspec.structs.replace(records.server, **changes)
    return records


def unknown(world: EngineWorld) -> list[str]:
    """Return the references of payments that the bank has and we do not."""
    found = world.records.cases
    return [name for _, kind, name in found if kind is CaseKind.UNKNOWN_PAYMENT]


def is_open(world: EngineWorld) -> Callable[[], bool]:
    return lambda: world.engine.opening.startswith("sending open (")


def words(world: EngineWorld, key: str) -> list[str]:
    """Return what the rail was asked about a payment."""
    return [word for word, payload, _ in world.rail.asked if f"o-{key} ".encode() in payload]


async def locked_behind_the_gate(world: EngineWorld, key: str) -> UUID:
    """Let a payment be recorded while sending is paused: its send waits."""
    screen = world.screening.screen

    async def screen_and_shut(settlements: Any, report: Any) -> None:
        world.engine._gate.shut()
        await screen(settlements, report)

    world.screening.screen = screen_and_shut  # type: ignore[method-assign]
    [accepted] = await world.engine.submit([payment_request(key)])
    assert not isinstance(accepted, Exception)
    found = accepted.id
    await world.until(lambda: world.records.histories[found].state is State.LOCKED)
    assert words(world, key) == []
    return found


async def test_sending_starts_at_once_on_a_new_database(site: Site) -> None:
    world = await site.engine()
    assert (await world.settle()).state is State.COMPLETED
    assert world.engine.opening == "sending open (recovery 0)"
    assert [system_epoch.opening.why for system_epoch in world.records.system_epochs] == ["first"]


async def test_sending_resumes_on_the_same_server_without_a_new_epoch(site: Site) -> None:
    first = await site.engine()
    await first.settle()
    await site.crash(first)
    second = await site.engine(first.records)
    await second.settle("k2")
    assert second.engine.opening == "sending open (recovery 0)"
    assert len(second.records.system_epochs) == 1


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"timeline": 2}, "another_timeline"),
        ({"system_identifier": "other"}, "another_system"),
        ({"database_id": 7}, "another_database"),
    ],
)
async def test_another_server_begins_a_system_epoch(
    site: Site, change: dict[str, Any], why: str
) -> None:
    first = await site.engine()
    await first.settle()
    await site.crash(first)
    second = await site.engine(elsewhere(first.records, **change))
    assert (await second.settle("k2")).state is State.COMPLETED
    assert second.engine.opening == "sending open (recovery 1)"
    assert [system_epoch.opening.why for system_epoch in second.records.system_epochs] == [
        "first",
        why,
    ]
    assert {system_epoch_of(move.position) for move in second.records.moves} == {0, 1}


async def test_while_sending_is_paused_payments_are_admitted_but_not_screened_or_sent(
    site: Site,
) -> None:
    first = await site.engine()
    await first.settle()
    await site.crash(first)
    rail = ListingRail()
    rail.failures = 10**6
    second = await site.engine(elsewhere(first.records, timeline=2), rail)
    [accepted] = await second.engine.submit([payment_request("k2")])
    assert not isinstance(accepted, Exception)
    await second.until(lambda: rail.listed > 2)
    assert second.engine.opening.startswith(
        "sending paused (recovery 1): the rail scripted does not give"
    )
    assert (second.screening.asked, rail.asked) == (0, [])
    rail.failures = 0
    ended = await second.engine.wait(accepted.id, 5)
    assert ended.state is State.COMPLETED


async def test_payments_in_flight_are_enquired_about_and_not_sent_again(site: Site) -> None:
    first = await site.engine()
    first.rail.sends.append(None)
    first.rail.enquiries.extend([None] * 1000)
    [accepted] = await first.engine.submit([payment_request()])
    assert not isinstance(accepted, Exception)
    await first.until(lambda: words(first, "k1").count("enquire") > 1)
    await site.crash(first)
    second = await site.engine(elsewhere(first.records, timeline=2))
    assert (await second.engine.wait(accepted.id, 5)).state is State.COMPLETED
    assert words(second, "k1") == ["enquire"]


async def test_each_payment_that_only_the_bank_has_opens_one_case(site: Site) -> None:
    first = await site.engine()
    await first.settle()
    await site.crash(first)
    rail = ListingRail()
    found = {rail.holds(key) for key in ("a", "b", "c", "d", "e")}
    rail.holds("k1")
    second = await site.engine(elsewhere(first.records, timeline=2), rail)
    await second.until(is_open(second))
    assert set(unknown(second)) == found
    assert len(unknown(second)) == len(found)
    assert second.meter.invariant_warnings.count("unknown_payment") == len(found)


async def test_payments_that_the_bank_has_are_enquired_about_and_never_sent(site: Site) -> None:
    first = await site.engine()
    await first.settle()
    await site.crash(first)
    rail = ListingRail()
    rail.holds("k2")
    second = await site.engine(elsewhere(first.records, timeline=2), rail)
    assert (await second.settle("k2")).state is State.COMPLETED
    assert (await second.settle("k3")).state is State.COMPLETED
    assert words(second, "k2") == ["enquire"]
    assert words(second, "k3") == ["send"]


async def test_a_final_state_that_the_bank_contradicts_opens_a_case(site: Site) -> None:
    first = await site.engine()
    first.rail.sends.append(Event.REJECTED)
    ended = await first.settle()
    assert ended.state is State.ROLLED_BACK
    await site.crash(first)
    rail = ListingRail()
    rail.holds("k1", Event.SETTLED)
    second = await site.engine(elsewhere(first.records, timeline=2), rail)
    await second.until(lambda: second.records.cases)
    assert [key for key, _, _ in second.records.cases] == [ended.id]
    assert unknown(second) == []


async def test_without_a_list_of_the_bank_sending_stays_paused_until_a_person_confirms(
    site: Site,
) -> None:
    first = await site.engine()
    await first.settle()
    await site.crash(first)
    second = await site.engine(elsewhere(first.records, timeline=2), ScriptedRail())
    await second.until(lambda: "gives no list" in second.engine.opening)
    assert not is_open(second)()
    barrier_store = MemoryBarrierStore(second.records)
    _, opening = await barrier_store.look()
    assert opening is not None
    await barrier_store.note(opening.epoch_id, "confirmed", {"who": "ada", "reason": "by hand"})
    assert (await second.settle("k2")).state is State.COMPLETED


async def test_an_older_state_on_the_same_server_is_detected_from_the_banks_list(
    site: Site,
) -> None:
    rail = ListingRail()
    first = await site.engine(rail=rail)
    await first.settle()
    older = copy.deepcopy(first.records)
    forgotten = await first.settle("k2")
    rail.holds("k2")
    await site.crash(first)
    older.engines.clear()
    second = await site.engine(older, rail)
    ended = await second.settle("k2")
    assert (ended.state, ended.id != forgotten.id) == (State.COMPLETED, True)
    assert [system_epoch.opening.why for system_epoch in older.system_epochs] == [
        "first",
        "bank_knows_more",
    ]
    assert words(second, "k2") == ["send", "enquire"]
    await site.crash(second)
    third = await site.engine(older, rail)
    await third.until(is_open(third))
    assert len(older.system_epochs) == 2, "known payments begin no epoch"


async def test_a_bank_that_does_not_answer_does_not_pause_sending_on_the_same_server(
    site: Site,
) -> None:
    rail = ListingRail()
    rail.failures = 10**6
    world = await site.engine(rail=rail)
    assert (await world.settle()).state is State.COMPLETED
    assert "bank_list_unchecked" in world.meter.invariant_warnings


async def test_a_running_engine_detects_another_server_and_takes_a_new_engine_id(
    site: Site,
) -> None:
    world = await site.engine()
    await world.settle()
    engine_id = world.engine._lease.engine_id
    elsewhere(world.records, timeline=2)
    world.engine._barrier.look_again()  # type: ignore[union-attr]
    assert (await world.settle("k2")).state is State.COMPLETED
    assert world.engine.opening == "sending open (recovery 1)"
    await world.until(lambda: world.engine._lease.engine_id > 1_000_000 > engine_id)


async def test_a_running_engine_whose_database_was_restored_begins_a_system_epoch(
    site: Site,
) -> None:
    world = await site.engine()
    older = copy.deepcopy(world.records.system_epochs)
    elsewhere(world.records, timeline=2)
    world.engine._barrier.look_again()  # type: ignore[union-attr]
    await world.until(lambda: world.engine.opening == "sending open (recovery 1)")
    world.records.system_epochs[:] = older
    world.engine._barrier.look_again()  # type: ignore[union-attr]
    await world.until(lambda: world.engine.opening == "sending open (recovery 2)")
    assert [system_epoch.opening.why for system_epoch in world.records.system_epochs] == [
        "first",
        "older_record",
    ]


async def test_a_server_that_was_unavailable_is_checked_and_begins_no_system_epoch(
    site: Site,
) -> None:
    rail = ListingRail()
    world = await site.engine(rail=rail)
    await world.settle()
    listed = rail.listed
    elsewhere(world.records, started_at=datetime(2026, 1, 1, tzinfo=UTC))
    world.engine._barrier.look_again()  # type: ignore[union-attr]
    await world.until(is_open(world))
    assert (world.engine.opening, rail.listed) == ("sending open (recovery 0)", listed + 1)
    rail.holds("lost")
    elsewhere(world.records, started_at=datetime(2026, 1, 2, tzinfo=UTC))
    world.engine._barrier.look_again()  # type: ignore[union-attr]
    await world.until(lambda: world.engine.opening == "sending open (recovery 1)")
    assert [system_epoch.opening.why for system_epoch in world.records.system_epochs] == [
        "first",
        "bank_knows_more",
    ]


class ScriptedStreamCheck:
    """Returns the announcement that the test set."""

    def __init__(self, last: Announced | None) -> None:
        self.last = last

    async def last_announced(self) -> Announced | None:
        return self.last


async def test_a_start_with_less_than_was_announced_begins_a_system_epoch_before_any_write(
    site: Site,
) -> None:
    first = await site.engine()
    await first.settle()
    older = copy.deepcopy(first.records)
    await first.settle("k2")
    last = first.records.moves[-1]
    await site.crash(first)
    older.engines.clear()
    told = Announced(position=last.position, name=event_id(last), at=last.at)
    second = await site.engine(older, stream_check=ScriptedStreamCheck(told))
    await second.until(is_open(second))
    assert [system_epoch.opening.why for system_epoch in older.system_epochs] == [
        "first",
        "stream_ahead",
    ]
    await second.settle("k3")
    assert all(system_epoch_of(move.position) for move in older.moves if move.at > last.at)
    await site.crash(second)
    known = older.moves[-1]
    for at, count in ((known.at, 2), (known.at + timedelta(seconds=1), 3)):
        told = Announced(position=known.position, name=event_id(known), at=at)
        again = await site.engine(older, stream_check=ScriptedStreamCheck(told))
        await again.until(is_open(again))
        assert len(older.system_epochs) == count
        await site.crash(again)


async def test_a_later_system_epoch_in_the_stream_is_believed(site: Site) -> None:
    world = await site.engine()
    await world.settle()
    world.engine.report_stale(StaleDatabase(why="stream_ahead", system_epoch_min=4, known_to=1))
    await world.until(lambda: world.engine.opening == "sending open (recovery 4)")
    world.engine.report_stale(StaleDatabase(why="stream_ahead", system_epoch_min=4, known_to=1))
    assert (await world.settle("k2")).state is State.COMPLETED
    assert world.engine.opening == "sending open (recovery 4)", "a repeated report changes nothing"


@pytest.mark.parametrize("system_epoch", [EPOCHS_AHEAD_MAX + 1, 2300, SYSTEM_EPOCH_MAX])
async def test_an_impossible_announcement_begins_no_system_epoch(
    site: Site, system_epoch: int
) -> None:
    told = Announced(
        position=system_epoch * POSITIONS_PER_EPOCH + 1,
        name=f"{UUID(int=1)}.1.{system_epoch}",
        at=None,
    )
    world = await site.engine(stream_check=ScriptedStreamCheck(told))
    await world.until(is_open(world))
    world.engine.report_stale(
        StaleDatabase(why="stream_ahead", system_epoch_min=system_epoch + 1, known_to=1)
    )
    assert (await world.settle()).state is State.COMPLETED
    assert world.engine.opening == "sending open (recovery 0)"
    assert world.meter.invariant_warnings.count("stream_foreign") == 2


async def test_the_database_run_id_changes_with_every_server_and_system_epoch(
    site: Site,
) -> None:
    world = await site.engine()
    await world.until(is_open(world))
    runs = [world.engine.database_run()]
    world.engine._barrier.look_again()  # type: ignore[union-attr]
    await world.until(is_open(world))
    assert world.engine.database_run() == runs[0], "the same server, looked at again"
    elsewhere(world.records, started_at=datetime(2026, 1, 1, tzinfo=UTC))
    world.engine._barrier.look_again()  # type: ignore[union-attr]
    await world.until(lambda: world.engine.database_run() != runs[-1])
    runs.append(world.engine.database_run())
    world.engine.report_stale(StaleDatabase(why="stream_ahead", system_epoch_min=1, known_to=1))
    await world.until(lambda: world.engine.opening == "sending open (recovery 1)")
    assert world.engine.database_run() not in runs


async def test_an_interrupted_recovery_is_continued(site: Site) -> None:
    first = await site.engine()
    await first.settle()
    await site.crash(first)
    rail = ListingRail()
    rail.holds("lost")
    rail.failures = 10**6
    second = await site.engine(elsewhere(first.records, timeline=2), rail)
    await second.until(lambda: rail.listed > 1)
    await site.crash(second)
    rail.failures = 0
    third = await site.engine(first.records, rail)
    await third.until(is_open(third))
    assert third.engine.opening == "sending open (recovery 1)"
    assert len(unknown(third)) == 1


async def test_a_waiting_send_that_the_database_lost_is_not_sent(site: Site) -> None:
    world = await site.engine()
    await world.until(is_open(world))
    gate = world.engine._gate
    gate.shut()
    turn = gate.turn
    gate.forget()
    gate.open()
    assert not await gate.passes(turn)
    assert await gate.passes(gate.turn)


async def test_a_waiting_send_is_not_sent_in_an_epoch_that_does_not_know_it(
    site: Site,
) -> None:
    """The barrier learns of the epoch first; the lease renewal, which discards the send, may be stuck."""
    first = await site.engine()
    await first.until(is_open(first))
    gate = first.engine._gate
    key = await locked_behind_the_gate(first, "k1")

    async def renew(_owner: int, _lease_seconds: float) -> bool:
        what = "this connection is stuck"
        raise Unavailable(what)

    first.engine._lease._registry.renew = renew  # type: ignore[assignment,method-assign]
    second = await site.engine(elsewhere(first.records, timeline=2))
    assert (await second.engine.wait(key, 5)).state is State.COMPLETED
    assert "send" not in words(second, "k1")
    first.engine._barrier.look_again()  # type: ignore[union-attr]
    await first.until(lambda: first.engine.opening == "sending open (recovery 1)")
    assert gate.is_open
    for _ in range(TURNS):
        await asyncio.sleep(0)  # waiting sends get their turn
    assert "send" not in words(first, "k1")
