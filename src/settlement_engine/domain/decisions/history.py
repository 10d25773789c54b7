"""Answers whose meaning depends on the settlement's history, and what has to be read to decide on them.

Promises: a settlement that two people have released is not parked again for the same reason; a compensation that
they have not released is parked, whatever screening says; a recall records who requested it. Must never: read the
history itself; few answers need it, and this module names them.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.domain.compensation_checks import (
    COMPENSATION,
    is_released,
    refuse_compensation,
)
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.preconditions import RefusalCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from settlement_engine.domain.answer import Answer
    from settlement_engine.domain.settlement import Moved, Settlement

FIRST_SEQ: Final = 1
"""The sequence number after admission. Screening at a later one means that it was parked or waited before."""


DEPENDS_ON_HISTORY: Final = frozenset({Event.PARKED, Event.RECALLED})
"""The only answers whose meaning depends on the history, except for compensations."""


def needs_history(settlement: Settlement, answer: Answer) -> bool:
    """Say whether the meaning of the answer depends on the history, so that it has to be read first."""
    if is_screened_compensation(settlement, answer):
        return True
    if answer.event is Event.PARKED:
        return settlement.state is State.VALIDATING and settlement.seq > FIRST_SEQ
    return answer.event is Event.RECALLED and settlement.state is State.RECALLING


def is_screened_compensation(settlement: Settlement, answer: Answer) -> bool:
    """Say whether screening has let a compensation pass, or has parked it."""
    is_compensation = settlement.instruction.compensates is not None
    return (
        is_compensation
        and settlement.state is State.VALIDATING
        and answer.event in (Event.CLEARED, Event.PARKED)
    )


def needs_fees(settlement: Settlement, answer: Answer) -> bool:
    """Say whether the answer may book charges of a return, so that the fees account is needed."""
    is_return = answer.event is Event.RETURNED and settlement.state is State.COMPLETED
    return is_return and bool(answer.stated.charges_minor)


def recalled_as(history: Sequence[Moved]) -> RefusalCode:
    """Say why the payment was recalled, by the last transition that requested the recall."""
    for moved in reversed(history):
        if moved.to_state is State.RECALLING and moved.from_state is not State.RECALLING:
            is_ours = moved.event is Event.OVERDUE
            return RefusalCode.RECALLED_OVERDUE if is_ours else RefusalCode.CANCELLED_BY_CALLER
    return RefusalCode.CANCELLED_BY_CALLER


def after_release(settlement: Settlement, history: Sequence[Moved], answer: Answer) -> Answer:
    """Return what the answer of screening means, given who has released the settlement before.

    What two people have released is CLEARED and not parked again for the same reason. A compensation that they
    have not released is PARKED. One release is enough for both: who gives it sees the reason and the compensation.
    """
    if answer.event is Event.PARKED and _is_released(history, answer):
        answer = msgspec.structs.replace(answer, event=Event.CLEARED, code="", text="")
    compensates = settlement.instruction.compensates
    if answer.event is Event.CLEARED and compensates is not None and not is_released(history):
        text = f"it compensates settlement {compensates}"
        return msgspec.structs.replace(answer, event=Event.PARKED, code=COMPENSATION, text=text)
    return answer


def while_compensable(
    settlement: Settlement, compensated: Settlement | None, answer: Answer
) -> Answer:
    """Return REFUSED instead of CLEARED for a compensation of more than what is left to compensate."""
    refusal = refuse_compensation(settlement, compensated)
    if refusal is None:
        return answer
    return msgspec.structs.replace(
        answer, event=Event.REFUSED, code=refusal.code.value, text="", refusal=refusal
    )


def _is_released(history: Sequence[Moved], answer: Answer) -> bool:
    """Say whether two people have released it after it was parked for the same reason."""
    for before, after in pairwise(history):
        if before.event is Event.PARKED and after.event is Event.APPROVED:
            said = before.detail
            if (said.get("code", ""), said.get("text", "")) == (answer.code, answer.text):
                return True
    return False
