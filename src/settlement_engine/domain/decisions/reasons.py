"""Why a settlement ended without its money moved: the refusal that goes with an event.

Promises: every final state without money moved has a reason that callers can read, with the code and text of
whoever rejected or refused it, limited in length and printable. Must never: choose an event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from settlement_engine.domain.decisions.history import recalled_as
from settlement_engine.domain.lifecycle import ENDS, Event, State
from settlement_engine.domain.preconditions import Refusal, RefusalCode
from settlement_engine.domain.readable import plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from settlement_engine.domain.answer import Answer
    from settlement_engine.domain.lifecycle import Transition
    from settlement_engine.domain.settlement import Moved

REFUSED_AS: Final[Mapping[Event, RefusalCode]] = {
    Event.CANCELLED: RefusalCode.CANCELLED_BY_CALLER,
    Event.REJECTED: RefusalCode.RAIL_REJECTED,
    Event.ABANDONED: RefusalCode.UNDELIVERED,
    Event.DECLINED: RefusalCode.DECLINED,
    Event.LAPSED: RefusalCode.LAPSED,
    Event.ATTESTED_NOT_SETTLED: RefusalCode.ATTESTED_NOT_SETTLED,
}
"""The refusal for each event. For a recall the history decides: the caller's request, or the rail's time limit."""


WITHOUT_MONEY_MOVED: Final = ENDS - {State.COMPLETED}
"""The final states that have a reason: no money moved, or it was returned."""


def reason_of(
    event: Event, row: Transition, answer: Answer, history: Sequence[Moved] = ()
) -> Refusal | None:
    """Say why a transition ends the settlement without money moved; None where it does not."""
    if row.state not in WITHOUT_MONEY_MOVED:
        return None
    if event is Event.RECALLED:
        return _refusal(recalled_as(history), answer)
    if answer.refusal is not None:
        return answer.refusal
    code = REFUSED_AS.get(event)
    return _refusal(code, answer) if code is not None else None


def _refusal(code: RefusalCode, answer: Answer) -> Refusal:
    detail = {"code": answer.code, "text": answer.text}
    return Refusal(code=code, detail={name: plain(text) for name, text in detail.items() if text})
