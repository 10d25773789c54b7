"""The look-ups: only what needs one is looked up, and what cannot be is set aside alone."""

from __future__ import annotations

from typing import Any
from unittest.mock import AsyncMock, Mock
from uuid import UUID

import pytest

from settlement_engine.domain.compensation import Compensation
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.returns import StatedAmount
from settlement_engine.engine.lookups import Lookups
from settlement_engine.engine.mailbox import PendingTransition
from settlement_engine.errors import InvariantViolated
from tests.support.decided import answer, moved, settlement
from tests.support.histories import payment_request


class Fixture:
    """Look-ups over a store and accounts that are made up."""

    def __init__(self) -> None:
        self.store, self.decider, self.set_aside = Mock(), Mock(), Mock()
        self.store.history = AsyncMock(return_value=[])
        self.store.load = AsyncMock(return_value={})
        self.decider.prefetch_suspense = AsyncMock()
        self.decider.prefetch_fees = AsyncMock()

        async def reach(call: Any) -> Any:
            return await call()

        lease = Mock(until_reached=reach)
        self.lookups = Lookups(self.store, self.decider, lease, self.set_aside)


@pytest.fixture
def made() -> Fixture:
    return Fixture()


def pending(state: State, event: Event, number: int = 1, **said: Any) -> PendingTransition:
    return PendingTransition(settlement(state, id=UUID(int=number)), answer(event, **said))


async def test_an_ordinary_answer_needs_nothing(made: Fixture) -> None:
    batch = [pending(State.LOCKED, Event.SETTLED)]
    for look_up in (
        made.lookups.read_histories,
        made.lookups.find_suspense,
        made.lookups.find_fees,
    ):
        assert await look_up(batch) == batch
    made.store.history.assert_not_called()
    made.decider.prefetch_suspense.assert_not_called()
    made.decider.prefetch_fees.assert_not_called()


async def test_what_two_people_have_released_is_cleared_and_keeps_its_history(
    made: Fixture,
) -> None:
    history = [
        moved(State.VALIDATING, Event.PARKED, State.HELD, code="REVIEW"),
        moved(State.HELD, Event.APPROVED, State.VALIDATING),
    ]
    made.store.history.return_value = history
    parked = pending(State.VALIDATING, Event.PARKED, attempt=0, code="REVIEW")
    [kept] = await made.lookups.read_histories([parked])
    assert kept.answer.event is Event.CLEARED
    assert kept.history == tuple(history)


async def test_a_history_that_cannot_be_read_stops_only_its_own_settlement(made: Fixture) -> None:
    broken = InvariantViolated("broken")
    made.store.history.side_effect = broken
    recalled = pending(State.RECALLING, Event.RECALLED)
    other = pending(State.LOCKED, Event.SETTLED, 2)
    assert await made.lookups.read_histories([recalled, other]) == [other]
    made.set_aside.assert_called_once_with(recalled, broken)


async def test_charges_of_a_return_need_their_account_and_only_they(made: Fixture) -> None:
    stated = StatedAmount(charges_minor=5)
    charged = pending(State.COMPLETED, Event.RETURNED, stated=stated)
    whole = pending(State.COMPLETED, Event.RETURNED, 2)
    assert await made.lookups.find_fees([charged, whole]) == [charged, whole]
    made.decider.prefetch_fees.assert_awaited_once_with([charged.settlement])


async def test_an_account_that_cannot_be_found_stops_only_what_needs_it(made: Fixture) -> None:
    broken = InvariantViolated("broken")
    made.decider.prefetch_fees.side_effect = broken
    charged = pending(State.COMPLETED, Event.RETURNED, stated=StatedAmount(charges_minor=5))
    other = pending(State.LOCKED, Event.SETTLED, 2)
    assert await made.lookups.find_fees([charged, other]) == [other]
    made.set_aside.assert_called_once_with(charged, broken)


COMPENSATED_ID = UUID(int=77)
RELEASED = [
    moved(State.VALIDATING, Event.PARKED, State.HELD, code="COMPENSATION"),
    moved(State.HELD, Event.APPROVED, State.VALIDATING),
]


def compensating(number: int = 1) -> PendingTransition:
    instruction = payment_request(compensates=COMPENSATED_ID)
    screened = settlement(State.VALIDATING, id=UUID(int=number), instruction=instruction)
    return PendingTransition(screened, answer(Event.CLEARED, attempt=0))


async def test_a_compensation_that_nobody_has_released_is_parked_without_a_look(
    made: Fixture,
) -> None:
    [kept] = await made.lookups.read_histories([compensating()])
    assert kept.answer.event is Event.PARKED
    made.store.load.assert_not_called()


async def test_a_released_compensation_is_compared_with_what_it_compensates(made: Fixture) -> None:
    made.store.history.return_value = RELEASED
    completed = settlement(State.COMPLETED, id=COMPENSATED_ID)
    made.store.load.return_value = {COMPENSATED_ID: completed}
    batch = [compensating(), compensating(2)]
    assert await made.lookups.read_histories(batch) == batch
    assert [each.answer.event for each in batch] == [Event.CLEARED, Event.CLEARED]
    made.store.load.assert_awaited_once_with([COMPENSATED_ID])
    made.store.load.return_value = {}
    [refused] = await made.lookups.read_histories([compensating()])
    assert refused.answer.event is Event.REFUSED


async def test_a_compensated_record_that_cannot_be_read_stops_only_its_compensation(
    made: Fixture,
) -> None:
    made.store.history.return_value = RELEASED
    broken = InvariantViolated("broken")
    completed = {COMPENSATED_ID: settlement(State.COMPLETED, id=COMPENSATED_ID)}
    made.store.load.side_effect = [broken, broken, completed]
    first, second = compensating(), compensating(2)
    other = pending(State.LOCKED, Event.SETTLED, 3)
    assert await made.lookups.read_histories([first, other, second]) == [other, second]
    made.set_aside.assert_called_once_with(first, broken)


async def test_what_compensates_is_read_again_after_a_return_was_turned_down(made: Fixture) -> None:
    compensation = Compensation(settlement_id=UUID(int=3), state=State.LOCKED, amount_minor=1)
    fresh = settlement(State.COMPLETED, id=UUID(int=1), compensations=(compensation,))
    made.store.load.return_value = {UUID(int=1): fresh}
    first = pending(State.COMPLETED, Event.RETURNED)
    assert await made.lookups.read_histories([first]) == [first]
    made.store.load.assert_not_called()
    first.repeats = 1
    assert await made.lookups.read_histories([first]) == [first]
    assert first.settlement.compensations == (compensation,)
    broken = InvariantViolated("broken")
    made.store.load.side_effect = broken
    other = pending(State.COMPLETED, Event.RETURNED, 2)
    assert await made.lookups.read_histories([first, other]) == [other]
    made.set_aside.assert_called_once_with(first, broken)
