"""The schedule: how long nobody asks about a settlement, once an answer was decided on.

Promises: a state that waits for a person rests without end, and a question that is put again is put ever
more seldom, by the rail's own schedule for the state where it has one. It decides no event.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from settlement_engine.domain.lifecycle import (
    ENDS,
    HOLDING,
    QUESTION,
    Ask,
    Event,
    State,
    transition_for,
)
from settlement_engine.ports import TransitionCommand

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from random import Random

    from settlement_engine.domain.backoff import Backoff
    from settlement_engine.domain.routing import RouteDecision
    from settlement_engine.domain.settlement import Settlement
    from settlement_engine.engine.settings import EngineSettings
    from settlement_engine.ports import SendRail


class EnquirySchedule:
    """See the module."""

    def __init__(
        self, settings: EngineSettings, rails: Mapping[str, SendRail], chance: Random
    ) -> None:
        self._settings = settings
        self._rails = rails
        self._chance = chance

    def due_seconds(self, settlement: Settlement, event: Event) -> float | None:
        """Say how long nobody asks: None means that the question is put at once."""
        transition = transition_for(settlement.state, event)
        spread = self._chance.random()
        if transition.state in ENDS:
            return None
        if transition.state is State.HELD:
            return math.inf
        if transition.ask is Ask.ENQUIRE and not self._takes_enquiries(settlement):
            return math.inf  # nobody can be asked: the bank's own message comes, or people find out
        if transition.state is settlement.state:
            waits = {Ask.SEND: self._settings.resend, Ask.SCREEN: self._settings.screening}
            backoff = waits.get(QUESTION[transition.state]) or self._enquiry(
                settlement, transition.state
            )
            return backoff.seconds(settlement.asked + 1, spread)
        if transition.ask is Ask.ENQUIRE and settlement.state in HOLDING:
            return self._enquiry(settlement, transition.state).seconds(settlement.asked + 1, spread)
        return None

    def _takes_enquiries(self, settlement: Settlement) -> bool:
        """Say whether the bank can be asked about the payment; a rail that is gone may come back."""
        attempt = settlement.attempt
        rail = self._rails.get(attempt.route.rail) if attempt is not None else None
        return rail is None or Ask.ENQUIRE in rail.capabilities.asks

    def _enquiry(self, settlement: Settlement, state: State) -> Backoff:
        """Return how often is asked about a payment in this state: the rail's own schedule, or ours."""
        attempt = settlement.attempt
        rail = self._rails.get(attempt.route.rail) if attempt is not None else None
        own = rail.capabilities.enquiry.get(state) if rail is not None else None
        return own or self._settings.enquiry

    def until_lane_has_room(
        self, settlement: Settlement, route: RouteDecision
    ) -> TransitionCommand:
        """Let it wait before its funds are held: more wait for this bank than may."""
        wait = self._settings.full_lane.seconds(settlement.asked + 1, self._chance.random())
        return TransitionCommand(
            settlement=settlement,
            event=Event.POSTPONED,
            transition=transition_for(settlement.state, Event.POSTPONED),
            due_seconds=wait,
            detail={
                "rail": route.rail,
                "text": "more payments wait for this bank than may",
                **route.words(),
            },
        )


def until_window_opens(
    settlement: Settlement, route: RouteDecision, now: datetime
) -> TransitionCommand:
    """Let it wait for the window of its rail."""
    assert route.opens_at is not None, "what waits has a time to wait for"
    return TransitionCommand(
        settlement=settlement,
        event=Event.POSTPONED,
        transition=transition_for(settlement.state, Event.POSTPONED),
        due_seconds=max((route.opens_at - now).total_seconds(), 0.0),
        detail={"rail": route.rail, "next_opening": route.opens_at.isoformat(), **route.words()},
    )
