"""Records altered in the database behind the engine: nothing is sent or booked, and a person is told."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
import pytest

from settlement_engine.domain.exceptions import CaseKind
from settlement_engine.domain.ledger import AccountKind
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.money import Money
from settlement_engine.domain.payment import Delivery
from settlement_engine.domain.proposals import Finding
from settlement_engine.errors import WrongState
from tests.unit.engine.engine_world import EngineWorld, payment_request, running
from tests.unit.engine.test_case_worker import attest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from settlement_engine.domain.settlement import Attempt, Settlement

    Alter = Callable[[Attempt], Attempt]

NEVER_SECONDS = 60.0
A_WHILE_SECONDS = 0.15


def _payload(attempt: Attempt) -> Attempt:
    other = attempt.payload.replace(b"BBB", b"EVIL").replace(b"\t100\t", b"\t9900\t")
    assert other != attempt.payload
    return msgspec.structs.replace(attempt, payload=other)


def _same_words_other_bytes(attempt: Attempt) -> Attempt:
    other = attempt.payload.replace(b"o-k1 ", b"o-k2 ")
    assert other != attempt.payload
    return msgspec.structs.replace(attempt, payload=other)


def _valid_until(attempt: Attempt) -> Attempt:
    return msgspec.structs.replace(attempt, valid_until=datetime(2100, 1, 1, tzinfo=UTC))


def _uetr(attempt: Attempt) -> Attempt:
    names = msgspec.structs.replace(attempt.references, uetr=UUID(int=4))
    return msgspec.structs.replace(attempt, references=names)


def _end_to_end(attempt: Attempt) -> Attempt:
    names = msgspec.structs.replace(attempt.references, end_to_end_id="E" + "0" * 34)
    return msgspec.structs.replace(attempt, references=names)


def _trace(attempt: Attempt) -> Attempt:
    return msgspec.structs.replace(attempt, trace="091000010000001")


def _number(attempt: Attempt) -> Attempt:
    return msgspec.structs.replace(attempt, number=2)


def _target(attempt: Attempt) -> Attempt:
    route = msgspec.structs.replace(attempt.route, target_id=attempt.route.source_id)
    return msgspec.structs.replace(attempt, route=route)


def _delivery(attempt: Attempt) -> Attempt:
    route = msgspec.structs.replace(attempt.route, delivery=Delivery.PAY_OUT)
    return msgspec.structs.replace(attempt, route=route)


def _rail(attempt: Attempt) -> Attempt:
    route = msgspec.structs.replace(attempt.route, rail="elsewhere")
    return msgspec.structs.replace(attempt, route=route)


ALTERED: dict[str, tuple[Alter, str]] = {
    "the bytes name another bank and amount": (_payload, "message"),
    "the bytes differ, and say the same": (_same_words_other_bytes, "message"),
    "it is valid for longer": (_valid_until, "route"),
    "another UETR": (_uetr, "references"),
    "another end-to-end reference": (_end_to_end, "references"),
    "a trace that it never had": (_trace, "references"),
    "another account is credited": (_target, "route"),
    "another delivery": (_delivery, "route"),
    "another attempt": (_number, "references"),
    "an unknown rail": (_rail, "route"),
}


@asynccontextmanager
async def taken_over(
    alter: Alter, enquiry: Event | None
) -> AsyncIterator[tuple[EngineWorld, Settlement]]:
    """A sent payment whose engine crashed; its record was altered; another engine takes it over."""
    async with running() as world:
        world.rail.sends.append(None)
        world.rail.answer_delay_seconds = NEVER_SECONDS
        [accepted] = await world.engine.submit([payment_request()])
        assert not isinstance(accepted, Exception)
        await world.until(lambda: world.rail.asked)
        history = world.records.histories[accepted.id]
        await world.crash()
        before = history.attempt
        assert before is not None
        history.attempt = alter(before)
        other = EngineWorld(world.records)
        other.rail.enquiries.extend([enquiry] * 10_000)
        await other.start()
        try:
            yield other, history
        finally:
            await other.crash()
            history.attempt = before if history.attempt == alter(before) else history.attempt


def cases(world: EngineWorld) -> list[tuple[CaseKind, str]]:
    return [(kind, found.detail["altered"]) for (_, kind, _), found in world.records.cases.items()]


def words(world: EngineWorld) -> list[str]:
    return [word for word, _, _ in world.rail.asked]


@pytest.mark.parametrize("what", ALTERED)
async def test_an_altered_payment_is_never_sent_again(what: str) -> None:
    alter, parts = ALTERED[what]
    async with taken_over(alter, Event.NOT_FOUND) as (world, history):
        await world.until(lambda: world.records.cases)
        await asyncio.sleep(A_WHILE_SECONDS)
        [(kind, told)] = cases(world)
        assert (kind, parts in told) == (CaseKind.ALTERED_PAYMENT, True), told
        assert "send" not in words(world)
        assert ("enquire" in words(world)) == (told == "message"), (
            "no enquiry with other references"
        )
        assert (history.state, history.is_frozen) == (State.IN_DOUBT, True)
        assert world.records.locks[history.id].outcome == "", "no hold is released"
        assert "altered_payment" in world.meter.invariant_warnings
        states = await world.history(history)
        assert states.count(State.LOCKED) == 1, "it is not even made ready to be sent"


@pytest.mark.parametrize("said", [Event.SETTLED, Event.REJECTED])
async def test_a_report_about_the_committed_payment_counts(said: Event) -> None:
    """Only the bytes were altered, and they never left: the bank reports on the original ones."""
    async with taken_over(_payload, said) as (world, history):
        ended = await world.engine.wait(history.id, 5)
        assert ended.state is (State.COMPLETED if said is Event.SETTLED else State.ROLLED_BACK)
        assert cases(world) == [(CaseKind.ALTERED_PAYMENT, "message")]


async def test_nothing_is_posted_to_altered_accounts_and_a_restored_record_continues() -> None:
    async with taken_over(_target, Event.SETTLED) as (world, history):
        await world.until(lambda: world.records.cases)
        here = world.records.histories[history.id]
        world.rail.say([_answer(history, Event.SETTLED)])
        await asyncio.sleep(A_WHILE_SECONDS)
        assert here.state is State.IN_DOUBT
        assert not [key for key in world.records.transfers if key[0] == history.id]
        assert here.attempt is not None
        vostro = await world.accounts.accounts(_vostro())
        route = msgspec.structs.replace(here.attempt.route, target_id=vostro[-1].id)
        here.attempt = msgspec.structs.replace(here.attempt, route=route)
        ended = await world.engine.wait(history.id, 5)
        assert ended.state is State.COMPLETED
        assert "send" not in words(world)


@pytest.mark.parametrize(
    ("alter", "may_be_sent"), [(lambda attempt: attempt, True), (_payload, False)]
)
async def test_fields_are_compared_for_a_move_from_before_hashes_were_stored(
    alter: Alter, may_be_sent: bool
) -> None:
    async with running() as world:
        world.rail.sends.append(None)
        world.rail.answer_delay_seconds = NEVER_SECONDS
        [accepted] = await world.engine.submit([payment_request()])
        assert not isinstance(accepted, Exception)
        await world.until(lambda: world.rail.asked)
        await world.crash()
        history = world.records.histories[accepted.id]
        [locked] = [each for each in world.records.moves if each.to_state is State.LOCKED]
        assert isinstance(locked.detail, dict)
        told = dict(locked.detail)
        assert told, "the move keeps the hash"
        locked.detail.clear()
        before = history.attempt
        assert before is not None
        history.attempt = alter(before)
        other = EngineWorld(world.records)
        other.rail.enquiries.extend([Event.NOT_FOUND] * 10_000)
        other.rail.sends.append(Event.SETTLED)
        await other.start()
        if may_be_sent:
            assert (await other.engine.wait(history.id, 5)).state is State.COMPLETED
        else:
            await other.until(lambda: other.records.cases)
            await asyncio.sleep(A_WHILE_SECONDS)
        assert ("send" in words(other)) is may_be_sent
        await other.crash()
        locked.detail.update(told)
        history.attempt = before if not may_be_sent else history.attempt


async def test_an_instruction_altered_while_it_waited_is_not_locked() -> None:
    async with running() as world:
        world.screening.answers.append(None)
        [accepted] = await world.engine.submit([payment_request()])
        assert not isinstance(accepted, Exception)
        await world.crash()
        history = world.records.histories[accepted.id]
        before = history.instruction
        history.instruction = replace(before, amount=Money(9_900, "EUR"))
        other = EngineWorld(world.records)
        await other.start()
        await other.until(lambda: other.records.cases)
        await asyncio.sleep(A_WHILE_SECONDS)
        assert cases(other) == [(CaseKind.ALTERED_PAYMENT, "instruction")]
        assert (history.state, history.is_frozen, other.rail.asked) == (State.VALIDATING, True, [])
        assert not other.records.locks
        await other.crash()
        history.instruction = before


@pytest.mark.parametrize(("alter", "is_applied"), [(_payload, True), (_uetr, False)])
async def test_an_attestation_is_applied_only_if_the_bank_could_be_asked(
    alter: Alter, is_applied: bool
) -> None:
    async with taken_over(alter, None) as (world, history):
        world.rail.answer_delay_seconds = 0.0
        await world.until(lambda: history.state is State.IN_DOUBT and world.records.cases)
        found = world.records.copy(history.id)
        await attest(world, found, Finding.NOT_SETTLED)
        if is_applied:
            assert (await world.engine.wait(history.id, 5)).state is State.ROLLED_BACK
        else:
            await asyncio.sleep(A_WHILE_SECONDS)
            assert history.state is State.IN_DOUBT
            assert world.records.locks[history.id].outcome == ""


async def test_a_return_is_not_booked_on_another_route() -> None:
    async with running() as world:
        ended = await world.settle()
        history = world.records.histories[ended.id]
        before = history.attempt
        assert before is not None
        history.attempt = _target(before)
        world.rail.say([_answer(history, Event.RETURNED)])
        await world.until(lambda: world.records.cases)
        assert cases(world) == [(CaseKind.ALTERED_PAYMENT, "route")]
        assert history.state is State.COMPLETED
        history.attempt = before
        world.rail.say([_answer(history, Event.RETURNED)])
        await world.until(lambda: history.state is State.RETURNED)


async def test_an_altered_payment_is_enquired_about_instead_of_recalled() -> None:
    async with running() as world:
        world.rail.sends.append(Event.ACKNOWLEDGED)
        world.rail.enquiries.extend([None] * 10_000)
        sent = await world.settle(wait_seconds=0.05)
        history, parked = world.records.histories[sent.id], world.records.open[sent.id]
        await world.until(lambda: history.state is State.SENT and parked.engine_id == 0)
        parked.due_at = None  # so that no engine has it in memory from before
        before = history.attempt
        assert before is not None
        # Only a settlement that no engine carries is read again, and so found to be altered.
        await world.until(lambda: world.records.open[sent.id].engine_id == 0)
        history.attempt = _payload(before)
        world.rail.asked.clear()
        world.rail.enquiries.clear()  # without an answer set, the rail reports that it has settled
        with suppress(WrongState):  # it may have settled before the call has read it
            await world.engine.cancel(sent.id)
        assert (await world.engine.wait(sent.id, 5)).state is State.COMPLETED
        assert words(world) == ["enquire"]
        assert State.RECALLING in await world.history(sent)
        history.attempt = before


def _answer(history: Settlement, event: Event) -> Any:
    from settlement_engine.ports import Answer

    return Answer(settlement_id=history.id, event=event, attempt=1)


def _vostro() -> Any:
    from settlement_engine.ports import AccountFilter

    return AccountFilter(kind=AccountKind.VOSTRO, bank="BBB")
