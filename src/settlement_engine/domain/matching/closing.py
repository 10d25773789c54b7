"""Which rule closes the difference between a booking of ours and the bank's entry for it.

Matching asks before it closes a difference, and the search of statements before it takes a debit of another amount
for the proof of a payment: both have the same answer.

Promises: pure. A charge of the tariff is exactly the difference; a tolerance covers a smaller part of the amount than
its half, and is capped. Must never: close a difference of two amounts that do not have one sign.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from settlement_engine.domain.matching.values import TOLERANCE_MINOR_MAX, Pass

if TYPE_CHECKING:
    from datetime import date

    from settlement_engine.domain.matching.values import Charge, Rules, Tolerance

CLOSING: Final = frozenset({Pass.TARIFF, Pass.TOLERANCE})
"""The passes that close a difference."""


class Closing(NamedTuple):
    """What kind of rule closes a difference, and the accounts that such rules name for it."""

    by: Pass
    accounts: frozenset[str]

    @property
    def is_sure(self) -> bool:
        """Say whether the rules name one account only: then the difference needs no person."""
        return len(self.accounts) == 1


def closing(
    rules: Rules, amounts: tuple[int, int], currency: str, day: date | None, counterparty: str = ""
) -> Closing | None:
    """Return what closes the difference of two amounts: ours and theirs, signed as the bank's statement signs them.

    ``day`` is the value date of the entry. None: the amounts are equal, or no rule covers their difference.
    """
    for by in (Pass.TARIFF, Pass.TOLERANCE):
        if not may_close(by, amounts):
            continue
        found = _accounts(rules, by, amounts, currency, day, counterparty)
        if found:
            return Closing(by, frozenset(found))
    return None


def may_close(by: Pass, amounts: tuple[int, int]) -> bool:
    """Say whether a rule of this kind can cover the difference at all, whatever is configured."""
    ours, theirs = amounts
    difference = theirs - ours
    if difference == 0 or ours == 0 or theirs == 0 or (ours < 0) != (theirs < 0):
        return False
    if by is Pass.TARIFF:
        return difference < 0
    # What is not much smaller than the payment is another amount, and no rounding of this one.
    return abs(difference) <= TOLERANCE_MINOR_MAX and 2 * abs(difference) < abs(ours)


def _accounts(
    rules: Rules,
    by: Pass,
    amounts: tuple[int, int],
    currency: str,
    day: date | None,
    counterparty: str,
) -> set[str]:
    """Return the accounts of the rules that cover a difference; those of the counterparty come first."""
    minor = abs(amounts[1] - amounts[0])
    named = {"": set[str](), counterparty: set[str]()}
    of_kind: tuple[Charge | Tolerance, ...]
    of_kind = rules.charges if by is Pass.TARIFF else rules.tolerances
    for rule in of_kind:
        covers = rule.minor == minor if by is Pass.TARIFF else rule.minor >= minor
        covers = covers and rule.holds_on(day)
        if covers and rule.currency == currency and rule.counterparty in named:
            named[rule.counterparty].add(rule.account)
    return named[counterparty] or named[""]
