"""After a failover each rail resumes when its own bank has listed its payments, whatever other banks do."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from settlement_engine.domain.backoff import Backoff
from settlement_engine.domain.ledger import AccountKind
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.money import Money
from settlement_engine.ports import AccountSpec, BankPage, Funding, StaleDatabase
from settlement_lab.memory import MemoryAuditor, MemoryBarrierStore, Records
from tests.support.jumpingloop import LoopClock
from tests.unit.engine.engine_world import EngineWorld, ScriptedRail, payment_request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime
    from uuid import UUID


class ListingRail(ScriptedRail):
    """A rail of one currency, whose bank lists its payments unless it is mute."""

    def __init__(self, name: str, currency: str) -> None:
        super().__init__()
        self.name = name
        self.unasked.rail = name
        self.capabilities = replace(self.capabilities, currencies=frozenset({currency}))
        self.is_mute = False
        self.listed = 0

    async def payments_since(self, since: datetime, after: str = "") -> BankPage:
        del since, after
        self.listed += 1
        if self.is_mute:
            await asyncio.sleep(10**6)
        return BankPage(payments=[])


class Site:
    """Engines with two rails, on records that move to another server between them."""

    def __init__(self) -> None:
        self.records = Records(clock=LoopClock())
        self.first = ListingRail("first", "EUR")
        self.second = ListingRail("second", "USD")
        self.worlds: list[EngineWorld] = []

    async def engine(self, **settings: Any) -> EngineWorld:
        barrier_store = MemoryBarrierStore(self.records)
        rails: dict[str, Any] = {"rail": self.first, "others": [self.second]}
        world = EngineWorld(self.records, barrier_store=barrier_store, **rails, **settings)
        world.ids._last = 1000 * (1 + len(self.worlds))
        if not self.records.accounts:
            for currency in ("EUR", "USD"):
                await open_accounts(world, currency)
        self.worlds.append(world)
        await world.start()
        return world

    def fail_over(self) -> None:
        server = self.records.server
        self.records.server = msgspec.structs.replace(server, timeline=server.timeline + 1)


async def open_accounts(world: EngineWorld, currency: str) -> None:
    for bank in ("AAA", "BBB"):
        for kind in (AccountKind.NOSTRO, AccountKind.VOSTRO):
            spec = AccountSpec(
                kind=kind,
                bank=bank,
                currency=currency,
                account_number="",
                credit_limit=0,
                caller="test",
                idempotency_key="",
            )
            await world.accounts.open_account(spec)
    funding = Funding(
        bank="AAA",
        amount=Money(1_000, currency),
        reference="",
        account_number="",
        caller="test",
        idempotency_key=currency,
    )
    await world.accounts.fund(funding)


@asynccontextmanager
async def failed_over(**settings: Any) -> AsyncIterator[tuple[Site, EngineWorld]]:
    """A site whose engine has just moved to another server, where the second bank does not answer."""
    site = Site()
    before = await site.engine()
    await before.until(lambda: before.engine.opening == "sending open (recovery 0)")
    await before.crash()
    site.fail_over()
    site.second.is_mute = True
    world = await site.engine(**settings)
    try:
        yield site, world
    finally:
        for each in site.worlds[1:]:
            await each.crash()
        assert not (await MemoryAuditor(site.records).prove()).differences


async def submit(world: EngineWorld, key: str, currency: str) -> UUID:
    [accepted] = await world.engine.submit([payment_request(key, Money(100, currency))])
    assert not isinstance(accepted, Exception)
    return accepted.id


async def test_a_mute_bank_stops_its_own_rail_only() -> None:
    async with failed_over() as (site, world):
        stopped = await submit(world, "k1", "USD")
        going = await submit(world, "k2", "EUR")
        assert (await world.engine.wait(going, 20)).state is State.COMPLETED
        assert site.records.histories[stopped].state is State.VALIDATING, "no funds are held for it"
        assert site.second.asked == []
        assert world.engine.is_open
        await asyncio.sleep(40)  # the time-out of the mute bank
        assert world.engine.opening == (
            "sending open except for second (recovery 1): the rail second does not give its payment list: TimeoutError()"
        )
        assert (await world.engine.wait(await submit(world, "k3", "EUR"), 5)).is_ended
        site.second.is_mute = False
        assert (await world.engine.wait(stopped, 60)).state is State.COMPLETED
        assert world.engine.opening == "sending open (recovery 1)"
        assert site.records.system_epochs[-1].steps.count("opened") == 1


async def test_an_engine_that_does_not_lead_resumes_the_rails_that_were_listed() -> None:
    async with failed_over() as (site, world):
        await world.until(lambda: world.engine.opening.startswith("sending open except for second"))
        barrier_store = MemoryBarrierStore(site.records)
        barrier_store.lead = _never  # type: ignore[method-assign]
        rails: dict[str, Any] = {"rail": site.first, "others": [site.second]}
        other = EngineWorld(site.records, barrier_store=barrier_store, **rails)
        other.ids._last = 9_000
        site.worlds.append(other)
        await other.start()
        await other.until(lambda: other.engine.opening.startswith("sending open except for second"))
        assert (await other.engine.wait(await submit(other, "k1", "EUR"), 5)).is_ended


async def _never() -> bool:
    return False


async def test_a_new_sign_of_a_stale_database_pauses_all_rails_and_asks_all_banks_again() -> None:
    async with failed_over() as (site, world):
        await world.until(lambda: world.engine.opening.startswith("sending open except for second"))
        listed = site.first.listed
        world.engine.report_stale(StaleDatabase(why="stream_ahead", system_epoch_min=2, known_to=1))
        assert not world.engine.is_open
        await world.until(
            lambda: world.engine.opening.startswith("sending open except for second (recovery 2)")
        )
        assert site.first.listed > listed


async def test_a_persons_confirmation_resumes_the_rail_of_the_mute_bank() -> None:
    async with failed_over() as (site, world):
        stopped = await submit(world, "k1", "USD")
        await world.until(lambda: world.engine.opening.startswith("sending open except for second"))
        barrier_store = MemoryBarrierStore(site.records)
        _, opening = await barrier_store.look()
        assert opening is not None
        await barrier_store.note(opening.epoch_id, "confirmed", {"who": "ada", "reason": "by hand"})
        assert (await world.engine.wait(stopped, 60)).state is State.COMPLETED


async def test_what_waits_for_a_paused_rail_is_bounded_and_parked_above_the_bound() -> None:
    rest = Backoff(first_seconds=20, max_seconds=20)
    async with failed_over(gate_waiting_max=1, screening=rest) as (site, world):
        await world.until(lambda: world.engine.opening.startswith("sending open except for second"))
        keys = [await submit(world, f"k{number}", "USD") for number in range(4)]
        await world.until(lambda: sum(site.records.open[key].engine_id == 0 for key in keys) == 3)
        site.second.is_mute = False
        for key in keys:
            assert (await world.engine.wait(key, 90)).state is State.COMPLETED


async def test_a_locked_payment_waits_for_its_own_rail_and_is_enquired_about_meanwhile() -> None:
    async with failed_over(resend=Backoff(first_seconds=1, max_seconds=1)) as (site, world):
        site.second.is_mute = False
        await world.until(lambda: world.engine.opening == "sending open (recovery 1)")
        site.second.sends.append(Event.UNDELIVERED)
        key = await submit(world, "k1", "USD")
        await world.until(lambda: len(site.second.asked) == 1)
        world.engine._gate.shut()
        world.engine._gate.open(rail="first")
        await asyncio.sleep(5)
        assert len(site.second.asked) == 1
        assert world.engine._dispatcher.waiting("second") == 1
        world.engine._gate.open(rail="second")
        assert (await world.engine.wait(key, 5)).state is State.COMPLETED
