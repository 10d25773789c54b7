"""What screening said, together with our own preconditions: refused, postponed or cleared.

Promises: our own refusals come first, in their order of precedence; a refusal by screening without a reason is
still a refusal. Must never: hold funds while the window is closed or the bank's lane has no room for the send.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from settlement_engine.domain.decisions.chosen import ChosenEvent
from settlement_engine.domain.lifecycle import Event
from settlement_engine.domain.preconditions import Refusal, RefusalCode

if TYPE_CHECKING:
    from settlement_engine.domain.answer import Answer

SCREENED: Final = frozenset({Event.CLEARED, Event.REFUSED})
"""The answers of screening after which our own preconditions are checked."""


def decide_screened(answer: Answer, ours: Refusal | None, *, may_lock_now: bool) -> ChosenEvent:
    """Choose the event when screening has cleared or refused the settlement.

    ``ours`` is the first of our own refusals; ``may_lock_now`` says that the funds can be held without waiting.
    """
    refusal = ours or answer.refusal
    if refusal is None and answer.event is Event.REFUSED:
        refusal = Refusal(code=RefusalCode.COMPLIANCE_BLOCKED)
    if refusal is not None:
        return ChosenEvent(Event.REFUSED, refusal=refusal)
    return ChosenEvent(Event.CLEARED if may_lock_now else Event.POSTPONED)
