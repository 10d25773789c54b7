"""What follows when a settlement is taken over: its owner is gone, or its wait is over.

Promises: a crash counts as a question without a response; everything else continues with the question of its
state. Must never: send again what an engine that is gone may have sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from settlement_engine.domain.decisions.resending import is_too_late_to_send
from settlement_engine.domain.lifecycle import QUESTION, Event, State

if TYPE_CHECKING:
    from datetime import datetime

    from settlement_engine.domain.decisions.resending import SendingRules
    from settlement_engine.domain.settlement import Settlement


class TakenOver(NamedTuple):
    """How a claimed settlement goes on: by an event, by its question, or not at all."""

    event: Event | None = None
    asks: bool = False


def decide_taken_over(
    settlement: Settlement, rules: SendingRules | None, now: datetime, *, was_asked: bool
) -> TakenOver:
    """Choose how a claimed settlement goes on.

    ``was_asked`` says that an engine that is gone may have asked its question. A settlement that is neither
    queued nor has a question ended or was parked between the claim and the read: there is nothing to do.
    """
    state, attempt = settlement.state, settlement.attempt
    if state is State.QUEUED:
        return TakenOver(Event.RELEASED)
    if state not in QUESTION:
        return TakenOver()
    if state is not State.LOCKED or attempt is None:
        return TakenOver(asks=True)
    if was_asked:
        return TakenOver(Event.NO_ANSWER)
    if is_too_late_to_send(attempt, rules, now):
        return TakenOver(Event.UNDELIVERED)
    return TakenOver(asks=True)
