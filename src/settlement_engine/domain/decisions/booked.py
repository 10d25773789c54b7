"""What a statement's entry means for a settlement, as one table: its state and what the entry says give the event.

A booked debit is the proof that the money moved, and ends a doubt. An absence ends nothing: the payment may be
booked later, so the funds of an open settlement stay held, whatever a statement lacks (rails.md 4.2). What the
bank has booked against our books is an exception; a second debit is booked to suspense, because the bank's
statement leaves no doubt about it.

Promises: a pair that is not in the table changes nothing. Must never: release funds, or complete a settlement by an
entry of another amount.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from settlement_engine.domain.exceptions import CaseKind
from settlement_engine.domain.lifecycle import HOLDING, Event, State
from settlement_engine.domain.statement_evidence import EntrySays

if TYPE_CHECKING:
    from collections.abc import Mapping

S, E = EntrySays, Event

_OPEN: Final[Mapping[EntrySays, Event]] = {
    S.DEBIT: E.SETTLED,
    S.OTHER_AMOUNT: E.AMOUNT_DIFFERED,
}
_MOVED: Final[Mapping[EntrySays, Event]] = {
    S.OTHER_AMOUNT: E.CONTRADICTED,
    S.SECOND_DEBIT: E.DEBITED_TWICE,
    S.FURTHER_DEBIT: E.CONTRADICTED,
    S.REVERSAL: E.CONTRADICTED,
}
_NOT_MOVED: Final[Mapping[EntrySays, Event]] = {
    S.DEBIT: E.CONTRADICTED,
    S.OTHER_AMOUNT: E.CONTRADICTED,
    S.SECOND_DEBIT: E.CONTRADICTED,
    S.FURTHER_DEBIT: E.CONTRADICTED,
}

BOOKED: Final[Mapping[State, Mapping[EntrySays, Event]]] = {
    **dict.fromkeys(HOLDING, _OPEN),
    State.COMPLETED: {**_MOVED, S.ABSENT: E.CONTRADICTED},
    State.RETURNED: _MOVED,
    State.ROLLED_BACK: _NOT_MOVED,
    State.FAILED: _NOT_MOVED,
}
"""The events. RETURN is not here: a return from a statement is decided as one from a message (``after_the_end``)."""

_KINDS: Final[Mapping[EntrySays, CaseKind]] = {
    S.OTHER_AMOUNT: CaseKind.AMOUNT_DIFFERS,
    S.SECOND_DEBIT: CaseKind.DEBITED_TWICE,
    S.FURTHER_DEBIT: CaseKind.SECOND_DEBIT,
    S.REVERSAL: CaseKind.STATEMENT_DIFFERS,
    S.ABSENT: CaseKind.STATEMENT_DIFFERS,
}


def booked_event(state: State, says: EntrySays) -> Event | None:
    """Return the event of what an entry says; None if it changes nothing in this state."""
    return BOOKED.get(state, {}).get(says)


def booked_kind(state: State, says: EntrySays) -> CaseKind:
    """Return the kind of the exception that a contradicting entry opens."""
    if BOOKED.get(state) is _NOT_MOVED:
        return CaseKind.LATE_DEBIT  # whatever the amount: we have released it, or never held it
    return _KINDS[says]


def event_said(says: EntrySays) -> Event:
    """Return the status that an entry amounts to: what a rail would have reported."""
    return _SAID.get(says, E.SETTLED)


_SAID: Final[Mapping[EntrySays, Event]] = {
    S.RETURN: E.RETURNED,
    S.REVERSAL: E.REJECTED,
    S.ABSENT: E.NOT_FOUND,
}
