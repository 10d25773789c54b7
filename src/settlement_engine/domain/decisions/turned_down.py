"""What follows when the guards of the ledger did not let a transition through.

Promises: a hold that is not covered is refused; an uncovered return is booked to suspense; an uncovered second
debit is an exception; accounts, windows and what is left of a settlement are read again a bounded number of times
before they are a reason to refuse; a cover that was refused meanwhile does not leave. Must never: retry without
a limit.
"""

from __future__ import annotations

from enum import StrEnum, auto
from typing import TYPE_CHECKING, Final

from settlement_engine.domain.decisions.after_the_end import judge, uncovered
from settlement_engine.domain.decisions.chosen import ChosenEvent
from settlement_engine.domain.exceptions import CaseKind
from settlement_engine.domain.lifecycle import Event
from settlement_engine.domain.money import Money
from settlement_engine.domain.preconditions import Refusal, RefusalCode, refuse_funds

if TYPE_CHECKING:
    from settlement_engine.domain.answer import Answer
    from settlement_engine.domain.settlement import Settlement

GUARD_REPEATS_MAX: Final = 3
"""How often a transition is decided again after a guard failed (closed window, inactive account), before it is
refused.
"""


class Result(StrEnum):
    """The result of a transition in the store."""

    APPLIED = auto()
    STALE = auto()  # state, fencing token or owner are no longer what the caller had read
    SHORT = auto()  # the account does not cover the hold; ``available_minor`` says what there was
    INACTIVE = auto()  # the source or target account is not active
    SHUT = auto()  # by the database's clock the window is closed
    FULL = auto()  # an account has reached the limit of its turnover
    LESS_LEFT = auto()  # a return or a compensation was written meanwhile: less is left
    NOT_DUE = auto()  # a cover was refused, or another one ordered, meanwhile


_REFUSED_AS: Final = {
    Result.INACTIVE: RefusalCode.INACTIVE_ACCOUNT,
    Result.SHUT: RefusalCode.SETTLEMENT_WINDOW_CLOSED,
    Result.LESS_LEFT: RefusalCode.NOT_COMPENSABLE,
}


def decide_turned_down(
    settlement: Settlement, answer: Answer, result: Result, available_minor: int, repeats: int
) -> ChosenEvent | None:
    """Choose the event to write instead; None means: read the accounts again, then decide again."""
    required = settlement.instruction.amount
    if result is Result.NOT_DUE:
        return ChosenEvent(Event.ACKNOWLEDGED)  # TO has the payment; both banks are asked again
    if result is Result.SHORT and settlement.is_ended:
        return uncovered(settlement, answer) or judge(settlement, answer)
    if result in (Result.SHORT, Result.FULL):
        refusal = _refused_by_account(required, result, available_minor)
        return ChosenEvent(Event.REFUSED, refusal=refusal)
    if result is Result.LESS_LEFT and settlement.is_ended and repeats >= GUARD_REPEATS_MAX:
        return ChosenEvent(Event.CONTRADICTED, CaseKind.AMOUNT_DIFFERS)
    if repeats >= GUARD_REPEATS_MAX:
        return ChosenEvent(Event.REFUSED, refusal=Refusal(code=_REFUSED_AS[result]))
    return None


def _refused_by_account(required: Money, result: Result, available_minor: int) -> Refusal:
    """Return the refusal of a hold that the account does not cover, or whose account is full."""
    if result is Result.SHORT:
        return refuse_funds(required, Money(max(available_minor, 0), required.currency))
    return Refusal(code=RefusalCode.ACCOUNT_FULL, detail={"currency": required.currency})
