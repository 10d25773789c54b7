"""Answers that mean something else after another history, and what has to be read to decide on them.

Promises: what two people have released is not parked again for the same reason; a recall says truly who
asked for it. Hardly any answer needs the history, and only those that do are named here.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.preconditions import RefusalCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from settlement_engine.domain.answer import Answer
    from settlement_engine.domain.settlement import Moved, Settlement

FIRST_SEQ: Final = 1
"""The transition that admits. What is screened at a later one was parked, or waited in between."""


DEPENDS_ON_HISTORY: Final = frozenset({Event.PARKED, Event.RECALLED})
"""No other answer means something else after another history."""


def needs_history(settlement: Settlement, answer: Answer) -> bool:
    """Say whether the answer means something else after another history."""
    if answer.event is Event.PARKED:
        return settlement.state is State.VALIDATING and settlement.seq > FIRST_SEQ
    return answer.event is Event.RECALLED and settlement.state is State.RECALLING


def needs_fees(settlement: Settlement, answer: Answer) -> bool:
    """Say whether the answer may book a charge for a return."""
    is_return = answer.event is Event.RETURNED and settlement.state is State.COMPLETED
    return is_return and bool(answer.stated.charges_minor)


def recalled_as(history: Sequence[Moved]) -> RefusalCode:
    """Say why it was recalled: by the last transition that has asked the rail to give it back."""
    for moved in reversed(history):
        if moved.to_state is State.RECALLING and moved.from_state is not State.RECALLING:
            is_ours = moved.event is Event.OVERDUE
            return RefusalCode.RECALLED_OVERDUE if is_ours else RefusalCode.CANCELLED_BY_CALLER
    return RefusalCode.CANCELLED_BY_CALLER


def after_release(history: Sequence[Moved], answer: Answer) -> Answer:
    """Let screening's word to park count as cleared where two people have released it already."""
    if answer.event is Event.PARKED and _is_released(history, answer):
        return msgspec.structs.replace(answer, event=Event.CLEARED, code="", text="")
    return answer


def _is_released(history: Sequence[Moved], answer: Answer) -> bool:
    """Say whether two people have released it, from being parked for the same reason."""
    for before, after in pairwise(history):
        if before.event is Event.PARKED and after.event is Event.APPROVED:
            said = before.detail
            if (said.get("code", ""), said.get("text", "")) == (answer.code, answer.text):
                return True
    return False
