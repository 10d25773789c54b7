"""The executor: what is believed was written, and one settlement in trouble stops no other."""

from __future__ import annotations

from typing import Any
from unittest.mock import AsyncMock, Mock
from uuid import UUID

import pytest

from settlement_engine.domain.lifecycle import TRANSITIONS, Event, State
from settlement_engine.engine.executor import Executor
from settlement_engine.engine.mailbox import PendingTransition
from settlement_engine.engine.settings import EngineSettings
from settlement_engine.errors import InvariantViolated
from settlement_engine.ports import Result, TransitionCommand, TransitionResult
from tests.support.decided import NOW, answer, settlement


class Fixture:
    """An executor among parts that are made up."""

    def __init__(self) -> None:
        self.results: list[Result] = []
        self.store = Mock(apply=AsyncMock(side_effect=self._apply))
        self.meter, self.inbound, self.asker = Mock(), Mock(), Mock()
        self.waiting, self.notifier, self.unbookable = Mock(), Mock(), Mock()
        self.mailbox = Mock(carried_count=0)
        self.mailbox.finish.return_value = self.mailbox.give_up.return_value = []

        async def reach(call: Any) -> Any:
            return await call()

        lease = Mock(engine_id=1, until_reached=reach, pause=AsyncMock())
        lease.now.return_value, lease.monotonic.return_value = NOW, 0.0
        self.decider = Mock(prefetch=AsyncMock(return_value=[]))
        self.decider.decide.side_effect = lambda each, said, *_: step(each, said.event)
        self.executor = Executor(
            EngineSettings(has_real_windows=False),
            self.store,
            mailbox=self.mailbox,
            lease=lease,
            decider=self.decider,
            asker=self.asker,
            integrity=Mock(),
            waiting=self.waiting,
            notifier=self.notifier,
            inbound=self.inbound,
            meter=self.meter,
            unbookable=self.unbookable,
        )

    async def _apply(self, steps: Any, _owner: int) -> list[TransitionResult]:
        told = self.results or [Result.APPLIED] * len(steps)
        return [TransitionResult(result=result, at=NOW) for result in told]


@pytest.fixture
def made() -> Fixture:
    return Fixture()


def step(each: Any, event: Event, **given: Any) -> TransitionCommand:
    return TransitionCommand(
        settlement=each, event=event, transition=TRANSITIONS[each.state][event], **given
    )


def pending(event: Event, number: int = 1, **said: Any) -> PendingTransition:
    return PendingTransition(settlement(State.LOCKED, id=UUID(int=number)), answer(event, **said))


async def test_an_end_is_told_to_whoever_waits_and_asks_nothing_more(made: Fixture) -> None:
    ended = pending(Event.SETTLED)
    await made.executor._write([ended])
    assert (ended.settlement.state, ended.settlement.ended_at) == (State.COMPLETED, NOW)
    made.mailbox.let_go.assert_called_once_with(ended.settlement)
    made.waiting.ended.assert_called_once_with(ended.settlement)
    made.asker.ask.assert_not_called()
    made.notifier.notify.assert_called_once_with()


async def test_what_goes_on_is_asked_about_after_the_commit(made: Fixture) -> None:
    doubted = pending(Event.NO_ANSWER)
    made.asker.ask.side_effect = lambda _: made.store.apply.assert_awaited_once()
    await made.executor._write([doubted])
    assert doubted.settlement.state is State.IN_DOUBT
    made.asker.ask.assert_called_once_with([doubted.settlement])
    made.mailbox.carry.assert_called_once_with(doubted.settlement)


async def test_what_rests_is_carried_no_longer_and_not_asked_about(made: Fixture) -> None:
    made.decider.decide.side_effect = lambda each, said, *_: step(each, said.event, due_seconds=5.0)
    parked = pending(Event.NO_ANSWER)
    await made.executor._write([parked])
    made.mailbox.let_go.assert_called_once_with(parked.settlement)
    made.asker.ask.assert_not_called()


async def test_after_a_takeover_the_question_is_put_at_once(made: Fixture) -> None:
    made.decider.decide.side_effect = lambda each, said, *_: step(each, said.event, due_seconds=5.0)
    taken = pending(Event.NO_ANSWER)
    taken.is_takeover = True
    await made.executor._write([taken])
    made.asker.ask.assert_called_once_with([taken.settlement])


async def test_what_is_stale_is_not_believed(made: Fixture) -> None:
    made.results = [Result.STALE, Result.APPLIED]
    stale, other = pending(Event.SETTLED), pending(Event.SETTLED, 2)
    await made.executor._write([stale, other])
    assert stale.settlement.state is State.LOCKED
    assert other.settlement.state is State.COMPLETED
    made.meter.invariant_warning.assert_called_once_with("stale_step")
    made.inbound.turned_stale.assert_called_once_with(stale.answer, stale.settlement)
    made.mailbox.give_up.assert_called_once_with(stale)


async def test_one_that_cannot_be_decided_is_set_aside_and_the_others_go_on(made: Fixture) -> None:
    broken, other = pending(Event.SETTLED), pending(Event.SETTLED, 2)
    error = RuntimeError("bug")
    made.decider.decide.side_effect = [error, step(other.settlement, Event.SETTLED)]
    await made.executor._write([broken, other])
    made.unbookable.set_aside.assert_called_once_with(broken, error)
    assert other.settlement.state is State.COMPLETED


async def test_without_their_accounts_only_those_that_need_them_wait(made: Fixture) -> None:
    error = InvariantViolated("broken")
    made.decider.prefetch.side_effect = error
    screened = PendingTransition(
        settlement(State.VALIDATING, id=UUID(int=2)), answer(Event.CLEARED, attempt=0)
    )
    other = pending(Event.SETTLED)
    await made.executor._write([screened, other])
    made.unbookable.set_aside.assert_called_once_with(screened, error)
    assert other.settlement.state is State.COMPLETED


async def test_each_screened_settlement_is_given_its_own_route(made: Fixture) -> None:
    batch = [
        PendingTransition(
            settlement(State.VALIDATING, id=UUID(int=number)), answer(Event.CLEARED, attempt=0)
        )
        for number in (1, 2)
    ]
    routes = [Mock(), Mock()]
    made.decider.prefetch.return_value = routes
    await made.executor._write(batch)
    assert [each.route for each in batch] == routes


async def test_an_answer_that_says_nothing_new_frees_the_slot(made: Fixture) -> None:
    made.decider.decide.side_effect = lambda *_: None
    idle = pending(Event.SETTLED, report_id=7)
    await made.executor._write([idle])
    made.inbound.decided.assert_called_once_with(idle.answer, is_applied=False)
    made.mailbox.finish.assert_called_once_with(idle)
    made.store.apply.assert_not_awaited()
