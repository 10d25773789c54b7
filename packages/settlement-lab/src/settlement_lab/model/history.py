"""What the engine decides: the state machine and the real decider are called, and their results are kept.

Promises: no rule of the state machine is written here a second time. Each belief with each answer is
given to ``engine.decider.Decider`` once; the result is a ``Decision``, with which the model check goes
on. Only the answers of screening are looked up in the state machine directly: they need accounts, and the
model has none.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from random import Random
from typing import TYPE_CHECKING, Final, NamedTuple, cast
from uuid import UUID

from settlement_engine.domain import lifecycle
from settlement_engine.domain.identifiers import references
from settlement_engine.domain.lifecycle import ENDS, Ask, Do, Event, State, Transition
from settlement_engine.domain.money import Money
from settlement_engine.domain.returns import StatedAmount
from settlement_engine.domain.settlement import (
    FIRST_ATTEMPT,
    Attempt,
    Instruction,
    Priority,
    Route,
    Settlement,
)
from settlement_engine.engine import decider
from settlement_engine.engine.settings import EngineSettings
from settlement_engine.ports import Answer

if TYPE_CHECKING:
    from settlement_engine.engine.directory import Directory
    from settlement_engine.engine.router import Router
    from settlement_engine.ports import SendRail, TransitionCommand
    from settlement_lab.model.rails import ModelRail

SENDS_MAX: Final = 2
"""How many undelivered sends the model's engine allows for an attempt."""

SCREENED: Final = frozenset({Event.ADMITTED, Event.CLEARED, Event.POSTPONED, Event.REFUSED})
"""Events for which only the state machine is consulted: their preconditions are accounts and windows."""

_ID: Final = UUID(int=1)
_REQUEST: Final = Instruction(
    caller="caller",
    idempotency_key="key",
    obligation_id="obligation",
    from_bank="AAAADEFF",
    to_bank="BBBBDEFF",
    amount=Money(100, "EUR"),
    value_date=None,
    priority=Priority.NORMAL,
    metadata={},
)
_OTHER_AMOUNT: Final = StatedAmount(minor=99)
_ROUTE: Final = Route(rail="rail", source_id=1, agent_id=2, clearing_id=3, target_id=4)


class Belief(NamedTuple):
    """What a worker believes about the settlement, as far as decisions depend on it."""

    state: State
    sends: int
    undelivered: int


class ModelDecision(NamedTuple):
    """A step: the transition that applies, and who owns the settlement after it."""

    before: State
    event: Event
    transition: Transition
    is_move: bool
    is_parked: bool  # nobody owns it afterwards
    is_stale_send: bool  # it sends bytes again that are no longer valid


class ModelEngine:
    """Returns what the real engine decides, for one rail."""

    def __init__(self, rail: ModelRail) -> None:
        self._rail = rail
        self._known: dict[tuple[Belief, Event, int], ModelDecision | None] = {}
        self._decider = decider.Decider(
            EngineSettings(sends_max=SENDS_MAX),
            {_ROUTE.rail: cast("SendRail", rail)},
            cast("Directory", None),
            cast("Router", None),
            Random(0),
        )

    def decide(self, belief: Belief, event: Event, phase: int) -> ModelDecision | None:
        """Return the step that follows from a belief and an answer; None if the answer is not new."""
        key = (belief, event, phase)
        if key not in self._known:
            self._known[key] = self._decide(belief, event, phase)
        return self._known[key]

    def _decide(self, belief: Belief, event: Event, phase: int) -> ModelDecision | None:
        if event in SCREENED:
            transition = lifecycle.TRANSITIONS[belief.state].get(event)
            return (
                None
                if transition is None
                else _decision(belief.state, event, transition, is_late=False)
            )
        settlement = self._settlement(belief)
        number = settlement.attempt.number if settlement.attempt else 0
        answer = Answer(settlement_id=_ID, event=event, attempt=number)
        if event is Event.AMOUNT_DIFFERED:
            if belief.state not in lifecycle.HOLDING:
                return None  # after a final state it is a contradiction, which changes no state
            answer = Answer(
                settlement_id=_ID, event=Event.SETTLED, attempt=number, stated=_OTHER_AMOUNT
            )
        now = self._rail.now(phase)
        step = self._decider.decide(settlement, answer, now)
        if step is None:
            return None
        return _of_step(step, is_late=now >= self._rail.valid_until)

    def _settlement(self, belief: Belief) -> Settlement:
        attempt = None
        if belief.sends:
            attempt = Attempt(
                number=FIRST_ATTEMPT,
                route=_ROUTE,
                references=references(_REQUEST.caller, _REQUEST.idempotency_key, FIRST_ATTEMPT),
                payload=b"",
                recorded_at=self._rail.recorded_at,
                valid_until=self._rail.valid_until,
                sends=belief.sends,
                undelivered=belief.undelivered,
            )
        return Settlement(
            id=_ID,
            instruction=_REQUEST,
            state=belief.state,
            seq=1,
            fencing_token=1,
            created_at=self._rail.recorded_at,
            value_date=date(2026, 1, 5),
            ended_at=datetime(2026, 1, 5, 9, tzinfo=UTC) if belief.state in ENDS else None,
            attempt=attempt,
        )

    def is_too_late(self, belief: Belief, phase: int) -> bool:
        """Return whether a send may no longer leave, as the dispatcher checks before it sends again."""
        attempt = self._settlement(belief).attempt
        assert attempt is not None, "what is sent was locked"
        return self._decider.is_too_late_to_send(attempt, self._rail.now(phase))

    def takes(self, question: Ask) -> bool:
        """Return whether the rail offers this kind of request."""
        return question in self._rail.asks

    def clocks(self, phase: int) -> frozenset[int]:
        """Return the phases that an engine's clock may show: just after a boundary it may be late.

        The time for which a bank promises to recognise a resend is recorded with a margin for that.
        """
        is_behind = phase > 0 and phase != self._rail.forgets_in
        return frozenset({phase, phase - 1} if is_behind else {phase})

    def taken_over(self, decision: ModelDecision) -> ModelDecision:
        """Return the decision for an engine that has just claimed the settlement: it goes on at once."""
        is_ending = decision.transition.state in ENDS
        return decision._replace(is_parked=decision.is_parked and is_ending)

    def hears_foreign(self, belief: Belief, event: Event) -> bool:
        """Return whether a report about another attempt than the present one is believed."""
        answer = Answer(settlement_id=_ID, event=event, attempt=FIRST_ATTEMPT + 1)
        settlement = self._settlement(belief)
        return self._decider.decide(settlement, answer, self._rail.now(0)) is not None


def _of_step(step: TransitionCommand, *, is_late: bool) -> ModelDecision:
    before = step.settlement.state
    made = _decision(before, step.event, step.transition, is_late=is_late)
    return made._replace(is_parked=step.due_seconds is not None)


def _decision(
    before: State, event: Event, transition: Transition, *, is_late: bool
) -> ModelDecision:
    return ModelDecision(
        before,
        event,
        transition,
        lifecycle.is_recorded(before, transition),
        transition.state not in lifecycle.QUESTION and transition.state not in ENDS,
        is_late and transition.ask is Ask.SEND and transition.do is not Do.LOCK,
    )
