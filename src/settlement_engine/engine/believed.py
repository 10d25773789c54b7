"""Updates the settlement in memory after a transition was written to the store.

Promises: the settlement in memory has exactly the fields that were written; it is called once for each applied
transition. Must never: be called before the commit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from settlement_engine.domain.covers import COVER_SHA256
from settlement_engine.domain.lifecycle import (
    ENDS,
    Ask,
    Do,
    Event,
    is_recorded,
    is_repeated_question,
)

if TYPE_CHECKING:
    from datetime import datetime

    from settlement_engine.ports import TransitionCommand


def believe(step: TransitionCommand, at: datetime) -> None:
    """Apply to the settlement in memory what a transition has changed, at the database's time."""
    settlement, transition = step.settlement, step.transition
    if is_recorded(settlement.state, transition):
        settlement.seq += 1
        settlement.asked = settlement.asked + 1 if is_repeated_question(transition) else 0
    else:
        settlement.asked += 1
    if step.attempt is not None:
        settlement.recorded = None  # this process wrote the bytes and keeps them in memory
    attempt = step.attempt or settlement.attempt
    is_sent_again = step.event is Event.NOT_FOUND and transition.ask is Ask.SEND
    if attempt is not None and (is_sent_again or transition.do is Do.COVER):
        attempt = msgspec.structs.replace(attempt, sends=attempt.sends + 1)
    settlement.attempt = attempt
    settlement.state = transition.state
    settlement.cover_due = step.detail[COVER_SHA256] if step.event is Event.COVER_DUE else ""
    settlement.rail_reference = step.rail_reference or settlement.rail_reference
    settlement.confirmation = step.confirmation or settlement.confirmation
    settlement.is_frozen = settlement.is_frozen or transition.do in (Do.EXCEPT, Do.SUSPEND)
    if step.back is not None:
        settlement.returns = (*settlement.returns, step.back)
    if step.refusal is not None:
        settlement.refusal_code = step.refusal.code.value
        settlement.refusal_detail = step.refusal.detail
    if transition.state in ENDS:
        settlement.ended_at = settlement.ended_at or at
