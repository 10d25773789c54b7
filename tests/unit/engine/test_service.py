"""The engine as a whole, for each kind of answer."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from settlement_engine.domain.exceptions import CaseKind
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.engine.executor import LONG_BATCH
from settlement_engine.errors import (
    IdempotencyConflict,
    NotFound,
    Overloaded,
    Unavailable,
    WrongState,
)
from settlement_engine.ports import Answer, CaseFilter, RailClass
from settlement_lab.memory import MemoryCases
from tests.unit.engine.engine_world import (
    TIMEOUT_SECONDS,
    EngineWorld,
    closed_window,
    payment_request,
    running,
)

if TYPE_CHECKING:
    from settlement_engine.domain.settlement import Settlement


async def test_a_settlement_is_locked_sent_and_posted() -> None:
    async with running() as world:
        found = await world.settle()
        assert found.state is State.COMPLETED
        assert await world.history(found) == ["validating", "locked", "completed"]
        account = await world.nostro()
        assert (account.posted, account.held) == (9_900, 0)


async def test_a_rejection_releases_the_hold_and_states_the_reason() -> None:
    async with running() as world:
        world.rail.sends.append(Event.REJECTED)
        found = await world.settle()
        assert found.state is State.ROLLED_BACK
        assert (found.refusal_code, found.refusal_detail["code"]) == ("RAIL_REJECTED", "X1")
        assert (await world.nostro()).available == 10_000


async def test_without_an_answer_the_funds_stay_held_and_an_enquiry_follows() -> None:
    async with running() as world:
        world.rail.sends.append(None)
        world.rail.enquiries.extend([None] * 50)
        found = await world.settle(wait_seconds=0.2)
        assert found.state is State.IN_DOUBT
        await world.until(lambda: len(world.rail.asked) > 4)
        assert (await world.nostro()).held == 100
        assert [word for word, _, _ in world.rail.asked].count("send") == 1


async def test_a_lost_answer_is_found_by_enquiry_and_never_sent_again() -> None:
    async with running() as world:
        world.rail.sends.append(None)
        found = await world.settle()
        assert found.state is State.COMPLETED
        assert [word for word, _, _ in world.rail.asked] == ["send", "enquire"]


async def test_a_payment_that_the_rail_does_not_know_is_resent_byte_for_byte() -> None:
    async with running() as world:
        world.rail.sends.extend([None, Event.SETTLED])
        world.rail.enquiries.append(Event.NOT_FOUND)
        found = await world.settle()
        assert found.state is State.COMPLETED
        first, _, again = world.rail.asked
        assert (first[0], first[2]) == ("send", False)
        assert (again[0], again[2]) == ("send", True)
        assert first[1] == again[1]


async def test_a_payment_is_given_up_after_three_sends_that_never_left() -> None:
    async with running(sends_max=3) as world:
        world.rail.sends.extend([Event.UNDELIVERED] * 3)
        found = await world.settle()
        assert found.state is State.ROLLED_BACK
        assert found.refusal_code == "UNDELIVERED"
        assert len(world.rail.asked) == 3


async def test_undelivered_proves_nothing_after_a_doubt() -> None:
    async with running(sends_max=1) as world:
        world.rail.sends.extend([None, *[Event.UNDELIVERED] * 5, Event.SETTLED])
        world.rail.enquiries.append(Event.NOT_FOUND)
        found = await world.settle()
        assert found.state is State.COMPLETED
        assert "rolled_back" not in await world.history(found)


async def test_an_acknowledged_payment_is_enquired_about_until_it_ends() -> None:
    async with running() as world:
        world.rail.sends.append(Event.ACKNOWLEDGED)
        world.rail.enquiries.extend([Event.ACKNOWLEDGED, None, Event.NOT_FOUND, Event.REJECTED])
        found = await world.settle()
        assert found.state is State.ROLLED_BACK
        assert await world.history(found) == ["validating", "locked", "sent", "rolled_back"]


async def test_a_cancelled_payment_is_recalled_and_released_only_when_the_rail_confirms() -> None:
    async with running() as world:
        world.rail.sends.append(Event.ACKNOWLEDGED)
        world.rail.enquiries.extend([Event.ACKNOWLEDGED] * 1_000)
        world.rail.recalls.extend([None, Event.RECALLED])
        sent = await world.settle(wait_seconds=0.1)
        assert sent.state is State.SENT
        assert (await world.engine.cancel(sent.id)).state in (State.RECALLING, State.ROLLED_BACK)
        ended = await world.engine.wait(sent.id, 5)
        assert ended.state is State.ROLLED_BACK
        assert (await world.nostro()).available == 10_000


async def test_a_bank_that_refuses_a_recall_is_asked_once_and_the_caller_told() -> None:
    async with running() as world:
        world.rail.sends.append(Event.ACKNOWLEDGED)
        world.rail.enquiries.extend([Event.ACKNOWLEDGED] * 1_000)
        world.rail.recalls.extend([Event.RECALL_REFUSED] * 1_000)
        sent = await world.settle(wait_seconds=0.1)
        found = await world.engine.cancel(sent.id)
        if found.state is State.RECALLING:
            found = await world.engine.cancel(sent.id)
        assert found.state is State.SENT
        assert [question for question, _, _ in world.rail.asked].count("recall") <= 2


async def test_a_payment_that_has_ended_or_is_in_doubt_cannot_be_cancelled() -> None:
    async with running() as world:
        done = await world.settle()
        with pytest.raises(WrongState):
            await world.engine.cancel(done.id)
        with pytest.raises(NotFound):
            await world.engine.cancel(world.ids.new())


async def test_a_contradiction_opens_one_exception_and_moves_no_money() -> None:
    async with running() as world:
        found = await world.settle()
        before = await world.nostro()
        for _ in range(3):
            word = Answer(settlement_id=found.id, event=Event.REJECTED, attempt=1, code="AC04")
            world.rail.say([word])
            await asyncio.sleep(0.02)
        after = (await world.store.load([found.id]))[found.id]
        assert after.is_frozen
        assert after.state is State.COMPLETED
        assert (await world.history(found)).count("completed") == 2
        assert await world.nostro() == before


async def test_an_unsolicited_settled_report_ends_a_parked_settlement() -> None:
    async with running() as world:
        world.rail.sends.append(Event.ACKNOWLEDGED)
        world.rail.enquiries.extend([Event.ACKNOWLEDGED] * 1_000)
        sent = await world.settle(wait_seconds=0.1)
        world.rail.say([Answer(settlement_id=sent.id, event=Event.SETTLED, attempt=1)])
        assert (await world.engine.wait(sent.id, 5)).state is State.COMPLETED


async def test_unsolicited_undelivered_or_not_found_is_ignored() -> None:
    async with running() as world:
        world.rail.sends.append(None)
        world.rail.enquiries.extend([None] * 1_000)
        found = await world.settle(wait_seconds=0.1)
        for event in (Event.UNDELIVERED, Event.NOT_FOUND):
            world.rail.say([Answer(settlement_id=found.id, event=event, attempt=1)])
        await asyncio.sleep(0.05)
        assert [word for word, _, _ in world.rail.asked].count("send") == 1


async def test_an_answer_about_another_attempt_is_ignored() -> None:
    async with running() as world:
        world.rail.sends.append(None)
        world.rail.enquiries.extend([None] * 1_000)
        found = await world.settle(wait_seconds=0.1)
        world.rail.say([Answer(settlement_id=found.id, event=Event.REJECTED, attempt=2)])
        await asyncio.sleep(0.05)
        assert (await world.nostro()).held == 100


async def test_of_twenty_simultaneous_payments_with_funds_for_one_only_one_settles() -> None:
    async with running(funds=100) as world:
        found = await asyncio.gather(*(world.settle(f"k{n}") for n in range(20)))
        states = [each.state for each in found]
        assert states.count(State.COMPLETED) == 1
        refused = [each for each in found if each.state is State.FAILED]
        assert len(refused) == 19
        assert {each.refusal_code for each in refused} == {"INSUFFICIENT_FUNDS"}
        detail = {"required": "1.00", "available": "0.00", "currency": "EUR"}
        assert all(each.refusal_detail == detail for each in refused)


async def test_simultaneous_calls_with_one_key_are_one_settlement_and_other_content_conflicts() -> (
    None
):
    async with running() as world:
        found = await asyncio.gather(
            *(world.engine.settle(payment_request(), 5) for _ in range(20))
        )
        assert len({each.id for each in found}) == 1
        assert sum(each.is_replay for each in found) == 19
        with pytest.raises(IdempotencyConflict) as caught:
            await world.engine.settle(payment_request(amount=200), 5)
        assert caught.value.field == "amount"
        with pytest.raises(IdempotencyConflict) as caught:
            await world.engine.settle(payment_request("k2", obligation_id="o-k1"), 5)
        assert caught.value.field == "obligation_id"


async def test_refusals_have_their_documented_precedence() -> None:
    async with running() as world:
        world.screening.answers.append(Event.REFUSED)
        unknown = await world.settle("k1", to_bank="NOBODY")
        assert unknown.refusal_code == "UNKNOWN_ACCOUNT"
        account = await world.nostro()
        await world.accounts.set_active(account.id, is_active=False)
        assert (await world.settle("k2", amount=10**9)).refusal_code == "INACTIVE_ACCOUNT"


async def test_screening_without_an_answer_is_repeated() -> None:
    async with running() as world:
        world.screening.answers.extend([None, None])
        assert (await world.settle()).state is State.COMPLETED
        assert world.screening.asked == 3


async def test_parked_settlements_wait_for_a_person_and_may_be_cancelled() -> None:
    async with running() as world:
        world.screening.answers.append(Event.PARKED)
        held = await world.settle(wait_seconds=0.1)
        assert held.state is State.HELD
        assert (await world.engine.cancel(held.id)).state is State.FAILED


async def test_a_closed_window_refuses_or_queues() -> None:
    async with running(has_real_windows=True) as world:
        world.records.windows[:] = [closed_window()]
        world.engine._window_calendar.replace([closed_window()])
        assert (await world.settle()).refusal_code == "SETTLEMENT_WINDOW_CLOSED"
    async with running(has_real_windows=True, is_queueing=True) as world:
        world.records.windows[:] = [closed_window()]  # the hour of the day must not matter
        world.engine._window_calendar.replace([closed_window()])
        [accepted] = await world.engine.submit([payment_request()])
        assert not isinstance(accepted, Exception)
        key = accepted.id
        await world.until(lambda: world.records.histories[key].state is State.QUEUED)
        assert (await world.store.load([key]))[key].next_action_at is not None


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("call", ["admit", "apply"])
async def test_a_lost_connection_around_a_commit_changes_nothing(call: str, when: str) -> None:
    async with running() as world:
        world.store.losses.append((call, when))
        found = await world.engine.settle(payment_request(), 5)
        assert found.state is State.COMPLETED
        assert not found.is_replay
        assert await world.history(found) == ["validating", "locked", "completed"]
        assert len(world.rail.asked) == 1


async def test_a_long_database_outage_is_reported_and_written_settlements_still_end() -> None:
    async with running() as world:
        world.store.losses.extend([("admit", "after"), *[("admit", "before")] * 1_000])
        with pytest.raises(Unavailable):
            await world.engine.settle(payment_request(), 5)
        world.store.losses.clear()
        [settlement_id] = world.records.histories
        assert (await world.engine.wait(settlement_id, 5)).state is State.COMPLETED


async def test_what_a_takeover_carries_already_is_not_begun_once_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After a lost answer, what intake reads may be older than a claim that comes before it is heard."""
    async with running() as world:
        load = world.store.load

        async def slow(settlement_ids: Any) -> Any:
            found = await load(settlement_ids)
            await world.until(lambda: world.engine._mailbox.carried_count == 1)
            return found

        monkeypatch.setattr(world.store, "load", slow)
        world.rail.answer_delay_seconds = 2 * TIMEOUT_SECONDS
        world.store.losses.append(("admit", "after"))
        left = await world.settle(wait_seconds=0.0)
        carried = world.engine._mailbox.settlement(left.id)
        assert carried is not None
        assert carried.fencing_token == world.records.open[left.id].fencing_token > 1


@pytest.mark.parametrize("state", [State.VALIDATING, State.LOCKED, State.IN_DOUBT, State.SENT])
async def test_settlements_of_a_crashed_engine_are_continued_by_the_next(state: State) -> None:
    async with running() as first:
        if state is State.VALIDATING:
            first.screening.answers.extend([None] * 1_000)
        else:
            first.rail.sends.append(Event.ACKNOWLEDGED if state is State.SENT else None)
            first.rail.enquiries.extend([None] * 1_000)
        wait = 0.02 if state is State.LOCKED else 0.15
        left = await first.settle(wait_seconds=wait)
        await first.crash()
        second = EngineWorld(first.records)
        await second.start()
        ended = await second.engine.wait(left.id, 5)
        assert ended.state is State.COMPLETED
        sends = [word for word, _, _ in first.rail.asked + second.rail.asked].count("send")
        assert sends == 1
        await second.crash()


async def test_all_settlements_of_a_crashed_engine_are_enquired_about_before_the_first_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running() as first:
        first.rail.answer_delay_seconds = 2 * TIMEOUT_SECONDS
        first.rail.capabilities = replace(
            first.rail.capabilities, answer_timeout_seconds=2 * TIMEOUT_SECONDS
        )
        # A whole number of batches: one that is not full may be joined by an answer.
        await first.engine.submit([payment_request(f"k{n}") for n in range(8)])
        await first.until(lambda: len(first.records.moves) == 2 * 8)
        await first.crash()
        second = EngineWorld(first.records, move_batch_max=2)
        apply = second.store.apply

        async def slow(steps: Any, engine_id: int) -> Any:
            await asyncio.sleep(0.02)  # as long as a commit: answers arrive meanwhile
            return await apply(steps, engine_id)

        monkeypatch.setattr(second.store, "apply", slow)
        await second.start()
        await second.until(lambda: len(first.records.moves) == 4 * 8)
        states = [move.to_state for move in first.records.moves[2 * 8 :]]
        assert states == [State.IN_DOUBT] * 8 + [State.COMPLETED] * 8
        await second.crash()


async def test_an_engine_that_was_declared_gone_takes_a_new_engine_id() -> None:
    async with running() as world:
        before = world.engine._lease.engine_id
        world.records.engines[before].is_gone = True
        await world.until(lambda: world.engine._lease.engine_id != before)
        assert (await world.settle()).state is State.COMPLETED


async def test_calls_above_the_bound_are_refused_with_a_retry_delay() -> None:
    async with running(open_max=2) as world:
        with pytest.raises(Overloaded) as caught:
            await world.engine.submit([payment_request(f"k{n}") for n in range(3)])
        assert caught.value.retry_after_seconds > 0


async def test_a_call_with_too_many_waiting_before_it_is_refused_with_a_retry_delay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun, written = asyncio.Event(), asyncio.Event()
    async with running(backlog_max=4) as world:
        apply = world.store.apply

        async def slow(steps: Any, engine_id: int) -> Any:
            begun.set()
            await written.wait()
            return await apply(steps, engine_id)

        monkeypatch.setattr(world.store, "apply", slow)
        await world.engine.submit([payment_request("first")])
        await world.until(begun.is_set)
        await world.engine.submit(
            [payment_request(f"k{n}") for n in range(9)]
        )  # a large call is admitted once
        await world.until(lambda: world.engine._mailbox.backlog == 9)
        with pytest.raises(Overloaded) as caught:
            await world.engine.submit([payment_request("late")])
        assert caught.value.retry_after_seconds > 0
        written.set()
        await world.until(lambda: not world.engine._mailbox.carried_count)
        assert (await world.settle("late")).state is State.COMPLETED


async def test_capacity_is_reserved_for_requests_that_are_being_read() -> None:
    async with running(backlog_max=4) as world:
        with world.engine.reading(9):  # a large call is admitted once
            with pytest.raises(Overloaded), world.engine.reading(1):
                pytest.fail("there is no capacity to read another one")
            with pytest.raises(Overloaded):
                await world.engine.submit([payment_request("late")])
        assert (await world.settle("late")).state is State.COMPLETED
        with pytest.raises(ConnectionError), world.engine.reading(9):
            raise ConnectionError
        with world.engine.reading(1):
            pass


async def test_capacity_is_reserved_only_for_instructions_that_were_valid_so_far() -> None:
    async with running(backlog_max=4, open_max=100) as world:

        def takes(count: int) -> bool:
            try:
                with world.engine.reading(count):
                    return True
            except Overloaded:
                return False

        with world.engine.reading(60) as note:
            assert not takes(1)
            note(10, 0)
            assert takes(1), "nothing is reserved if all were invalid"
            note(20, 1)
            assert takes(1), "three of sixty are not yet as many as may wait"
            note(30, 2)
            assert not takes(1)
            note(60, 2)
            assert takes(1)
            note(60, 60)
            assert not takes(1)
        assert takes(1)


async def test_other_tasks_run_during_a_long_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    turns = 0
    decided: list[int] = []

    async def tick() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with running() as world:
        decide = world.engine._executor._decide

        def deciding(*asked: Any) -> Any:
            decided.append(turns)
            return decide(*asked)

        monkeypatch.setattr(world.engine._executor, "_decide", deciding)
        async with asyncio.TaskGroup() as group:
            ticking = group.create_task(tick())
            await world.engine.submit([payment_request(f"k{n}") for n in range(2 * LONG_BATCH)])
            await world.until(lambda: len(decided) >= 2 * LONG_BATCH)
            ticking.cancel()
    assert decided[0] < decided[LONG_BATCH] < decided[2 * LONG_BATCH - 1]


async def test_settlements_that_wait_for_a_rail_do_not_block_admission() -> None:
    async with running(backlog_max=4) as world:
        world.rail.answer_delay_seconds = TIMEOUT_SECONDS
        world.rail.capabilities = replace(
            world.rail.capabilities, answer_timeout_seconds=2 * TIMEOUT_SECONDS
        )
        for round_number in range(3):
            await world.engine.submit([payment_request(f"k{round_number}-{n}") for n in range(4)])
            await world.until(lambda: not world.engine._mailbox.backlog)
        assert world.engine._mailbox.carried_count == 12


async def test_a_caller_that_disconnects_changes_nothing() -> None:
    async with running() as world:
        task = asyncio.get_running_loop().create_task(world.engine.settle(payment_request(), 5))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await world.until(lambda: len(world.records.histories) == 1)
        [settlement_id] = world.records.histories
        assert (await world.engine.wait(settlement_id, 5)).state is State.COMPLETED


async def test_draining_admits_nothing_and_parks_what_is_open() -> None:
    async with running() as world:
        world.rail.sends.append(None)
        world.rail.enquiries.extend([None] * 1_000)
        found = await world.settle(wait_seconds=0.02)
        assert await world.engine.drain()
        assert (await world.store.load([found.id]))[found.id].state is State.IN_DOUBT
        with pytest.raises(Overloaded):
            await world.engine.submit([payment_request("k2")])


async def test_the_stream_can_be_followed_from_any_position() -> None:
    async with running() as world:
        await world.settle("k1")
        found: list[int] = []
        async for batch in world.engine.moves(1):
            found += [each.moved.position for each in batch]
            if found == [2, 3]:
                await world.settle("k2")
            if len(found) == 5:
                break
        assert found == [2, 3, 4, 5, 6]


async def test_one_broken_settlement_does_not_stop_the_others() -> None:
    async with running() as world:
        world.store.poison.add("o-k3")
        found = await world.engine.submit([payment_request(f"k{n}") for n in range(8)])
        settled = [each.id for each in found if not isinstance(each, Exception)]
        for number, settlement_id in enumerate(settled):
            if number != 3:
                ended = await world.engine.wait(settlement_id, 5)
                assert ended.state is State.COMPLETED
        assert "step_broken" in world.meter.invariant_warnings
        world.store.poison.clear()
        assert (await world.engine.wait(settled[3], 5)).state is State.COMPLETED


async def test_one_broken_admission_fails_only_its_own_call() -> None:
    async with running() as world:
        world.store.poison.add("k3")
        found = await world.engine.submit([payment_request(f"k{n}") for n in range(8)])
        assert [isinstance(each, Exception) for each in found] == [n == 3 for n in range(8)]


async def test_a_banks_text_is_stored_cleaned_and_shortened() -> None:
    async with running() as world:
        world.rail.sends.append(None)
        world.rail.enquiries.extend([None] * 1_000)
        found = await world.settle(wait_seconds=0.1)
        text = "no\x00\n" + "x" * 10_000
        word = Answer(settlement_id=found.id, event=Event.REJECTED, attempt=1, text=text)
        world.rail.say([word])
        ended = await world.engine.wait(found.id, 5)
        assert ended.refusal_detail["text"] == "no??" + "x" * 496


async def test_an_owned_settlement_lost_from_memory_is_found_again() -> None:
    async with running() as world:
        world.rail.sends.append(None)
        world.rail.answer_delay_seconds = 10.0
        found = await world.settle(wait_seconds=0.02)
        world.engine._mailbox.drop_all()
        world.rail.answer_delay_seconds = 0.0
        assert (await world.engine.wait(found.id, 5)).state is State.COMPLETED
        assert "lost_from_memory" in world.meter.invariant_warnings
        assert [word for word, _, _ in world.rail.asked].count("send") == 1


@pytest.mark.parametrize(
    "rules",
    [
        {"is_not_found_definite": False},
        {"rail_class": RailClass.D},
        {"rail_class": RailClass.C},
        {"validity_seconds": -1.0},
        {"deduplicates_seconds": 0.0},
    ],
)
async def test_not_found_sends_again_only_where_the_rails_rules_allow_it(
    rules: dict[str, Any],
) -> None:
    async with running() as world:
        world.rail.capabilities = replace(world.rail.capabilities, **rules)
        world.rail.sends.append(None)
        world.rail.enquiries.extend([Event.NOT_FOUND] * 1_000)
        found = await world.settle(wait_seconds=0.2)
        assert found.state is State.IN_DOUBT
        assert [word for word, _, _ in world.rail.asked].count("send") == 1
        assert (await world.nostro()).held == 100


async def test_bytes_that_are_no_longer_valid_are_not_sent() -> None:
    async with running(sends_max=10) as world:
        world.rail.capabilities = replace(world.rail.capabilities, validity_seconds=0.02)
        world.rail.sends.extend([Event.UNDELIVERED] * 20)
        found = await world.settle()
        assert found.state is State.ROLLED_BACK
        assert found.refusal_code == "UNDELIVERED"
        assert len(world.rail.asked) < 10


async def test_a_late_report_about_a_failed_settlement_is_not_dropped() -> None:
    async with running() as world:
        found = await world.settle(to_bank="NOBODY")
        world.rail.say([Answer(settlement_id=found.id, event=Event.SETTLED)])
        await asyncio.sleep(0.05)
        [case] = await MemoryCases(world.records).cases(CaseFilter())
        assert case.kind is CaseKind.UNKNOWN_PAYMENT, "its bytes were never recorded here"


async def test_one_instruction_that_cannot_be_prepared_does_not_end_the_engine() -> None:
    async with running() as world:
        good, prepare = world.rail.prepare, world.rail.prepare

        def broken(settlement: Settlement, references: object) -> bytes:
            if settlement.instruction.idempotency_key == "k1":
                raise ValueError("no message can be built of this")
            return good(settlement, references)

        world.rail.prepare = broken  # type: ignore[method-assign]
        results = await world.engine.submit([payment_request("k1"), payment_request("k2")])
        ids = [each.id for each in results if not isinstance(each, Exception)]
        assert (await world.engine.wait(ids[1], 5)).state is State.COMPLETED
        assert "not_decided" in world.meter.invariant_warnings
        world.rail.prepare = prepare  # type: ignore[method-assign]
        assert (await world.engine.wait(ids[0], 5)).state is State.COMPLETED


async def test_a_cancellation_that_comes_too_late_causes_no_doubt() -> None:
    async with running() as world:
        world.rail.answer_delay_seconds = 0.1
        world.rail.capabilities = replace(world.rail.capabilities, answer_timeout_seconds=5.0)
        [accepted] = await world.engine.submit([payment_request()])
        assert not isinstance(accepted, Exception)
        await world.until(lambda: world.rail.asked)
        world.engine._mailbox.request(accepted, Event.CANCELLED)
        ended = await world.engine.wait(accepted.id, 5)
        assert ended.state is State.COMPLETED
        assert await world.history(ended) == ["validating", "locked", "completed"]


async def test_an_account_that_is_active_again_is_used_again() -> None:
    async with running() as world:
        account = await world.nostro()
        await world.accounts.set_active(account.id, is_active=False)
        assert (await world.settle("k1")).refusal_code == "INACTIVE_ACCOUNT"
        await world.accounts.set_active(account.id, is_active=True)
        assert (await world.settle("k2")).state is State.COMPLETED


async def test_two_simultaneous_reports_after_the_final_state_are_both_recorded() -> None:
    async with running() as world:
        found = await world.settle()
        words = [
            Answer(settlement_id=found.id, event=event, attempt=1)
            for event in (Event.SETTLED, Event.RETURNED)
        ]
        world.rail.say(words)
        await world.until(lambda: world.records.histories[found.id].state is State.RETURNED)
        assert (await world.nostro()).posted == 10_000
