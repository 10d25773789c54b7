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
from tests.unit.engine.engine_world import House, ToldRail, payment_request, running

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


class SlowRail(ToldRail):
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


async def submit(house: House, count: int, first: int = 0, **fields: Any) -> list[UUID]:
    payment_requests = [
        payment_request(f"k{number}", 1, **fields) for number in range(first, first + count)
    ]
    found = await house.engine.submit(payment_requests)
    assert not [each for each in found if isinstance(each, Exception)]
    return [each.settlement.id for each in found if not isinstance(each, Exception)]


def states(house: House, keys: Sequence[UUID]) -> list[State]:
    return [house.records.histories[key].state for key in keys]


def in_state(house: House, keys: Sequence[UUID], state: State) -> Callable[[], bool]:
    return lambda: all(each is state for each in states(house, keys))


async def histories(house: House, keys: Sequence[UUID]) -> set[str]:
    """Return every state that one of these settlements has passed through."""
    found = [await house.store.history(key) for key in keys]
    return {move.to_state.value for history in found for move in history}


def lanes(house: House) -> Dispatcher:
    return house.engine._dispatcher


async def all_end(house: House, keys: Sequence[UUID], seconds: float = 600) -> list[State]:
    """Wait until all have ended; return their final states."""
    ended = await asyncio.gather(*(house.engine.wait(key, seconds) for key in keys))
    return [each.state for each in ended]


async def test_300_payments_on_two_connections_of_one_second_leave_none_in_doubt() -> None:
    rail = SlowRail(1.0, concurrency_max=2)
    async with running(rail=rail, **CALM) as house:
        keys = await submit(house, 300)
        assert set(await all_end(house, keys)) == {State.COMPLETED}
        assert rail.most_at_once == {"send": 2, "enquire": 0, "recall": 0}
        assert await histories(house, keys) == {"validating", "locked", "completed"}
        assert len(rail.asked) == 300


async def test_only_a_payment_whose_answer_is_late_is_in_doubt() -> None:
    """The time-out of an answer starts with its own call, not with an earlier one."""
    rail = SlowRail(1.0, concurrency_max=1, enquiry_concurrency_max=1)
    rail.sends.extend([None, *[Event.SETTLED] * 9])
    async with running(rail=rail, enquiry=LATER) as house:
        keys = await submit(house, 10)
        first = house.records.histories[keys[0]]
        assert set(await all_end(house, keys)) == {State.COMPLETED}
        doubted = [key for key in keys if "in_doubt" in await histories(house, [key])]
        assert doubted == [first.id]


async def test_each_bank_has_a_lane_of_its_own() -> None:
    rail = SlowRail(1.0, concurrency_max=1)
    async with running(rail=rail) as house:
        await house.open_bank("CCC", 1_000)
        slow = await submit(house, 40)
        quick = await submit(house, 2, 100, from_bank="CCC")
        began = asyncio.get_running_loop().time()
        assert set(await all_end(house, quick)) == {State.COMPLETED}
        assert asyncio.get_running_loop().time() - began < 5
        assert states(house, slow).count(State.LOCKED) > 30
        assert rail.most_at_once["send"] == 2
        await all_end(house, slow)


async def test_no_more_calls_start_per_second_than_the_rail_allows() -> None:
    rail = SlowRail(0.01, rate_per_second_max=5.0)
    async with running(rail=rail) as house:
        keys = await submit(house, 40)
        assert set(await all_end(house, keys)) == {State.COMPLETED}
    times = [at for _, at in rail.began]
    for start in times:
        in_a_second = sum(start <= at < start + 1 for at in times)
        assert in_a_second <= 10, "five of the second, and no more than five that were saved up"
    assert 6.5 <= times[-1] - times[0] <= 8.5


async def test_a_full_queue_of_sends_does_not_delay_enquiries() -> None:
    rail = SlowRail(1.0, concurrency_max=1)
    rail.sends.append(Event.ACKNOWLEDGED)
    async with running(rail=rail) as house:
        [first] = await submit(house, 1)
        others = await submit(house, 50, 1)
        assert await all_end(house, [first]) == [State.COMPLETED]
        assert states(house, others).count(State.LOCKED) > 40
        assert rail.most_at_once == {"send": 1, "enquire": 1, "recall": 0}
        await all_end(house, others)


async def test_a_recall_goes_before_waiting_sends() -> None:
    rail = SlowRail(1.0, concurrency_max=1)
    rail.sends.append(Event.ACKNOWLEDGED)
    rail.enquiries.extend([None] * 1000)
    rail.recalls.append(Event.RECALLED)
    async with running(rail=rail, enquiry=LATER) as house:
        [first] = await submit(house, 1)
        others = await submit(house, 20, 1)
        await house.until(in_state(house, [first], State.SENT))
        await house.engine.cancel(first)
        assert await all_end(house, [first], 5) == [State.ROLLED_BACK]
        assert states(house, others).count(State.LOCKED) > 15
        await all_end(house, others)


async def test_a_payment_without_capacity_waits_before_its_funds_are_held() -> None:
    rail = SlowRail(1.0, concurrency_max=1, queue_max=5)
    soon = Backoff(first_seconds=1, max_seconds=1)
    async with running(rail=rail, full_lane=soon, resend=soon, move_batch_max=10) as house:
        keys = await submit(house, 6)
        await house.until(in_state(house, keys, State.LOCKED))
        late = await submit(house, 20, 100)
        await house.until(in_state(house, late, State.QUEUED))
        assert (await house.nostro()).held == 6
        assert lanes(house).waiting("told") == 5
        assert set(await all_end(house, [*keys, *late])) == {State.COMPLETED}
        assert "in_doubt" not in await histories(house, [*keys, *late])


async def test_a_locked_payment_without_capacity_is_parked_and_never_given_up_for_it() -> None:
    rail = SlowRail(1.0, concurrency_max=1, queue_max=1)
    soon = Backoff(first_seconds=0.5, max_seconds=1)
    async with running(rail=rail, resend=soon, sends_max=1, full_lane=soon) as house:
        keys = await submit(house, 30)
        assert set(await all_end(house, keys)) == {State.COMPLETED}
        counts = [house.records.histories[key].attempt.undelivered for key in keys]  # type: ignore[union-attr]
        assert max(counts) >= 1, "decided in one batch, more were locked than fit"
        assert await histories(house, keys) <= {"validating", "queued", "locked", "completed"}
        assert len(rail.asked) == 30


async def test_a_waiting_payment_that_expires_is_given_up_and_never_in_doubt() -> None:
    rail = SlowRail(1.0, concurrency_max=1)
    rail.capabilities = replace(rail.capabilities, validity_seconds=4.5)
    async with running(rail=rail) as house:
        keys = await submit(house, 10)
        ended = await all_end(house, keys)
        assert ended.count(State.ROLLED_BACK) == 10 - len(rail.asked)
        assert 3 <= len(rail.asked) <= 5
        assert await histories(house, keys) == {"validating", "locked", "completed", "rolled_back"}
        codes = {house.records.histories[key].refusal_code for key in keys}
        assert codes - {"", None} == {RefusalCode.UNDELIVERED.value}
        assert (await house.nostro()).held == 0


async def test_a_payment_that_waits_when_the_engine_stops_is_not_in_doubt_for_the_next() -> None:
    rail = SlowRail(1.0, concurrency_max=1)
    async with running(rail=rail, resend=LATER) as house:
        keys = await submit(house, 10)
        await house.until(in_state(house, keys, State.LOCKED))
        assert await house.engine.drain()
        await house.engine.leave()
        rests = [key for key in keys if key in house.records.open]
        assert len(rests) >= 8
        assert {house.records.open[key].engine_id for key in rests} == {0}
        assert set(states(house, rests)) == {State.LOCKED}
        following = House(house.records, rail=SlowRail(0.1, concurrency_max=2))
        following.ids._last = 10_000
        await following.start()
        assert set(await all_end(following, keys)) == {State.COMPLETED}
        assert "in_doubt" not in await histories(house, keys)
        await following.crash()


async def test_an_engine_that_was_declared_gone_sends_nothing_that_waited() -> None:
    rail = SlowRail(1.0, concurrency_max=1)
    async with running(rail=rail) as house:
        keys = await submit(house, 5)
        await house.until(in_state(house, keys, State.LOCKED))
        await house.until(lambda: rail.began)
        before = house.engine._lease.engine_id
        house.records.engines[before].is_gone = True
        await house.until(lambda: house.engine._lease.engine_id != before)
        await all_end(house, keys)
        assert [word for word, _ in rail.began].count("send") <= 2, "the others were enquired about"


async def test_nothing_that_waited_is_sent_while_the_lease_may_have_expired() -> None:
    rail = SlowRail(1.0, concurrency_max=1)
    async with running(rail=rail, heartbeat_seconds=0.05) as house:
        keys = await submit(house, 5)
        await house.until(in_state(house, keys, State.LOCKED))
        await house.until(lambda: rail.began)
        registry = house.engine._lease._registry
        renew = registry.renew

        async def stuck(_owner: int, _lease_seconds: float) -> bool:
            await asyncio.sleep(3)
            return True

        registry.renew = stuck  # type: ignore[assignment,method-assign]
        await asyncio.sleep(2.5)
        assert [word for word, _ in rail.began].count("send") == 1
        registry.renew = renew  # type: ignore[method-assign]
        assert set(await all_end(house, keys)) == {State.COMPLETED}


async def test_a_payment_that_changed_state_while_it_waited_is_not_sent() -> None:
    rail = SlowRail(1.0, concurrency_max=1)
    async with running(rail=rail) as house:
        first, second = await submit(house, 2)
        await house.until(in_state(house, [first, second], State.LOCKED))
        await house.until(lambda: rail.began)
        assert lanes(house).waiting("told") == 1
        word = Answer(settlement_id=second, event=Event.REJECTED, attempt=1, code="X")
        house.engine._mailbox.hear([word])
        assert set(await all_end(house, [first, second])) == {State.COMPLETED, State.ROLLED_BACK}
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
    async with running(rail=rail, resend=LATER, enquiry=LATER, sends_max=9) as house:
        keys = await submit(house, 20)
        await house.until(lambda: states(house, keys).count(State.COMPLETED) == 6)
        await asyncio.sleep(2)
        assert states(house, keys).count(State.IN_DOUBT) <= 2, "those whose bytes were under way"
        assert states(house, keys).count(State.LOCKED) == 12
        await all_end(house, keys)


async def test_an_answer_after_its_call_frees_no_capacity_twice() -> None:
    rail = SlowRail(1.0, concurrency_max=1, timeout_seconds=0.5)
    late: list[Callable[[], None]] = []

    async def send(questions: Any, report: Any) -> None:
        late.append(lambda: report([word_of(questions[0], Event.SETTLED)]))
        await asyncio.sleep(10)

    rail.send = send  # type: ignore[method-assign]
    async with running(rail=rail, enquiry=LATER) as house:
        [key] = await submit(house, 1)
        await house.until(in_state(house, [key], State.IN_DOUBT))
        late[0]()
        assert await all_end(house, [key], 5) == [State.COMPLETED]
        track = lanes(house)._lanes.opened["told", "AAA"].tracks[Ask.SEND]
        assert track.under_way == 0


# --- the breaker ----------------------------------------------------------------------------------


@asynccontextmanager
async def with_breaker(**settings: Any) -> AsyncIterator[tuple[House, SlowRail]]:
    """An engine whose lanes stop for ten seconds after three sends without an answer."""
    breaker = BreakerLimits(failures_in_a_row=3, rest=Backoff(first_seconds=10, max_seconds=10))
    rail = SlowRail(0.01, concurrency_max=1, timeout_seconds=0.5, breaker=breaker)
    soon = Backoff(first_seconds=1, max_seconds=2)
    async with running(rail=rail, enquiry=soon, **settings) as house:
        yield house, rail


async def test_a_bank_that_does_not_answer_gets_no_sends_but_enquiries() -> None:
    async with with_breaker() as (house, rail):
        rail.sends.extend([None] * 3)
        rail.enquiries.extend([None] * 6)
        keys = await submit(house, 10)
        await house.until(lambda: lanes(house).breaker("told", "AAA") is BreakerState.OPEN)
        await asyncio.sleep(1)
        assert states(house, keys).count(State.IN_DOUBT) == 3
        await asyncio.sleep(4)
        words = [word for word, _, _ in rail.asked]
        assert (words.count("send"), words.count("enquire")) == (3, 9)
        waiting = [key for key in keys if house.records.histories[key].state is State.LOCKED]
        assert len(waiting) == 7, "waiting payments get no invented answer"
        assert house.meter.lanes_shown[-1] == {"told": LaneReport(waiting=7, breakers_open=1)}
        assert set(await all_end(house, keys)) == {State.COMPLETED}
        assert lanes(house).breaker("told", "AAA") is BreakerState.CLOSED
        await asyncio.sleep(2)
        assert house.meter.lanes_shown[-1] == {"told": LaneReport(waiting=0, breakers_open=0)}


async def test_half_open_it_tries_one_and_waits_again_if_that_is_not_answered() -> None:
    async with with_breaker() as (house, rail):
        rail.sends.extend([None] * 4)
        keys = await submit(house, 10)
        await house.until(lambda: lanes(house).breaker("told", "AAA") is BreakerState.OPEN)
        await asyncio.sleep(12)
        assert [word for word, _, _ in rail.asked].count("send") == 4
        assert lanes(house).breaker("told", "AAA") is BreakerState.OPEN
        assert set(await all_end(house, keys)) == {State.COMPLETED}


async def test_the_breaker_of_one_bank_stops_no_other() -> None:
    async with with_breaker() as (house, rail):
        await house.open_bank("CCC", 1_000)
        rail.sends.extend([None] * 3)
        keys = await submit(house, 5)
        await house.until(lambda: lanes(house).breaker("told", "AAA") is BreakerState.OPEN)
        others = await submit(house, 5, 100, from_bank="CCC")
        assert set(await all_end(house, others, 5)) == {State.COMPLETED}
        assert states(house, keys).count(State.LOCKED) == 2
        await all_end(house, keys)


async def test_undelivered_payments_open_the_breaker_before_they_are_given_up() -> None:
    async with with_breaker(resend=Backoff(first_seconds=0.1, max_seconds=0.1)) as (house, rail):
        rail.sends.extend([Event.UNDELIVERED] * 3)
        keys = await submit(house, 4)
        assert set(await all_end(house, keys)) == {State.COMPLETED}
        assert await histories(house, keys) == {"validating", "locked", "completed"}


# --- bounds ---------------------------------------------------------------------------------------


async def test_there_are_no_more_lanes_than_the_bound_and_the_others_share_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lanes_module, "LANES_MAX", 2)
    rail = SlowRail(1.0, concurrency_max=1)
    async with running(rail=rail) as house:
        keys = []
        for number, bank in enumerate(("CCC", "DDD", "EEE", "FFF")):
            await house.open_bank(bank, 1_000)
            keys += await submit(house, 3, 100 * number, from_bank=bank)
        assert set(await all_end(house, keys)) == {State.COMPLETED}
        assert rail.most_at_once["send"] == 3, "two lanes of their own, and one for all others"
        keys = await submit(house, 1, 900, from_bank="EEE")
        await all_end(house, keys)
        assert ("told", "EEE") in lanes(house)._lanes.opened, "an idle lane was replaced"


async def test_enquiries_without_capacity_are_parked_and_sent_later() -> None:
    rail = SlowRail(1.0, concurrency_max=30, enquiry_concurrency_max=1, queue_max=2)
    rail.sends.extend([Event.ACKNOWLEDGED] * 10)
    soon = Backoff(first_seconds=1, max_seconds=3)
    async with running(rail=rail, enquiry=soon) as house:
        keys = await submit(house, 10)
        assert set(await all_end(house, keys)) == {State.COMPLETED}
        assert rail.most_at_once["enquire"] == 1
        said = [str(key) for found in house.records.answers.values() for key in found]
        assert any(NOT_PUT in text for text in said)


# --- schedules ------------------------------------------------------------------------------------


async def test_a_rail_has_an_enquiry_schedule_for_each_state() -> None:
    rail = ToldRail()
    seldom = Backoff(first_seconds=60, max_seconds=60)
    rail.capabilities = replace(rail.capabilities, enquiry={State.SENT: seldom})
    rail.sends.extend([Event.ACKNOWLEDGED, None])
    soon = Backoff(first_seconds=1, max_seconds=1)
    async with running(rail=rail, enquiry=soon) as house:
        await submit(house, 1)
        await asyncio.sleep(40)
        assert [word for word, _, _ in rail.asked] == ["send"], "sent: once a minute"
        [doubted] = await submit(house, 1, 1)
        assert await all_end(house, [doubted], 10) == [State.COMPLETED], "in doubt: every second"
