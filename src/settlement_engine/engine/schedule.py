"""The schedule: for how long a settlement is parked until due, after an answer was decided.

Promises: a state that waits for a person is parked without end; a question that is repeated is asked less and less
often, by the rail's own schedule for the state if it has one. Must never: choose an event.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from settlement_engine.domain.lifecycle import (
    ENDS,
    HOLDING,
    QUESTION,
    Ask,
    Do,
    Event,
    State,
    transition_for,
)
from settlement_engine.domain.routing import RouteReason
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


WAITS: Final = {
    RouteReason.LANE_FULL: "the queue of this bank's lane is full",
    RouteReason.STOPPED_BY_OPERATOR: "a person has stopped sending to this bank",
}
"""Why a settlement waits without a hold."""


class EnquirySchedule:
    """See the module."""

    def __init__(
        self, settings: EngineSettings, rails: Mapping[str, SendRail], chance: Random
    ) -> None:
        self._settings = settings
        self._rails = rails
        self._chance = chance

    def due_seconds(self, settlement: Settlement, event: Event) -> float | None:
        """Return for how many seconds an open settlement is parked; None: its question is asked now."""
        transition = transition_for(settlement.state, event)
        assert transition.state not in ENDS, "what has ended is asked nothing"
        spread = self._chance.random()
        if transition.state is State.HELD:
            return math.inf
        if transition.do is Do.COVER:
            return (
                None  # the cover is sent at once, by the process that has recorded its send intent
            )
        if transition.ask is Ask.ENQUIRE and not self._takes_enquiries(settlement):
            # The bank takes no enquiries: its own message arrives, or people resolve it. A due time is set
            # all the same, because a settlement without one counts as forgotten.
            return self._settings.no_enquiry_due_seconds
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
        """Say whether the bank takes enquiries; a rail that was removed may come back, so it counts too."""
        attempt = settlement.attempt
        rail = self._rails.get(attempt.route.rail) if attempt is not None else None
        return rail is None or Ask.ENQUIRE in rail.capabilities.asks

    def _enquiry(self, settlement: Settlement, state: State) -> Backoff:
        """Return the enquiry schedule for a state: the rail's own, or the engine's."""
        attempt = settlement.attempt
        rail = self._rails.get(attempt.route.rail) if attempt is not None else None
        own = rail.capabilities.enquiry.get(state) if rail is not None else None
        return own or self._settings.enquiry

    def until_lane_has_room(
        self, settlement: Settlement, route: RouteDecision
    ) -> TransitionCommand:
        """Return the transition that parks it, without a hold: its lane is full, or was stopped by a person."""
        assert route.waits_for is not None, "what waits has a reason"
        wait = self._settings.full_lane.seconds(settlement.asked + 1, self._chance.random())
        return TransitionCommand(
            settlement=settlement,
            event=Event.POSTPONED,
            transition=transition_for(settlement.state, Event.POSTPONED),
            due_seconds=wait,
            detail={
                "rail": route.rail,
                "text": WAITS[route.waits_for],
                **route.words(),
            },
        )


def until_window_opens(
    settlement: Settlement, route: RouteDecision, now: datetime
) -> TransitionCommand:
    """Return the transition that parks it until the window of its rail opens."""
    assert route.opens_at is not None, "what waits has a time to wait for"
    return TransitionCommand(
        settlement=settlement,
        event=Event.POSTPONED,
        transition=transition_for(settlement.state, Event.POSTPONED),
        due_seconds=max((route.opens_at - now).total_seconds(), 0.0),
        detail={"rail": route.rail, "next_opening": route.opens_at.isoformat(), **route.words()},
    )
