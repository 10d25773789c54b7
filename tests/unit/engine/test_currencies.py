"""An engine with open payments in a currency that has left ISO 4217, or whose exponent has changed."""

from __future__ import annotations

import pytest

from settlement_engine.domain import money
from settlement_engine.domain.backoff import Backoff
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.money import Money, parse_amount
from settlement_engine.errors import IdempotencyConflict, InvalidInstruction
from settlement_engine.ports import Answer
from tests.support import iso4217
from tests.support.iso4217 import LEAVING
from tests.unit.engine.engine_world import EngineWorld, payment_request, running

LATER = Backoff(first_seconds=60, max_seconds=60)


@pytest.fixture(autouse=True)
def _on_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    iso4217.list_has_it(monkeypatch)


def levs(key: str = "k1", minor: int = 1250):
    return payment_request(key, amount=Money(minor, LEAVING), obligation_id=f"o-{key}")


async def open_banks(world: EngineWorld) -> None:
    await world.open_bank("AAA", 100_000, LEAVING)
    await world.open_bank("BBB", 0, LEAVING)


async def test_open_payments_continue_and_new_ones_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running(enquiry=LATER) as world:
        await open_banks(world)
        world.rail.sends.append(Event.ACKNOWLEDGED)
        [accepted] = await world.engine.submit([levs()])
        assert not isinstance(accepted, Exception)
        key = accepted.id
        await world.until(lambda: world.records.histories[key].state is State.SENT)
        await world.crash()
        iso4217.list_loses_it(monkeypatch)
        second = EngineWorld(world.records, rail=world.rail)
        await second.start()
        second.rail.say([Answer(settlement_id=key, event=Event.SETTLED, attempt=1)])
        ended = await second.engine.wait(key, 5)
        assert (ended.state, str(ended.instruction.amount)) == (State.COMPLETED, "12.50")
        again = await second.engine.settle(levs(), 5)
        assert (again.is_replay, again.id) == (True, key)
        with pytest.raises(InvalidInstruction) as refused:
            await second.engine.settle(levs("k2"), 5)
        assert refused.value.violations == [("currency", "is not an active currency of ISO 4217")]
        with pytest.raises(IdempotencyConflict) as conflict:
            await second.engine.settle(levs(minor=7), 5)
        assert conflict.value.field == "amount"
        assert len(world.records.histories) == 1
        await second.crash()


@pytest.mark.parametrize("state", [Event.CLEARED, None])
async def test_unsent_payments_continue_too(
    state: Event | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running() as world:
        await open_banks(world)
        world.screening.answers.extend([state] if state else [None] * 3)
        world.rail.sends.extend([Event.UNDELIVERED] * 2)
        [accepted] = await world.engine.submit([levs()])
        iso4217.list_loses_it(monkeypatch)
        assert not isinstance(accepted, Exception)
        ended = await world.engine.wait(accepted.id, 5)
        assert ended.state is State.COMPLETED


async def test_a_refusal_for_want_of_funds_tells_the_amounts_as_booked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running() as world:
        await open_banks(world)
        world.screening.answers.append(None)
        [accepted] = await world.engine.submit([levs(minor=100_001)])
        iso4217.list_changes_it(monkeypatch, 0)
        assert not isinstance(accepted, Exception)
        ended = await world.engine.wait(accepted.id, 5)
        assert ended.refusal_code == "INSUFFICIENT_FUNDS"
        assert ended.refusal_detail["required"] == "1000.01"
        assert ended.refusal_detail["available"] == "1000.00"


@pytest.mark.parametrize(
    ("digits", "text", "fault"),
    [
        (0, "12.00", ""),
        (0, "12.50", "has more decimals than BGN has today, which are 0"),
        (1, "12.50", ""),
        (1, "12.55", "has more decimals than BGN has today, which are 1"),
        (3, "12.55", ""),
    ],
)
async def test_a_new_instruction_is_checked_with_todays_exponent_and_booked_with_the_stored_one(
    digits: int, text: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running() as world:
        await open_banks(world)
        iso4217.list_changes_it(monkeypatch, digits)
        amount = parse_amount(text, LEAVING)
        assert amount.minor == int(text.replace(".", ""))
        [answer] = await world.engine.submit([payment_request(amount=amount)])
        if fault:
            assert isinstance(answer, InvalidInstruction)
            assert answer.violations == [("amount", fault)]
        else:
            assert not isinstance(answer, Exception)
            ended = await world.engine.wait(answer.id, 5)
            assert (ended.state, str(ended.instruction.amount)) == (State.COMPLETED, text)


async def test_a_replay_is_recognised_although_its_amount_has_too_many_decimals_today(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running() as world:
        await open_banks(world)
        first = await world.engine.settle(levs(), 5)
        iso4217.list_changes_it(monkeypatch, 0)
        again = await world.engine.settle(payment_request(amount=parse_amount("12.50", LEAVING)), 5)
        assert (again.is_replay, again.id) == (True, first.id)


async def test_a_currency_that_the_database_does_not_know_is_not_admitted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The program's list is newer than the database's: its migrations have to run first."""
    async with running() as world:
        monkeypatch.setattr(money, "_exponents", lambda: {"EUR": 2, LEAVING: 2, "NEW": 2})
        with pytest.raises(InvalidInstruction, match="settlement-engine migrate"):
            await world.engine.settle(payment_request(amount=Money(5, "NEW")), 5)
