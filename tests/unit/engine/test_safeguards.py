"""Each safeguard of the engine, one by one: without it, one of these tests fails.

The simulation shows that money can be lost without them; these tests show which one is missing.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from settlement_engine.domain.identifiers import references
from settlement_engine.domain.ledger import AccountKind
from settlement_engine.domain.lifecycle import Event, State, transition_for
from settlement_engine.domain.preconditions import Refusal, RefusalCode
from settlement_engine.domain.windows import Window
from settlement_engine.engine.mailbox import PendingTransition
from settlement_engine.engine.writer import TransitionWriter
from settlement_engine.errors import Unavailable, WrongState
from settlement_engine.ports import (
    AccountSpec,
    Answer,
    Claimed,
    Result,
    TransitionCommand,
    TransitionResult,
)
from settlement_lab.memory.records import Quiet
from tests.support.jumpingloop import LoopClock
from tests.unit.engine.engine_world import (
    TIMEOUT_SECONDS,
    EngineWorld,
    closed_window,
    payment_request,
    running,
)

if TYPE_CHECKING:
    from uuid import UUID

    from settlement_engine.domain.settlement import Settlement

NEVER_SECONDS = 1_000.0


def carried(world: EngineWorld, settlement_id: UUID) -> Settlement:
    found = world.engine._mailbox.settlement(settlement_id)
    assert found is not None
    return found


async def sent_and_silent(world: EngineWorld) -> Settlement:
    """Bring a settlement to LOCKED, with its request open."""
    world.rail.sends.append(None)
    world.rail.answer_delay_seconds = NEVER_SECONDS
    [accepted] = await world.engine.submit([payment_request()])
    assert not isinstance(accepted, Exception)
    await world.until(lambda: world.rail.asked)
    return carried(world, accepted.id)


def decide(
    world: EngineWorld, settlement: Settlement, event: Event, **answer: Any
) -> TransitionCommand | None:
    number = settlement.attempt.number if settlement.attempt else 0
    said = Answer(settlement_id=settlement.id, event=event, attempt=number, **answer)
    now = LoopClock().now()
    route = world.engine.router.route(settlement, now)
    return world.engine._executor._decider.decide(settlement, said, now, route=route)


# --- deciding -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sends", "undelivered", "is_late", "event"),
    [
        (1, 0, False, Event.UNDELIVERED),  # the same bytes again
        (3, 2, False, Event.ABANDONED),  # the last of three, each proved not to have left
        (3, 1, False, Event.UNDELIVERED),  # one of them may have left: never given up
        (1, 0, True, Event.ABANDONED),
        (2, 0, True, Event.NO_ANSWER),  # the first may have left, and no more may be sent
    ],
)
async def test_an_undelivered_payment_is_given_up_only_on_proof(
    sends: int, undelivered: int, is_late: bool, event: Event
) -> None:
    async with running(sends_max=3) as world:
        settlement = await sent_and_silent(world)
        assert settlement.attempt is not None
        late = LoopClock().now() + timedelta(seconds=-1 if is_late else 60)
        settlement.attempt = msgspec.structs.replace(
            settlement.attempt, sends=sends, undelivered=undelivered, valid_until=late
        )
        step = decide(world, settlement, Event.UNDELIVERED)
        assert step is not None
        assert step.event is event


@pytest.mark.parametrize(
    ("sends", "undelivered", "event"),
    [
        (
            2,
            0,
            Event.NO_ANSWER,
        ),  # the first may have arrived, and the bank would no longer recognise it
        (2, 1, Event.UNDELIVERED),  # nothing has arrived, so that nothing needs to be recognised
    ],
)
async def test_a_payment_that_may_have_arrived_is_not_resent_after_the_rails_memory_ends(
    sends: int, undelivered: int, event: Event
) -> None:
    async with running(sends_max=3) as world:
        settlement = await sent_and_silent(world)
        assert settlement.attempt is not None
        world.rail.capabilities = replace(world.rail.capabilities, deduplicates_seconds=0)
        settlement.attempt = msgspec.structs.replace(
            settlement.attempt, sends=sends, undelivered=undelivered
        )
        step = decide(world, settlement, Event.UNDELIVERED)
        assert step is not None
        assert step.event is event
        is_too_late = world.engine._decider.is_too_late_to_send(
            settlement.attempt, LoopClock().now()
        )
        assert is_too_late is (event is Event.NO_ANSWER)


async def test_a_repeated_status_after_the_final_state_changes_nothing() -> None:
    async with running() as world:
        completed = await world.settle()
        assert decide(world, completed, Event.SETTLED) is None
        world.rail.sends.append(Event.REJECTED)
        released = await world.settle("k2")
        assert decide(world, released, Event.REJECTED) is None
        assert decide(world, released, Event.NO_ANSWER) is None


async def test_screenings_refusal_is_the_refusal() -> None:
    async with running() as world:
        world.screening.answers.append(None)
        [accepted] = await world.engine.submit([payment_request()])
        assert not isinstance(accepted, Exception)
        settlement = carried(world, accepted.id)
        await world.engine._executor._decider.prefetch([settlement], LoopClock().now())
        refusal = Refusal(code=RefusalCode.COMPLIANCE_BLOCKED)
        step = decide(world, settlement, Event.REFUSED, refusal=refusal)
        assert step is not None
        assert (step.transition.state, step.refusal) == (State.FAILED, refusal)


async def test_references_depend_only_on_the_callers_key_and_the_attempt() -> None:
    async with running() as world:
        settlement = await world.settle("k1")
        assert settlement.attempt is not None
        assert settlement.attempt.references == references("test", "k1", 1)
        assert world.rail.asked[0][1] == world.rail.prepare(settlement, references("test", "k1", 1))


# --- asking ---------------------------------------------------------------------------------------


async def test_an_error_of_a_rail_is_no_answer() -> None:
    async with running() as world:

        async def fail(_questions: Any, _report: Any) -> None:
            raise ConnectionError("reset by peer")

        world.rail.send = fail  # type: ignore[method-assign, assignment]
        found = await world.settle()
        assert found.state is State.COMPLETED
        assert await world.history(found) == ["validating", "locked", "in_doubt", "completed"]


async def test_a_cancellation_inside_a_rail_is_no_answer() -> None:
    async with running() as world:

        async def send(*_: object) -> None:
            raise asyncio.CancelledError  # as from a pool that closes its connections

        world.rail.send = send  # type: ignore[method-assign, assignment]
        ended = await world.settle()
        assert ended.state is State.COMPLETED
        assert [word for word, _, _ in world.rail.asked] == ["enquire"]


async def run_for(world: EngineWorld, seconds: float) -> None:
    async with asyncio.timeout(seconds):
        await world.engine.run()


@pytest.mark.parametrize("end", [asyncio.CancelledError, None])
async def test_a_loop_of_the_engine_never_ends_unnoticed(
    end: type[BaseException] | None,
) -> None:
    world = EngineWorld()

    async def look() -> None:
        if end is not None:
            raise end

    world.engine._takeover.look_after_own = look  # type: ignore[method-assign]
    await world.engine.join()
    with pytest.raises(ExceptionGroup, match="TaskGroup") as raised:
        await run_for(world, TIMEOUT_SECONDS)
    [error] = raised.value.exceptions
    assert "has stopped unexpectedly" in str(error)


async def test_a_rail_that_never_returns_times_out() -> None:
    async with running() as world:

        async def hang(_questions: Any, _report: Any) -> None:
            await asyncio.sleep(NEVER_SECONDS)

        world.rail.send = hang  # type: ignore[method-assign, assignment]
        found = await world.settle()
        assert await world.history(found) == ["validating", "locked", "in_doubt", "completed"]


async def test_undelivered_reported_twice_is_one_proof() -> None:
    async with running(sends_max=2) as world:
        told: list[int] = []

        async def twice(questions: Any, report: Any) -> None:
            told.append(len(questions))
            if len(told) > 1:
                return
            word = Answer(
                settlement_id=questions[0].settlement_id, event=Event.UNDELIVERED, attempt=1
            )
            report([word])
            report([word])

        world.rail.send = twice  # type: ignore[method-assign]
        world.rail.enquiries.extend([None] * 1_000)
        found = await world.settle(wait_seconds=0.3)
        assert found.state is State.IN_DOUBT  # the second send has no answer: it may have arrived


async def test_a_payment_taken_over_without_its_rail_is_in_doubt() -> None:
    async with running(look_interval_seconds=NEVER_SECONDS) as world:
        world.rail.sends.append(None)
        world.rail.enquiries.extend([None] * 1_000)
        found = await world.settle(wait_seconds=0.2)
        assert found.state is State.IN_DOUBT
        await world.crash()
        other = EngineWorld(world.records)
        other.engine._executor._asker._rails = {}
        other.engine._executor._decider._rails = {}
        await other.start()
        await world.until(lambda: "rail_missing" in other.meter.invariant_warnings)
        asked = world.records.open[found.id].asked
        await world.until(lambda: world.records.open[found.id].asked > asked)
        await other.crash()


# --- running --------------------------------------------------------------------------------------


async def test_two_simultaneous_reports_about_one_settlement_are_two_transitions() -> None:
    async with running() as world:
        settlement = await sent_and_silent(world)
        both = [
            Answer(settlement_id=settlement.id, event=event, attempt=1)
            for event in (Event.SETTLED, Event.REJECTED)
        ]
        batches: list[int] = []
        write = world.engine._executor._apply

        async def counted(steps: list[TransitionCommand]) -> Any:
            batches.append(len(steps))
            return await write(steps)

        world.engine._executor._apply = counted  # type: ignore[method-assign]
        world.rail.say(both)
        await world.until(lambda: world.records.histories[settlement.id].is_frozen)
        assert world.records.histories[settlement.id].state is State.COMPLETED
        assert batches == [1, 1]


async def test_a_transition_that_was_too_late_is_not_believed() -> None:
    async with running(look_interval_seconds=NEVER_SECONDS) as world:
        settlement = await sent_and_silent(world)
        taken = world.records.open[settlement.id]
        taken.engine_id, taken.fencing_token = 99, taken.fencing_token + 1
        world.records.engines[99] = type(world.records.engines[1])(
            lease_until=LoopClock().now() + timedelta(hours=1)
        )
        world.records.sessions.hold(99)
        world.rail.say([Answer(settlement_id=settlement.id, event=Event.SETTLED, attempt=1)])
        await world.until(lambda: "stale_step" in world.meter.invariant_warnings)
        found = await world.engine.wait(settlement.id, 0.05)
        assert found.state is State.LOCKED
        assert world.engine._mailbox.settlement(settlement.id) is None


async def test_callers_get_what_is_stored_and_not_the_engines_copy() -> None:
    """An engine that is cut off does not know that another one has ended its settlement."""
    async with running(look_interval_seconds=NEVER_SECONDS) as world:
        settlement = await sent_and_silent(world)
        before = world.records.histories[settlement.id]
        world.records.histories[settlement.id] = replace(before, state=State.COMPLETED, seq=9)
        assert carried(world, settlement.id).state is State.LOCKED
        again = await world.engine.settle(payment_request(), 0.0)
        assert (again.is_replay, again.state) == (True, State.COMPLETED)
        waited = await world.engine._wait(settlement.id, 0.0)
        assert waited.state is State.COMPLETED
        world.records.histories[settlement.id] = before


async def test_a_stale_transition_does_not_drop_a_settlement_that_was_claimed_again() -> None:
    async with running() as world:
        before = await sent_and_silent(world)
        mailbox = world.engine._mailbox
        anew = world.records.copy(before.id)
        written = PendingTransition(
            before, Answer(settlement_id=before.id, event=Event.NO_ANSWER, attempt=1)
        )
        assert mailbox.takes(written)
        mailbox._carried[before.id] = anew
        mailbox.hear([Answer(settlement_id=before.id, event=Event.SETTLED, attempt=1)])
        [next_one] = mailbox.give_up(written)
        assert mailbox.settlement(before.id) is anew
        assert (next_one.settlement, next_one.answer.event) == (anew, Event.SETTLED)


@pytest.mark.parametrize(
    ("result", "code"),
    [
        (Result.SHUT, RefusalCode.SETTLEMENT_WINDOW_CLOSED),
        (Result.INACTIVE, RefusalCode.INACTIVE_ACCOUNT),
    ],
)
async def test_a_payment_that_the_ledger_refuses_repeatedly_is_refused(
    result: Result, code: RefusalCode
) -> None:
    async with running() as world:
        apply, turned_down = world.store.apply, []

        async def turn_down(steps: Any, engine_id: int) -> Any:
            if steps[0].event is Event.CLEARED:
                turned_down.append(steps[0])
                return [TransitionResult(result=result, at=LoopClock().now())]
            return await apply(steps, engine_id)

        world.store.apply = turn_down  # type: ignore[method-assign]
        found = await world.settle()
        assert (found.state, found.refusal_code) == (State.FAILED, code)
        assert len(turned_down) == 4


async def test_bytes_that_expired_while_parked_are_not_sent() -> None:
    async with running(claim_interval_seconds=0.05) as world:
        world.rail.capabilities = replace(world.rail.capabilities, validity_seconds=0)
        settlement = await sent_and_silent(world)
        attempt = world.records.histories[settlement.id].attempt
        assert attempt is not None
        await world.crash()
        world.records.histories[settlement.id].attempt = msgspec.structs.replace(
            attempt, sends=1, undelivered=1
        )
        at = world.records.clock.now()
        world.records.answers[settlement.id] = {
            (settlement.seq, 1, State.LOCKED, Event.UNDELIVERED, ""): Quiet(
                attempt=1, state=State.LOCKED, event=Event.UNDELIVERED, asked=1, at=at, last_at=at
            )
        }
        parked = world.records.open[settlement.id]
        parked.engine_id, parked.due_at = 0, LoopClock().now()
        other = EngineWorld(world.records)
        await other.start()
        ended = await other.engine.wait(settlement.id, 5)
        assert (ended.state, ended.refusal_code) == (State.ROLLED_BACK, "UNDELIVERED")
        assert other.rail.asked == []
        await other.crash()


async def test_a_payment_that_waits_for_its_window_continues_when_it_opens() -> None:
    async with running(
        has_real_windows=True, is_queueing=True, windows_refresh_seconds=0.01
    ) as world:
        world.records.windows[:] = [closed_window()]
        world.engine._window_calendar.replace([closed_window()])
        queued = await world.settle(wait_seconds=0.1)
        assert queued.state is State.QUEUED
        always = Window(
            currency="EUR",
            zone="UTC",
            opens=time(0, 0),
            closes=time(0, 0),
            weekdays=frozenset(range(1, 8)),
        )
        world.records.windows[:] = [always]
        await world.until(
            lambda: world.engine._window_calendar.window_opening("EUR", LoopClock().now())
        )
        world.records.open[queued.id].due_at = LoopClock().now()
        ended = await world.engine.wait(queued.id, 5)
        assert ended.state is State.COMPLETED


# --- writing --------------------------------------------------------------------------------------


class LostAnswer:
    """A store that wrote, but whose answer was lost: it reports stale, and shows its state."""

    def __init__(self, now: Settlement, *, is_owned: bool = True) -> None:
        self.now = now
        self.is_owned = is_owned

    async def apply(self, steps: list[TransitionCommand], _owner: int) -> list[TransitionResult]:
        return [TransitionResult(result=Result.STALE, at=LoopClock().now()) for _ in steps]

    async def load(self, _ids: list[UUID]) -> dict[UUID, Settlement]:
        return {self.now.id: self.now}

    async def owned(self, _owner: int) -> set[UUID]:
        return {self.now.id} if self.is_owned else set()


@pytest.mark.parametrize(
    ("event", "state", "seq", "fencing_token", "result"),
    [
        (Event.NO_ANSWER, State.IN_DOUBT, 1, 0, Result.APPLIED),
        (Event.NO_ANSWER, State.SENT, 1, 0, Result.STALE),  # another answer was first
        (
            Event.NO_ANSWER,
            State.IN_DOUBT,
            3,
            0,
            Result.STALE,
        ),  # it has returned to this state since
        (Event.NO_ANSWER, State.IN_DOUBT, 1, 1, Result.STALE),  # another engine has it now
        (Event.UNDELIVERED, State.LOCKED, 0, 0, Result.STALE),  # no move to recognise
        (Event.UNDELIVERED, State.LOCKED, 1, 0, Result.STALE),
    ],
)
async def test_only_our_own_earlier_write_is_recognised(
    event: Event, state: State, seq: int, fencing_token: int, result: Result
) -> None:
    async with running() as world:
        believed = await sent_and_silent(world)
        now = world.records.copy(believed.id)
        now.state, now.seq = state, believed.seq + seq
        now.fencing_token = believed.fencing_token + fencing_token
        step = TransitionCommand(
            settlement=believed, event=event, transition=transition_for(State.LOCKED, event)
        )
        writer = TransitionWriter(LostAnswer(now), world.engine._lease, world.meter)  # type: ignore[arg-type]
        [outcome] = await writer.write_after(Unavailable("lost"), [step])
        assert isinstance(outcome, TransitionResult)
        assert outcome.result is result


@pytest.mark.parametrize(("is_owned", "result"), [(True, Result.APPLIED), (False, Result.STALE)])
async def test_a_simultaneous_write_of_another_engine_is_not_recognised_as_ours(
    is_owned: bool, result: Result
) -> None:
    """Otherwise both would send, and only one of the sends would be counted."""
    async with running() as world:
        believed = await sent_and_silent(world)
        now = world.records.copy(believed.id)
        now.state, now.seq = State.IN_DOUBT, believed.seq + 1
        step = TransitionCommand(
            settlement=believed,
            event=Event.NO_ANSWER,
            transition=transition_for(State.LOCKED, Event.NO_ANSWER),
        )
        store = LostAnswer(now, is_owned=is_owned)
        writer = TransitionWriter(store, world.engine._lease, world.meter)  # type: ignore[arg-type]
        [outcome] = await writer.write_after(Unavailable("lost"), [step])
        assert isinstance(outcome, TransitionResult)
        assert outcome.result is result


# --- admission and takeover -----------------------------------------------------------------------


async def test_a_settlement_admitted_with_a_lost_answer_starts_at_once() -> None:
    async with running(
        look_interval_seconds=NEVER_SECONDS, sweep_interval_seconds=NEVER_SECONDS
    ) as world:
        world.store.losses.append(("admit", "after"))
        assert (await world.settle(wait_seconds=2)).state is State.COMPLETED


@pytest.mark.parametrize("state", [State.VALIDATING, State.COMPLETED])
async def test_our_own_admission_that_was_claimed_meanwhile_is_not_started_again(
    state: State,
) -> None:
    """Its answer was lost; before it is written again, the search for lost settlements has found it."""
    async with running() as world:
        world.store.losses.append(("admit", "after"))
        mailbox, records, begun = world.engine._mailbox, world.records, []
        begin, admit = mailbox.begin, world.store.admit
        calls = 0
        if state is State.VALIDATING:
            world.screening.answers.extend([None] * 10_000)

        async def late(admissions: Any, engine_id: int) -> Any:
            nonlocal calls
            calls += 1
            if calls > 1:
                [key] = records.histories
                await world.until(lambda: records.histories[key].state is state)
                await world.until(lambda: state is State.COMPLETED or world.screening.asked)
            return await admit(admissions, engine_id)

        def noted(settlements: Any) -> None:
            begun.extend(settlements)
            begin(settlements)

        mailbox.begin = noted  # type: ignore[method-assign]
        world.store.admit = late  # type: ignore[method-assign]
        [accepted] = await world.engine.submit([payment_request()])
        assert not isinstance(accepted, Exception)
        assert (calls, accepted.is_replay) == (2, False)
        assert accepted.state is state
        assert begun == []
        assert world.screening.asked == 1 or state is State.VALIDATING
        if state is State.COMPLETED:
            assert mailbox.carried_count == 0
            assert [word for word, *_ in world.rail.asked] == ["send"]


async def test_an_admission_without_a_waiting_caller_is_found_under_the_old_engine_id() -> None:
    async with running(look_interval_seconds=NEVER_SECONDS) as world:
        world.store.losses.extend([("admit", "after"), *[("admit", "before")] * 1_000])
        with pytest.raises(Unavailable):
            await world.engine.settle(payment_request(), 5)
        world.store.losses.clear()
        [settlement_id] = world.records.histories
        assert (await world.engine.wait(settlement_id, 5)).state is State.COMPLETED


async def test_a_replay_of_a_parked_settlement_sends_no_request() -> None:
    async with running() as world:
        world.screening.answers.append(Event.PARKED)
        held = await world.settle(wait_seconds=0.1)
        again = await world.settle(wait_seconds=0.1)
        assert (held.state, again.state, again.id) == (State.HELD, State.HELD, held.id)
        assert world.screening.asked == 1
        assert world.engine._mailbox.settlement(held.id) is None


async def test_claims_of_the_old_engine_id_are_not_carried_under_the_new_one() -> None:
    async with running(
        look_interval_seconds=NEVER_SECONDS, claim_interval_seconds=NEVER_SECONDS
    ) as world:
        settlement = await sent_and_silent(world)
        world.engine._mailbox.drop_all()
        claim = Claimed(settlement=world.records.copy(settlement.id), was_asked=True)

        async def renumbered(_owner: int, _limit: int, *, is_sweep: bool = False) -> list[Claimed]:
            world.engine._lease.engine_id += 1
            return [claim]

        world.store.claim = renumbered  # type: ignore[method-assign, assignment]
        assert await world.engine._takeover.claim(is_sweep=True) == 0
        assert world.engine._mailbox.settlement(settlement.id) is None


async def test_an_engine_that_carries_all_it_may_claims_nothing() -> None:
    async with running(open_max=1, claim_interval_seconds=NEVER_SECONDS) as world:
        await sent_and_silent(world)
        limits: list[int] = []

        async def claim(_owner: int, limit: int, *, is_sweep: bool = False) -> list[Claimed]:
            limits.append(limit)
            return []

        world.store.claim = claim  # type: ignore[method-assign, assignment]
        assert await world.engine._takeover.claim(is_sweep=True) == 0
        assert limits == []


# --- lease ----------------------------------------------------------------------------------------


async def test_an_engine_that_was_declared_gone_forgets_what_it_carried() -> None:
    async with running(claim_interval_seconds=NEVER_SECONDS) as world:
        settlement = await sent_and_silent(world)
        before = world.engine._lease.engine_id
        world.records.engines[before].is_gone = True
        await world.until(lambda: world.engine._lease.engine_id != before)
        assert world.engine._mailbox.settlement(settlement.id) is None


async def test_an_abandoned_engine_id_is_given_back_and_a_new_one_taken() -> None:
    async with running() as world:
        before = world.engine._lease.engine_id
        world.engine._lease.renounce()
        await world.until(lambda: world.engine._lease.engine_id != before)
        assert world.records.engines[before].is_gone


async def test_the_time_is_the_databases_and_not_our_own() -> None:
    async with running() as world:
        far = datetime(2040, 1, 1, tzinfo=UTC)
        world.engine._lease.saw(far)
        assert timedelta(0) <= world.engine._lease.now() - far < timedelta(minutes=1)


async def test_a_deactivated_account_is_looked_up_again() -> None:
    async with running() as world:
        assert (await world.settle("k1")).state is State.COMPLETED
        first = await world.nostro()
        spec = AccountSpec(
            kind=AccountKind.NOSTRO,
            bank="AAA",
            currency="EUR",
            account_number="second",
            credit_limit=1_000,
            caller="test",
            idempotency_key="",
        )
        second = await world.accounts.open_account(spec)
        await world.accounts.set_active(first.id, is_active=False)
        found = await world.settle("k2")
        assert found.state is State.COMPLETED
        assert found.attempt is not None
        assert found.attempt.route.source_id == second.id


async def test_a_payment_that_the_rail_may_have_cannot_be_cancelled() -> None:
    async with running() as world:
        settlement = await sent_and_silent(world)
        with pytest.raises(WrongState, match="locked cannot be cancelled"):
            await world.engine.cancel(settlement.id)
