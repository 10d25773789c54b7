"""What screening said, together with our own preconditions: refused, postponed or cleared.

Promises: our own refusals come first, in their order of precedence; a no without a reason is a no; funds
are held only where the window is open and the bank's lane has room for the send.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from settlement_engine.domain.decisions.chosen import ChosenEvent
from settlement_engine.domain.lifecycle import Event
from settlement_engine.domain.preconditions import Refusal, RefusalCode

if TYPE_CHECKING:
    from settlement_engine.domain.answer import Answer

SCREENED: Final = frozenset({Event.CLEARED, Event.REFUSED})
"""Answers of screening after which our own preconditions are looked at."""


def decide_screened(answer: Answer, ours: Refusal | None, *, may_lock_now: bool) -> ChosenEvent:
    """Choose what follows when screening has said yes or no.

    ``ours`` is the first of our own refusals; ``may_lock_now`` says that nothing has to be waited for.
    """
    refusal = ours or answer.refusal
    if refusal is None and answer.event is Event.REFUSED:
        refusal = Refusal(code=RefusalCode.COMPLIANCE_BLOCKED)
    if refusal is not None:
        return ChosenEvent(Event.REFUSED, refusal=refusal)
    return ChosenEvent(Event.CLEARED if may_lock_now else Event.POSTPONED)
