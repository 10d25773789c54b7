"""Lanes: how many requests one bank gets at once, and what happens to those that wait."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from settlement_engine.domain.backoff import Backoff
from settlement_engine.domain.lifecycle import Ask, Event, State
from settlement_engine.domain.preconditions import RefusalCode
from settlement_engine.engine.dispatch import lanes as lanes_module
from settlement_engine.engine.dispatch.breaker import BreakerState
from settlement_engine.engine.dispatch.dispatcher import NOT_PUT
from settlement_engine.ports import Answer, BreakerLimits, LaneLimits, LaneReport
from tests.unit.engine.engine_world import EngineWorld, ScriptedRail, payment_request, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from uuid import UUID

    import pytest

    from settlement_engine.engine.dispatch.dispatcher import Dispatcher
    from settlement_engine.ports import Question

    Report = Callable[[Sequence[Answer]], None]

LATER = Backoff(first_seconds=30, max_seconds=60)
CALM: dict[str, Any] = {
    "claim_interval_seconds": 1.0,
    "sweep_interval_seconds": 5.0,
    "look_interval_seconds": 5.0,
    "heartbeat_seconds": 1.0,
    "lease_seconds": 20.0,
    "watch_interval_seconds": 1.0,
}
"""For tests of minutes: an engine that polls less often."""

NEVER_OPENS = BreakerLimits(failures_in_a_row=10**6, window=10**6)


class SlowRail(ScriptedRail):
    """A rail that takes some time for each call, and records how many payments it has at once."""

    def __init__(self, seconds: float, *, timeout_seconds: float = 1.5, **lane: Any) -> None:
        super().__init__()
        self.seconds = seconds
        self.mute: set[str] = set()
        self.at_once = dict.fromkeys(("send", "enquire", "recall"), 0)
        self.most_at_once = dict(self.at_once)
        self.began: list[tuple[str, float]] = []
        self.limit(timeout_seconds=timeout_seconds, **lane)

    def limit(self, *, timeout_seconds: float = 1.5, **lane: Any) -> None:
        limits = LaneLimits(**({"breaker": NEVER_OPENS} | lane))
        self.capabilities = replace(
            self.capabilities, lane=limits, answer_timeout_seconds=timeout_seconds
        )

    async def _ask(self, word: str, told: Any, questions: Any, report: Any) -> None:
        now = asyncio.get_running_loop().time()
        self.unasked.note(questions)
        self.at_once[word] += len(questions)
        self.most_at_once[word] = max(self.most_at_once[word], self.at_once[word])
        self.began += [(word, now)] * len(questions)
        try:
            await asyncio.sleep(self.seconds)
            for question in questions:
                self.asked.append((word, question.payload, question.is_possible_duplicate))
                event = told.popleft() if told else Event.SETTLED
                bank = question.payload.decode().split()[-2] if self.mute else ""
                if event is not None and bank not in self.mute:
                    report([word_of(question, event)])
        finally:
            self.at_once[word] -= len(questions)


def word_of(question: Question, event: Event) -> Answer:
    return Answer(settlement_id=question.settlement_id, event=event, attempt=question.attempt)


async def submit(world: EngineWorld, count: int, first: int = 0, **fields: Any) -> list[UUID]:
    payment_requests = [
        payment_request(f"k{number}", 1, **fields) for number in range(first, first + count)
    ]
    found = await world.engine.submit(payment_requests)
    assert not [each for each in found if isinstance(each, Exception)]
    return [each.id for each in found if not isinstance(each, Exception)]


def states(world: EngineWorld, keys: Sequence[UUID]) -> list[State]:
    return [world.records.histories[key].state for key in keys]


def in_state(world: EngineWorld, keys: Sequence[UUID], state: State) -> Callable[[], bool]:
    return lambda: all(each is state for each in states(world, keys))


async def histories(world: EngineWorld, keys: Sequence[UUID]) -> set[str]:
    """Return every state that one of these settlements has passed through."""
    found = [await world.store.history(key) for key in keys]
    return {move.to_state.value for history in found for move in history}


def lanes(world: EngineWorld) -> Dispatcher:
    return world.engine._dispatcher


async def all_end(world: EngineWorld, keys: Sequence[UUID], seconds: float = 600) -> list[State]:
    """Wait until all have ended; return their final states."""
    ended = await asyncio.gather(*(world.engine.wait(key, seconds) for key in keys))
    return [each.state for each in ended]


async def test_300_payments_on_two_connections_of_one_second_leave_none_in_doubt() -> None:
    rail = SlowRail(1.0, concurrency_max=2)
    async with running(rail=rail, **CALM) as world:
        keys = await submit(world, 300)
        assert set(await all_end(world, keys)) == {State.COMPLETED}
        assert rail.most_at_once == {"send": 2, "enquire": 0, "recall": 0}
        assert await histories(world, keys) == {"validating", "locked", "completed"}
        assert len(rail.asked) == 300


async def test_only_a_payment_whose_answer_is_late_is_in_doubt() -> None:
    """The time-out of an answer starts with its own call, not with an earlier one."""
    rail = SlowRail(1.0, concurrency_max=1, enquiry_concurrency_max=1)
    rail.sends.extend([None, *[Event.SETTLED] * 9])
    async with running(rail=rail, enquiry=LATER) as world:
        keys = await submit(world, 10)
        first = world.records.histories[keys[0]]
        assert set(await all_end(world, keys)) == {State.COMPLETED}
        doubted = [key for key in keys if "in_doubt" in await histories(world, [key])]
        assert doubted == [first.id]


async def test_each_bank_has_a_lane_of_its_own() -> None:
    rail = SlowRail(1.0, concurrency_max=1)
    async with running(rail=rail) as world:
        await world.open_bank("CCC", 1_000)
        slow = await submit(world, 40)
        quick = await submit(world, 2, 100, from_bank="CCC")
        began = asyncio.get_running_loop().time()
        assert set(await all_end(world, quick)) == {State.COMPLETED}
        assert asyncio.get_running_loop().time() - began < 5
        assert states(world, slow).count(State.LOCKED) > 30
        assert rail.most_at_once["send"] == 2
        await all_end(world, slow)


async def test_no_more_calls_start_per_second_than_the_rail_allows() -> None:
    rail = SlowRail(0.01, rate_per_second_max=5.0)
    async with running(rail=rail) as world:
        keys = await submit(world, 40)
        assert set(await all_end(world, keys)) == {State.COMPLETED}
    times = [at for _, at in rail.began]
    for start in times:
        in_a_second = sum(start <= at < start + 1 for at in times)
        assert in_a_second <= 10, "five of the second, and no more than five that were saved up"
    assert 6.5 <= times[-1] - times[0] <= 8.5


async def test_a_full_queue_of_sends_does_not_delay_enquiries() -> None:
    rail = SlowRail(1.0, concurrency_max=1)
    rail.sends.append(Event.ACKNOWLEDGED)
    async with running(rail=rail) as world:
        [first] = await submit(world, 1)
        others = await submit(world, 50, 1)
        assert await all_end(world, [first]) == [State.COMPLETED]
        assert states(world, others).count(State.LOCKED) > 40
        assert rail.most_at_once == {"send": 1, "enquire": 1, "recall": 0}
        await all_end(world, others)


async def test_a_recall_goes_before_waiting_sends() -> None:
    rail = SlowRail(1.0, concurrency_max=1)
    rail.sends.append(Event.ACKNOWLEDGED)
    rail.enquiries.extend([None] * 1000)
    rail.recalls.append(Event.RECALLED)
    async with running(rail=rail, enquiry=LATER) as world:
        [first] = await submit(world, 1)
        others = await submit(world, 20, 1)
        await world.until(in_state(world, [first], State.SENT))
        await world.engine.cancel(first)
        assert await all_end(world, [first], 5) == [State.ROLLED_BACK]
        assert states(world, others).count(State.LOCKED) > 15
        await all_end(world, others)


async def test_a_payment_without_capacity_waits_before_its_funds_are_held() -> None:
    rail = SlowRail(1.0, concurrency_max=1, queue_max=5)
    soon = Backoff(first_seconds=1, max_seconds=1)
    async with running(rail=rail, full_lane=soon, resend=soon, move_batch_max=10) as world:
        keys = await submit(world, 6)
        await world.until(in_state(world, keys, State.LOCKED))
        late = await submit(world, 20, 100)
        await world.until(in_state(world, late, State.QUEUED))
        assert (await world.nostro()).held == 6
        assert lanes(world).waiting("scripted") == 5
        assert set(await all_end(world, [*keys, *late])) == {State.COMPLETED}
        assert "in_doubt" not in await histories(world, [*keys, *late])


async def test_a_locked_payment_without_capacity_is_parked_and_never_given_up_for_it() -> None:
    rail = SlowRail(1.0, concurrency_max=1, queue_max=1)
    soon = Backoff(first_seconds=0.5, max_seconds=1)
    async with running(rail=rail, resend=soon, sends_max=1, full_lane=soon) as world:
        keys = await submit(world, 30)
        assert set(await all_end(world, keys)) == {State.COMPLETED}
        counts = [world.records.histories[key].attempt.undelivered for key in keys]  # type: ignore[union-attr]
        assert max(counts) >= 1, "decided in one batch, more were locked than fit"
        assert await histories(world, keys) <= {"validating", "queued", "locked", "completed"}
        assert len(rail.asked) == 30


async def test_a_waiting_payment_that_expires_is_given_up_and_never_in_doubt() -> None:
    rail = SlowRail(1.0, concurrency_max=1)
    rail.capabilities = replace(rail.capabilities, validity_seconds=4.5)
    async with running(rail=rail) as world:
        keys = await submit(world, 10)
        ended = await all_end(world, keys)
        assert ended.count(State.ROLLED_BACK) == 10 - len(rail.asked)
        assert 3 <= len(rail.asked) <= 5
        assert await histories(world, keys) == {"validating", "locked", "completed", "rolled_back"}
        codes = {world.records.histories[key].refusal_code for key in keys}
        assert codes - {"", None} == {RefusalCode.UNDELIVERED.value}
        assert (await world.nostro()).held == 0


async def test_a_payment_that_waits_when_the_engine_stops_is_not_in_doubt_for_the_next() -> None:
    rail = SlowRail(1.0, concurrency_max=1)
    async with running(rail=rail, resend=LATER) as world:
        keys = await submit(world, 10)
        await world.until(in_state(world, keys, State.LOCKED))
        assert await world.engine.drain()
        await world.engine.leave()
        parked = [key for key in keys if key in world.records.open]
        assert len(parked) >= 8
        assert {world.records.open[key].engine_id for key in parked} == {0}
        assert set(states(world, parked)) == {State.LOCKED}
        following = EngineWorld(world.records, rail=SlowRail(0.1, concurrency_max=2))
        following.ids._last = 10_000
        await following.start()
        assert set(await all_end(following, keys)) == {State.COMPLETED}
        assert "in_doubt" not in await histories(world, keys)
        await following.crash()


async def test_an_engine_that_was_declared_gone_sends_nothing_that_waited() -> None:
    rail = SlowRail(1.0, concurrency_max=1)
    async with running(rail=rail) as world:
        keys = await submit(world, 5)
        await world.until(in_state(world, keys, State.LOCKED))
        await world.until(lambda: rail.began)
        before = world.engine._lease.engine_id
        world.records.engines[before].is_gone = True
        await world.until(lambda: world.engine._lease.engine_id != before)
        await all_end(world, keys)
        assert [word for word, _ in rail.began].count("send") <= 2, "the others were enquired about"


async def test_nothing_that_waited_is_sent_while_the_lease_may_have_expired() -> None:
    rail = SlowRail(1.0, concurrency_max=1)
    async with running(rail=rail, heartbeat_seconds=0.05) as world:
        keys = await submit(world, 5)
        await world.until(in_state(world, keys, State.LOCKED))
        await world.until(lambda: rail.began)
        registry = world.engine._lease._registry
        renew = registry.renew

        async def stuck(_owner: int, _lease_seconds: float) -> bool:
            await asyncio.sleep(3)
            return True

        registry.renew = stuck  # type: ignore[assignment,method-assign]
        await asyncio.sleep(2.5)
        assert [word for word, _ in rail.began].count("send") == 1
        registry.renew = renew  # type: ignore[method-assign]
        assert set(await all_end(world, keys)) == {State.COMPLETED}


async def test_a_payment_that_changed_state_while_it_waited_is_not_sent() -> None:
    rail = SlowRail(1.0, concurrency_max=1)
    async with running(rail=rail) as world:
        first, second = await submit(world, 2)
        await world.until(in_state(world, [first, second], State.LOCKED))
        await world.until(lambda: rail.began)
        assert lanes(world).waiting("scripted") == 1
        word = Answer(settlement_id=second, event=Event.REJECTED, attempt=1, code="X")
        world.engine._mailbox.hear([word])
        assert set(await all_end(world, [first, second])) == {State.COMPLETED, State.ROLLED_BACK}
        await asyncio.sleep(3)
        assert [word for word, _ in rail.began] == ["send"]


async def test_a_rail_with_its_own_queue_reports_which_payments_never_left() -> None:
    """A rail with a connection pool and no lane limit: at its time-out it reports what never left."""

    class PoolRail(SlowRail):
        def __init__(self) -> None:
            super().__init__(0.0, timeout_seconds=3.5)
            self.pool = asyncio.Semaphore(2)

        async def send(self, questions: Any, report: Any) -> None:
            unsent = {question.settlement_id: question for question in questions}

            async def send_one(question: Question) -> None:
                async with self.pool:
                    del unsent[question.settlement_id]
                    self.asked.append(("send", question.payload, False))
                    await asyncio.sleep(1)
                    report([word_of(question, Event.SETTLED)])

            try:
                async with asyncio.TaskGroup() as group:
                    for question in questions:
                        group.create_task(send_one(question))
            except BaseException:
                report([word_of(each, Event.UNDELIVERED) for each in unsent.values()])
                raise

    rail = PoolRail()
    async with running(rail=rail, resend=LATER, enquiry=LATER, sends_max=9) as world:
        keys = await submit(world, 20)
        await world.until(lambda: states(world, keys).count(State.COMPLETED) == 6)
        await asyncio.sleep(2)
        assert states(world, keys).count(State.IN_DOUBT) <= 2, "those whose bytes were under way"
        assert states(world, keys).count(State.LOCKED) == 12
        await all_end(world, keys)


async def test_an_answer_after_its_call_frees_no_capacity_twice() -> None:
    rail = SlowRail(1.0, concurrency_max=1, timeout_seconds=0.5)
    late: list[Callable[[], None]] = []

    async def send(questions: Any, report: Any) -> None:
        late.append(lambda: report([word_of(questions[0], Event.SETTLED)]))
        await asyncio.sleep(10)

    rail.send = send  # type: ignore[method-assign]
    async with running(rail=rail, enquiry=LATER) as world:
        [key] = await submit(world, 1)
        await world.until(in_state(world, [key], State.IN_DOUBT))
        late[0]()
        assert await all_end(world, [key], 5) == [State.COMPLETED]
        track = lanes(world).lanes.opened["scripted", "AAA"].tracks[Ask.SEND]
        assert track.under_way == 0


# --- the breaker ----------------------------------------------------------------------------------


@asynccontextmanager
async def with_breaker(**settings: Any) -> AsyncIterator[tuple[EngineWorld, SlowRail]]:
    """An engine whose lanes stop for ten seconds after three sends without an answer."""
    breaker = BreakerLimits(failures_in_a_row=3, rest=Backoff(first_seconds=10, max_seconds=10))
    rail = SlowRail(0.01, concurrency_max=1, timeout_seconds=0.5, breaker=breaker)
    soon = Backoff(first_seconds=1, max_seconds=2)
    async with running(rail=rail, enquiry=soon, **settings) as world:
        yield world, rail


async def test_a_bank_that_does_not_answer_gets_no_sends_but_enquiries() -> None:
    async with with_breaker() as (world, rail):
        rail.sends.extend([None] * 3)
        rail.enquiries.extend([None] * 6)
        keys = await submit(world, 10)
        await world.until(lambda: lanes(world).breaker("scripted", "AAA") is BreakerState.OPEN)
        await asyncio.sleep(1)
        assert states(world, keys).count(State.IN_DOUBT) == 3
        await asyncio.sleep(4)
        words = [word for word, _, _ in rail.asked]
        assert (words.count("send"), words.count("enquire")) == (3, 9)
        waiting = [key for key in keys if world.records.histories[key].state is State.LOCKED]
        assert len(waiting) == 7, "waiting payments get no invented answer"
        assert world.meter.lanes_shown[-1] == {"scripted": LaneReport(waiting=7, breakers_open=1)}
        assert set(await all_end(world, keys)) == {State.COMPLETED}
        assert lanes(world).breaker("scripted", "AAA") is BreakerState.CLOSED
        await asyncio.sleep(2)
        assert world.meter.lanes_shown[-1] == {"scripted": LaneReport(waiting=0, breakers_open=0)}


async def test_half_open_it_tries_one_and_waits_again_if_that_is_not_answered() -> None:
    async with with_breaker() as (world, rail):
        rail.sends.extend([None] * 4)
        keys = await submit(world, 10)
        await world.until(lambda: lanes(world).breaker("scripted", "AAA") is BreakerState.OPEN)
        await asyncio.sleep(12)
        assert [word for word, _, _ in rail.asked].count("send") == 4
        assert lanes(world).breaker("scripted", "AAA") is BreakerState.OPEN
        assert set(await all_end(world, keys)) == {State.COMPLETED}


async def test_the_breaker_of_one_bank_stops_no_other() -> None:
    async with with_breaker() as (world, rail):
        await world.open_bank("CCC", 1_000)
        rail.sends.extend([None] * 3)
        keys = await submit(world, 5)
        await world.until(lambda: lanes(world).breaker("scripted", "AAA") is BreakerState.OPEN)
        others = await submit(world, 5, 100, from_bank="CCC")
        assert set(await all_end(world, others, 5)) == {State.COMPLETED}
        assert states(world, keys).count(State.LOCKED) == 2
        await all_end(world, keys)


async def test_undelivered_payments_open_the_breaker_before_they_are_given_up() -> None:
    async with with_breaker(resend=Backoff(first_seconds=0.1, max_seconds=0.1)) as (world, rail):
        rail.sends.extend([Event.UNDELIVERED] * 3)
        keys = await submit(world, 4)
        assert set(await all_end(world, keys)) == {State.COMPLETED}
        assert await histories(world, keys) == {"validating", "locked", "completed"}


# --- bounds ---------------------------------------------------------------------------------------


async def test_there_are_no_more_lanes_than_the_bound_and_the_others_share_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lanes_module, "LANES_MAX", 2)
    rail = SlowRail(1.0, concurrency_max=1)
    async with running(rail=rail) as world:
        keys = []
        for number, bank in enumerate(("CCC", "DDD", "EEE", "FFF")):
            await world.open_bank(bank, 1_000)
            keys += await submit(world, 3, 100 * number, from_bank=bank)
        assert set(await all_end(world, keys)) == {State.COMPLETED}
        assert rail.most_at_once["send"] == 3, "two lanes of their own, and one for all others"
        keys = await submit(world, 1, 900, from_bank="EEE")
        await all_end(world, keys)
        assert ("scripted", "EEE") in lanes(world).lanes.opened, "an idle lane was replaced"


async def test_enquiries_without_capacity_are_parked_and_sent_later() -> None:
    rail = SlowRail(1.0, concurrency_max=30, enquiry_concurrency_max=1, queue_max=2)
    rail.sends.extend([Event.ACKNOWLEDGED] * 10)
    soon = Backoff(first_seconds=1, max_seconds=3)
    async with running(rail=rail, enquiry=soon) as world:
        keys = await submit(world, 10)
        assert set(await all_end(world, keys)) == {State.COMPLETED}
        assert rail.most_at_once["enquire"] == 1
        said = [str(key) for found in world.records.answers.values() for key in found]
        assert any(NOT_PUT in text for text in said)


# --- schedules ------------------------------------------------------------------------------------


async def test_a_rail_has_an_enquiry_schedule_for_each_state() -> None:
    rail = ScriptedRail()
    seldom = Backoff(first_seconds=60, max_seconds=60)
    rail.capabilities = replace(rail.capabilities, enquiry={State.SENT: seldom})
    rail.sends.extend([Event.ACKNOWLEDGED, None])
    soon = Backoff(first_seconds=1, max_seconds=1)
    async with running(rail=rail, enquiry=soon) as world:
        await submit(world, 1)
        await asyncio.sleep(40)
        assert [word for word, _, _ in rail.asked] == ["send"], "sent: once a minute"
        [doubted] = await submit(world, 1, 1)
        assert await all_end(world, [doubted], 10) == [State.COMPLETED], "in doubt: every second"
