"""The route of a payment in a running engine: decided once, stored with its reasons, and never changed."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from settlement_engine.domain.bank_codes import folded_bank
from settlement_engine.domain.bank_directory import BankChange, DirectoryFacts, ListedBank
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.payment import Delivery, PaymentDetails
from settlement_engine.domain.routing import read_rejected
from settlement_engine.domain.windows import Window, always_open
from settlement_engine.engine.router import Router
from settlement_engine.engine.window_calendar import WindowCalendar
from settlement_engine.ports import BankPut
from tests.support.decided import NOW, settlement
from tests.support.histories import payment_request as payment
from tests.unit.engine.engine_world import ScriptedRail, closed_window, payment_request, running

if TYPE_CHECKING:
    from settlement_engine.domain.routing import RouteDecision
    from settlement_engine.domain.settlement import Moved, Settlement
    from tests.unit.engine.engine_world import EngineWorld


def rail(name: str, **rules: Any) -> ScriptedRail:
    made = ScriptedRail()
    made.name = name
    made.unasked.rail = name
    made.capabilities = replace(made.capabilities, **rules)
    return made


async def into(world: EngineWorld, settlement: Settlement, state: State) -> Moved:
    moves = await world.store.history(settlement.id)
    [found] = [moved for moved in moves if moved.to_state is state]
    return found


async def test_the_route_is_stored_with_the_send_intent_and_the_reason_against_each_other_rail() -> (
    None
):
    first = rail("first", amount_max_minor={"EUR": 50})
    async with running(rail=first, others=[rail("second")]) as world:
        small, large = await world.settle("k1", amount=50), await world.settle("k2", amount=51)
        assert small.attempt is not None
        assert small.attempt.route.rail == "first"
        assert read_rejected((await into(world, small, State.LOCKED)).detail) == ()
        assert large.attempt is not None
        assert large.attempt.route.rail == "second"
        detail = (await into(world, large, State.LOCKED)).detail
        assert detail["route"].startswith("second ")
        assert detail["rail.first"] == (
            "AMOUNT_ABOVE_LIMIT: it carries no more than 50 minor units of EUR"
        )


async def test_a_payment_that_no_rail_carries_is_refused_with_all_reasons() -> None:
    first = rail("first", currencies=frozenset({"USD"}))
    second = rail("second", banks=frozenset({"CCC"}))
    async with running(rail=first, others=[second]) as world:
        failed = await world.settle()
        assert (failed.state, failed.refusal_code) == (State.FAILED, "NO_ROUTE")
        assert failed.refusal_detail == {
            "currency": "EUR",
            "rail.first": "CURRENCY_NOT_CARRIED: it carries USD, not EUR",
            "rail.second": "BANK_NOT_REACHED: AAA takes no orders over it",
        }


async def test_a_route_that_changes_while_accounts_are_looked_up_is_still_the_one_decided() -> None:
    """The decision is made once: a payment prepared for one rail is not locked for another."""
    first, second = rail("first"), rail("second")
    async with running(rail=first, others=[second]) as world:
        ensure = world.accounts.ensure_controls

        async def slow(wanted: Any) -> Any:
            first.capabilities = replace(first.capabilities, currencies=frozenset({"USD"}))
            return await ensure(wanted)

        world.accounts.ensure_controls = slow  # type: ignore[method-assign]
        settled = await world.settle()
        assert settled.state is State.COMPLETED
        assert settled.attempt is not None
        assert settled.attempt.route.rail == "first"
        assert not world.meter.invariant_warnings


async def test_a_rail_that_is_listed_under_another_name_reaches_the_banks_of_that_rail() -> None:
    pairs = rail("first_cover")
    pairs.capabilities = replace(pairs.capabilities, listed_as="first")
    async with running(rail=pairs, others=[rail("second")], has_banks=True) as world:
        for code in ("AAA", "BBB"):
            bank = ListedBank(code=code, name=code, rails=("first",))
            await world.banks.put_bank(BankPut(bank=bank, who="ada"))
        settled = await world.settle()
        assert settled.attempt is not None
        assert settled.attempt.route.rail == "first_cover"


async def test_the_rail_is_never_switched_after_the_send_intent() -> None:
    first, second = rail("first"), rail("second")
    async with running(rail=first, others=[second]) as world:
        first.sends.extend([Event.UNDELIVERED, None])
        first.enquiries.extend([None, Event.NOT_FOUND])
        [accepted] = await world.engine.submit([payment_request()])
        assert not isinstance(accepted, Exception)
        await world.until(lambda: first.asked)
        first.capabilities = replace(first.capabilities, currencies=frozenset({"USD"}))
        ended = await world.engine.wait(accepted.id, 5)
        assert ended.state is State.COMPLETED
        assert [word for word, _, _ in first.asked].count("send") >= 2
        assert second.asked == []


@pytest.mark.parametrize("is_queueing", [True, False], ids=["queue", "refuse"])
async def test_the_windows_of_the_rail_count_beside_those_of_the_currency(
    *, is_queueing: bool
) -> None:
    shut = {"scripted": [replace(closed_window(), currency="")]}
    async with running(
        has_real_windows=True, is_queueing=is_queueing, windows_by_rail=shut
    ) as world:
        world.records.windows[:] = [always_open("EUR")]
        world.engine._window_calendar.replace([always_open("EUR")])
        settlement = await world.settle(wait_seconds=0.1)
        if is_queueing:
            assert settlement.state is State.QUEUED
            moved = await into(world, settlement, State.QUEUED)
            assert moved.detail["rail"] == "scripted"
            assert "next_opening" in moved.detail
        else:
            assert settlement.refusal_code == "SETTLEMENT_WINDOW_CLOSED"


async def test_a_closed_rail_is_replaced_by_an_open_one() -> None:
    shut = {"first": [closed_window()]}
    async with running(
        rail=rail("first"), others=[rail("second")], has_real_windows=True, windows_by_rail=shut
    ) as world:
        world.records.windows[:] = [always_open("EUR")]
        world.engine._window_calendar.replace([always_open("EUR")])
        settled = await world.settle()
        assert settled.attempt is not None
        assert settled.attempt.route.rail == "second"
        detail = (await into(world, settled, State.LOCKED)).detail
        assert detail["rail.first"].startswith("WINDOW_CLOSED: next opening: ")


async def test_a_window_of_the_rail_for_another_currency_fails_closed() -> None:
    dollars = Window(
        currency="USD",
        zone="UTC",
        opens=time(0),
        closes=time(0),
        weekdays=frozenset(range(1, 8)),
    )
    async with running(has_real_windows=True, windows_by_rail={"scripted": [dollars]}) as world:
        world.records.windows[:] = [always_open("EUR")]
        world.engine._window_calendar.replace([always_open("EUR")])
        assert (await world.settle()).refusal_code == "SETTLEMENT_WINDOW_CLOSED"


async def test_a_payment_with_two_possible_rails_waits_until_both_have_resumed() -> None:
    """The rail that is still paused may have the payment from before the failover."""
    first, second = rail("first"), rail("second")
    async with running(rail=first, others=[second]) as world:
        world.engine._gate.shut()
        world.engine._gate.open(rail="second")
        [either] = await world.engine.submit([payment_request("k1")])
        assert not isinstance(either, Exception)
        await asyncio.sleep(1)
        assert world.records.histories[either.id].state is State.VALIDATING
        assert first.asked == second.asked == []
        first.capabilities = replace(first.capabilities, amount_max_minor={"EUR": 50})
        only_second = await world.settle("k2", amount=100)
        assert only_second.state is State.COMPLETED
        world.engine._gate.open(rail="first")
        assert (await world.engine.wait(either.id, 5)).state is State.COMPLETED


def hours() -> Window:
    return replace(always_open("EUR"), opens=time(8), closes=time(18))


class Looked(Router):
    """A router that counts how often a route is decided."""

    decided = 0

    def _choose(self, *arguments: Any) -> RouteDecision:
        self.decided += 1
        return super()._choose(*arguments)


class Kept:
    """A router over two rails, with windows and a directory that change."""

    def __init__(self) -> None:
        self.first = rail("first", amount_min_minor={"EUR": 10}, amount_max_minor={"EUR": 50})
        self.second = rail("second")
        self.calendar = WindowCalendar(has_real_windows=True)
        self.calendar.replace([always_open("EUR")])
        self.listed = SimpleNamespace(facts=DirectoryFacts())
        self.takes: set[str] = {"first", "second"}
        self.router = Looked(
            {"first": self.first, "second": self.second},
            self.calendar,
            is_sending=lambda name, _: name in self.takes,
            listed=cast("Any", self.listed),
        )

    def route(self, minor: int = 20, now: datetime = NOW, **fields: Any) -> str:
        asked = settlement(State.VALIDATING, instruction=payment(minor=minor, **fields))
        [found] = self.router.routes([asked], now)
        [alone] = [self.router.route(asked, now)]
        self.router.decided -= 1
        assert found == alone, "what is kept is what would be decided now"
        return found.rail


def test_the_route_of_plain_payments_of_a_bank_is_decided_once() -> None:
    made = Kept()
    assert {made.route(minor) for minor in (10, 20, 50)} == {"first"}
    assert made.router.decided == 1


@pytest.mark.parametrize("minor", [9, 51])
def test_an_amount_beyond_the_rails_limits_is_decided_by_itself(minor: int) -> None:
    made = Kept()
    made.route()
    assert made.route(minor) == "second"
    assert made.route() == "first"


@pytest.mark.parametrize(
    ("fields", "chosen"),
    [
        ({"rail": "second"}, "second"),
        ({"from_bank": "OTHER"}, "first"),
        ({"requested_delivery": Delivery.PAY_OUT}, "first"),
        ({"payment": PaymentDetails(remittance="rent")}, "first"),
    ],
    ids=["rail", "bank", "delivery", "payment"],
)
def test_a_payment_that_says_more_or_comes_from_another_bank_is_decided(
    fields: dict[str, Any], chosen: str
) -> None:
    made = Kept()
    made.route()
    assert made.route(**fields) == chosen
    assert made.router.decided == 2


def test_a_bank_that_is_not_sent_to_any_more_loses_its_kept_route() -> None:
    made = Kept()
    made.route()
    made.takes.remove("first")
    assert made.route() == "second"


def test_rules_that_change_are_read_again() -> None:
    made = Kept()
    made.route()
    made.first.capabilities = replace(made.first.capabilities, currencies=frozenset({"USD"}))
    assert made.route() == "second"


def test_windows_that_change_or_close_are_read_again() -> None:
    made = Kept()
    made.route()
    made.calendar.replace([hours()])
    evening, noon = NOW.replace(hour=20), NOW.replace(hour=12)
    [changed] = made.router.routes([settlement(State.VALIDATING)], evening)
    assert changed.waits_for is not None, "the kept opening is that of other windows"
    assert made.route(now=noon) == "first"
    [ended] = made.router.routes([settlement(State.VALIDATING)], evening)
    assert ended.waits_for is not None, "the kept opening has ended"


def test_rails_that_the_directory_states_since_count() -> None:
    made = Kept()
    made.route()
    bank = folded_bank(payment().from_bank)
    change = BankChange(position=1, code=bank, rails=frozenset({"second"}), is_withdrawn=False)
    made.listed.facts.take(change)
    assert made.route() == "second"
    made.listed.facts = DirectoryFacts()  # after a restore: the directory is another one
    assert made.route() == "first"


class Lacking(ScriptedRail):
    """A rail that misses something for every payment."""

    def fault_of(self, instruction: Any) -> str:
        """Name the field that is missing."""
        return f"our_account: none is known at {instruction.from_bank}"


async def test_a_payment_that_says_nothing_is_refused_too_where_our_account_is_missing() -> None:
    async with running(rail=Lacking()) as world:
        failed = await world.settle()
        assert (failed.state, failed.refusal_code) == (State.FAILED, "NO_ROUTE")
        assert failed.refusal_detail["field"] == "our_account"
