"""What is said of a recall after completion, by the bank's answers, by its time limit, and by a return.

Promises: a missing answer says nothing; an overdue one says only that nobody asks any more. Must never: choose an
event of the settlement itself, which a recall does not change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.recalls import ASKING

if TYPE_CHECKING:
    from datetime import datetime

    from settlement_engine.domain.answer import Answer
    from settlement_engine.domain.recalls import RecallRequest
    from settlement_engine.domain.settlement import Settlement


ALREADY_RETURNED: Final = "ARDT"
"""The bank refuses a recall because it has returned the money already: that is a promise of what is on its way."""


def event_of_recall(answer: Answer, *, is_response: bool) -> Event | None:
    """Return what an answer says of a recall; None if it says nothing of it.

    ``is_response``: the answer came in response to the recall itself. Then *settled* without a promise means that the
    bank leaves the payment as it is; unasked, it only repeats the payment's status.
    """
    if answer.event is Event.SETTLED and answer.promises_return:
        return Event.RECALLED
    if answer.event is Event.RECALL_REFUSED and answer.code == ALREADY_RETURNED:
        return Event.RECALLED
    if answer.event in (Event.RECALLED, Event.RECALL_REFUSED):
        return answer.event
    if not is_response:
        return None
    if answer.event is Event.SETTLED:
        return Event.RECALL_REFUSED
    return Event.ACKNOWLEDGED if answer.event is Event.ACKNOWLEDGED else None


def event_without_answer(
    recall: RecallRequest, settlement: Settlement, answer_until: datetime | None, now: datetime
) -> Event | None:
    """Return what happened to a recall without an answer: the money is back, or its time limit has passed.

    ``answer_until`` is until when the bank has to answer; None means no limit.
    """
    if settlement.state is State.RETURNED:
        return Event.RETURNED
    if recall.state not in ASKING or answer_until is None:
        return None
    return Event.OVERDUE if now > answer_until else None
