"""The bank directory in a running engine: who is admitted, when changes are known, and what that costs."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest

from settlement_engine.domain.bank_directory import ListedBank, StandingInstruction
from settlement_engine.domain.lifecycle import State
from settlement_engine.domain.payment import (
    Delivery,
    PaymentAccount,
    PaymentDetails,
    PaymentParty,
)
from settlement_engine.domain.routing import read_rejected
from settlement_engine.engine.listed_banks import ListedBanks, listed_banks
from settlement_engine.engine.settings import EngineSettings
from settlement_engine.errors import IdempotencyConflict, InvalidInstruction, Unavailable
from settlement_engine.ports import BankPut
from settlement_lab.memory import MemoryBanks, Records
from tests.support.jumpingloop import LoopClock
from tests.unit.engine.engine_world import payment_request, running
from tests.unit.engine.test_router import into, rail

if TYPE_CHECKING:
    from settlement_engine.domain.bank_directory import BankChange

NEEDED: dict[str, Any] = {"has_banks": True, "needs_listed_banks": True}


async def put(banks: MemoryBanks, code: str, *rails: str, is_withdrawn: bool = False) -> None:
    bank = ListedBank(code=code, name=code, rails=rails, is_withdrawn=is_withdrawn)
    await banks.put_bank(BankPut(bank=bank, who="ada"))


class Counted(MemoryBanks):
    """Counts the looks, and fails while it is told to."""

    def __init__(self) -> None:
        super().__init__(Records(clock=LoopClock()))
        self.looks = 0
        self.is_lost = False

    async def bank_changes(self, after: int, limit: int) -> list[BankChange]:
        self.looks += 1
        await asyncio.sleep(0)
        if self.is_lost:
            raise Unavailable("lost")
        return await super().bank_changes(after, limit)


class Lease:
    """A clock that the test moves."""

    seconds = 0.0

    def monotonic(self) -> float:
        self.seconds += 0.000_001  # no two looks begin at once
        return self.seconds


def listed(banks: MemoryBanks, refresh_seconds: float = 5.0) -> tuple[ListedBanks, Lease]:
    lease: Any = Lease()
    settings = EngineSettings(needs_listed_banks=True, banks_refresh_seconds=refresh_seconds)
    return ListedBanks(settings, banks, lease), lease


# --- admission ------------------------------------------------------------------------------------


async def test_a_settlement_names_only_banks_of_the_directory() -> None:
    async with running(**NEEDED) as world:
        for known, field in (((), "from_bank"), (("AAA",), "to_bank")):
            for code in known:
                await put(world.banks, code)
            with pytest.raises(InvalidInstruction) as refused:
                await world.settle(f"k{field}")
            [(named, text)] = refused.value.violations
            assert named == field
            assert "bank directory" in text
        assert not world.records.histories
        await put(world.banks, "BBB")
        assert (await world.settle("k1")).state is State.COMPLETED


async def test_one_unlisted_bank_costs_no_other_instruction_of_the_batch() -> None:
    async with running(**NEEDED) as world:
        await put(world.banks, "AAA")
        await put(world.banks, "BBB")
        good, bad = payment_request("k1"), replace(payment_request("k2"), to_bank="CCC")
        first, second = await world.engine.submit([good, bad])
        assert isinstance(second, InvalidInstruction)
        assert not isinstance(first, Exception)


async def test_a_repeated_call_is_recognised_although_its_bank_was_withdrawn() -> None:
    async with running(**NEEDED, banks_refresh_seconds=0.0) as world:
        await put(world.banks, "AAA")
        await put(world.banks, "BBB")
        done = await world.settle("k1")
        await put(world.banks, "AAA", is_withdrawn=True)
        again = await world.engine.settle(payment_request("k1"), 5.0)
        assert (again.id, again.is_replay) == (done.id, True)
        with pytest.raises(IdempotencyConflict):
            await world.settle("k1", amount=7)
        with pytest.raises(InvalidInstruction):
            await world.settle("k2")


async def test_without_the_requirement_any_bank_may_be_named() -> None:
    async with running(has_banks=True) as world:
        assert (await world.settle("k1")).state is State.COMPLETED


async def test_what_cannot_be_read_is_no_refusal() -> None:
    banks = Counted()
    found, _ = listed(banks)
    banks.is_lost = True
    with pytest.raises(Unavailable):
        await found.faults([payment_request()])
    banks.is_lost = False
    await put(banks, "AAA")
    await put(banks, "BBB")
    assert await found.faults([payment_request()]) == [None]


async def test_the_call_that_cannot_be_decided_gets_the_error_and_nothing_is_written() -> None:
    async with running(**NEEDED) as world:

        async def lost(after: int, limit: int) -> list[BankChange]:
            raise Unavailable("lost")

        world.banks.bank_changes = lost  # type: ignore[method-assign]
        with pytest.raises(Unavailable):
            await world.settle("k1")
        assert not world.records.histories


# --- what is kept in memory -----------------------------------------------------------------------


async def test_known_banks_cost_no_query_until_the_facts_are_old() -> None:
    banks = Counted()
    found, lease = listed(banks)
    await put(banks, "AAA")
    await put(banks, "BBB")
    for _ in range(100):
        assert await found.faults([payment_request()] * 10) == [None] * 10
    assert banks.looks == 1
    await put(banks, "AAA", is_withdrawn=True)
    assert await found.faults([payment_request()]) == [None]  # within the bound
    lease.seconds += 5.0
    [fault] = await found.faults([payment_request()])
    assert fault is not None
    assert fault[0] == "from_bank"


async def test_looks_at_the_same_time_are_one() -> None:
    banks = Counted()
    found, _ = listed(banks)
    await asyncio.gather(*(found.keep_current() for _ in range(10)))
    assert banks.looks <= 2


async def test_another_database_is_read_from_the_beginning() -> None:
    banks = Counted()
    found, _ = listed(banks)
    await put(banks, "AAA")
    await found.keep_current()
    banks._records.bank_versions.clear()
    found.forget()
    await found.keep_current()
    assert not found.facts.stands("AAA")


# --- routes ---------------------------------------------------------------------------------------


async def test_a_rail_that_does_not_reach_the_bank_is_not_chosen_and_the_reason_is_kept() -> None:
    first, second = rail("first"), rail("second")
    async with running(rail=first, others=[second], has_banks=True) as world:
        await put(world.banks, "AAA", "second")
        done = await world.settle("k1")
        assert done.attempt is not None
        assert done.attempt.route.rail == "second"
        detail = (await into(world, done, State.LOCKED)).detail
        [rejected] = read_rejected(detail)
        assert detail["rail.first"] == (
            "BANK_NOT_REACHED: AAA is not reachable by this rail, says the bank directory"
        )
        assert rejected.rail == "first"


@pytest.mark.parametrize(
    ("fields", "taken"),
    [
        ({}, "first"),
        ({"requested_delivery": Delivery.BOOK}, "first"),
        ({"requested_delivery": Delivery.PAY_OUT}, "second"),
        ({"payment": PaymentDetails(creditor=PaymentParty(agent_bic="DEUTDEFF"))}, "first"),
        ({"payment": PaymentDetails(creditor=PaymentParty(name="Ada"))}, "second"),
    ],
)
async def test_the_rail_has_to_reach_the_bank_that_is_paid_where_one_is(fields, taken) -> None:
    """With BOOK our own money moves; a payment goes to TO, or to the creditor's own bank."""
    async with running(rail=rail("first"), others=[rail("second")], has_banks=True) as world:
        await put(world.banks, "BBB", "second")
        done = await world.settle("k1", **fields)
        assert done.attempt is not None
        assert done.attempt.route.rail == taken


async def test_what_a_bank_states_now_makes_no_rail_safe_after_a_restore() -> None:
    """The payment may be at the bank from time that was forgotten, when the directory said something else."""
    async with running(rail=rail("first"), others=[rail("second")], has_banks=True) as world:
        await put(world.banks, "AAA", "second")
        done = await world.settle("k1")
        assert world.engine.router.possible(done) == ("first", "second")


async def test_a_bank_without_stated_rails_rules_none_out() -> None:
    async with running(rail=rail("first"), others=[rail("second")], has_banks=True) as world:
        await put(world.banks, "AAA")
        done = await world.settle("k1")
        assert done.attempt is not None
        assert done.attempt.route.rail == "first"


async def test_a_bank_that_no_rail_reaches_has_no_route() -> None:
    async with running(rail=rail("first"), has_banks=True) as world:
        await put(world.banks, "AAA", "another")
        failed = await world.settle("k1")
        assert (failed.state, failed.refusal_code) == (State.FAILED, "NO_ROUTE")


# --- our accounts ---------------------------------------------------------------------------------


async def test_rails_find_our_accounts_in_what_was_read_and_ask_nothing() -> None:
    banks = Counted()
    named: Any = Mock(spec=["know_accounts"])
    lease: Any = Lease()
    made = listed_banks(EngineSettings(), banks, lease, {"named": named, "other": Mock(spec=[])})
    assert made is not None
    [our_account] = named.know_accounts.call_args.args
    ours = StandingInstruction(currency="EUR", our_account=PaymentAccount(other_id="4711"))
    entry = ListedBank(code="DEUTDEFF", name="DEUTDEFF", instructions=(ours,))
    await banks.put_bank(BankPut(bank=entry, who="ada"))
    assert our_account("DEUTDEFF", "EUR") == ""
    await made.keep_current()
    looks = banks.looks
    assert our_account("deutdeff", "EUR") == "4711"
    made.forget()
    assert our_account("DEUTDEFF", "EUR") == ""
    assert banks.looks == looks
