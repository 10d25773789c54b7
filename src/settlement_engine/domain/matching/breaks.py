"""Breaks: the items left open after matching, and the kind of each difference.

Promises: each open item is in exactly one break; references are compared first, so that a payment with another
amount is one break and not two; an unordered debit is the most severe. Must never: match an item.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.domain.matching.text import text_references
from settlement_engine.domain.matching.values import Ours, Rules, Theirs, spelled_all

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping


class BreakKind(StrEnum):
    """The kind of a difference."""

    MISSING_OURS = "MISSING_OURS"
    """The bank credited an amount for which we have no booking."""
    MISSING_THEIRS = "MISSING_THEIRS"
    """We have a booking that is missing in the bank's statements."""
    AMOUNT = "AMOUNT"
    DATE = "DATE"
    CURRENCY = "CURRENCY"
    DUPLICATE = "DUPLICATE"
    UNKNOWN_DEBIT = "UNKNOWN_DEBIT"
    REVERSAL = "REVERSAL"
    AMBIGUOUS = "AMBIGUOUS"
    """Several candidates fit: a person decides."""


class BreakSeverity(IntEnum):
    """How severe a break is; higher numbers are worse."""

    LOW = 1
    MEDIUM = 2
    HIGH = 3
    CRITICAL = 4


SEVERITIES: Final = {
    BreakKind.DATE: BreakSeverity.LOW,
    BreakKind.AMBIGUOUS: BreakSeverity.LOW,
    BreakKind.MISSING_THEIRS: BreakSeverity.MEDIUM,
    BreakKind.MISSING_OURS: BreakSeverity.MEDIUM,
    BreakKind.REVERSAL: BreakSeverity.HIGH,
    BreakKind.AMOUNT: BreakSeverity.HIGH,
    BreakKind.CURRENCY: BreakSeverity.HIGH,
    BreakKind.DUPLICATE: BreakSeverity.CRITICAL,
    BreakKind.UNKNOWN_DEBIT: BreakSeverity.CRITICAL,
}


class Break(msgspec.Struct, frozen=True):
    """One difference, with the items of both sides, if any."""

    kind: BreakKind
    severity: BreakSeverity
    account: str
    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    reason: str
    difference_minor: int = 0
    """Their amount minus ours in minor units, if both have the same currency."""


class BreakRun(msgspec.Struct, frozen=True):
    """The open items, and the references of the matched ones."""

    ours: tuple[Ours, ...]
    theirs: tuple[Theirs, ...]
    rules: Rules
    matched_references: Mapping[tuple[str, str], frozenset[int]]
    """Account and reference of matched items, and their booked amounts: a payment and its return share references."""


def references_of(ours: Ours) -> tuple[str, ...]:
    """Return the references of one of our items, in the form in which they are compared."""
    return spelled_all((*ours.references, ours.end_to_end, *ours.rail_references))


def references_of_matched(items: Iterable[Ours]) -> dict[tuple[str, str], frozenset[int]]:
    """Return the references of the matched items, as ``classify`` needs them."""
    found: dict[tuple[str, str], frozenset[int]] = {}
    for each in items:
        for name in references_of(each):
            key = (each.account, name)
            found[key] = found.get(key, frozenset()) | {each.minor}
    return found


class _Named:
    """Our items by reference. Explained items are removed from the end of a list, so no list is read twice."""

    def __init__(self, ours: Iterable[Ours]) -> None:
        self._lists: dict[tuple[str, str], list[Ours]] = {}
        self._minors: dict[tuple[str, str], set[int]] = {}
        self.explained: set[str] = set()
        for each in sorted(ours, key=lambda each: each.id, reverse=True):
            for name in references_of(each):
                self._lists.setdefault((each.account, name), []).append(each)
                self._minors.setdefault((each.account, name), set()).add(each.minor)

    def take(self, account: str, names: Iterable[str]) -> Ours | None:
        """Return the first item with one of these references that is not explained yet."""
        for name in names:
            left = self._lists.get((account, name), [])
            while left and left[-1].id in self.explained:
                left.pop()
            if left:
                found = left.pop()
                self.explained.add(found.id)
                return found
        return None

    def minors(self, account: str, names: Iterable[str]) -> set[int]:
        """Return the amounts of the items with the first of these references that is one, explained or not."""
        return next(
            (self._minors[account, name] for name in names if (account, name) in self._minors),
            set(),
        )


def classify(run: BreakRun) -> list[Break]:
    """Classify each open item. The cost is linear: each reference is looked up once."""
    named = _Named(run.ours)
    breaks: list[Break] = []
    for theirs in sorted(run.theirs, key=lambda each: each.id):
        names = spelled_all((*theirs.given, theirs.end_to_end, *theirs.rail_references))
        ours = named.take(theirs.account, (*names, *text_references(theirs)))
        minors = named.minors(theirs.account, names)
        if ours is not None:
            breaks.append(_of_pair(run.rules, ours, theirs))
        elif minors:
            breaks.append(_of_second(theirs, minors))
        else:
            breaks.append(_of_theirs(run, theirs, names))
    for ours in sorted(run.ours, key=lambda each: each.id):
        if ours.id not in named.explained:
            reason = "no statement has it"
            breaks.append(_break(BreakKind.MISSING_THEIRS, ours, None, reason))
    return breaks


def _of_pair(rules: Rules, ours: Ours, theirs: Theirs) -> Break:
    """Classify the difference between two items with a common reference."""
    if ours.currency != theirs.currency:
        reason = f"ours is in {ours.currency}, theirs in {theirs.currency}"
        return _break(BreakKind.CURRENCY, ours, theirs, reason)
    if theirs.is_reversal or ours.minor == -theirs.minor:
        reason = "theirs takes back what ours booked"
        return _break(BreakKind.REVERSAL, ours, theirs, reason)
    if ours.minor != theirs.minor:
        return _break(BreakKind.AMOUNT, ours, theirs, "a reference joins them, and not the amount")
    near = theirs.value_date is not None and (
        abs((theirs.value_date - ours.value_date).days) <= rules.window_days
    )
    if not near:
        reason = f"the value dates are more than {rules.window_days} days apart, or one is missing"
        return _break(BreakKind.DATE, ours, theirs, reason)
    return _break(BreakKind.AMBIGUOUS, ours, theirs, "several fit: see what is suggested")


def _of_second(theirs: Theirs, minors: Collection[int]) -> Break:
    """Classify an entry whose payment has another entry already, of one of these amounts."""
    takes_back = -theirs.minor in minors and theirs.minor not in minors
    if theirs.is_reversal or takes_back:
        return _break(BreakKind.REVERSAL, None, theirs, "it takes back what another entry booked")
    return _break(
        BreakKind.DUPLICATE, None, theirs, "another entry has booked this payment already"
    )


def _of_theirs(run: BreakRun, theirs: Theirs, names: tuple[str, ...]) -> Break:
    """Classify an entry that refers to none of our open items."""
    for name in names:
        minors = run.matched_references.get((theirs.account, name))
        if minors:
            return _of_second(theirs, minors)
    for name in text_references(theirs):
        minors = run.matched_references.get((theirs.account, name), frozenset())
        if not minors.isdisjoint((theirs.minor, -theirs.minor)):
            return _of_second(theirs, minors)
    if theirs.is_reversal:
        return _break(BreakKind.REVERSAL, None, theirs, "it takes back what is not known")
    if theirs.minor < 0:
        return _break(BreakKind.UNKNOWN_DEBIT, None, theirs, "nobody here ordered it")
    return _break(BreakKind.MISSING_OURS, None, theirs, "nobody here expects it")


def _break(kind: BreakKind, ours: Ours | None, theirs: Theirs | None, reason: str) -> Break:
    side = ours or theirs
    assert side is not None, "a break has a side"
    comparable = ours is None or theirs is None or ours.currency == theirs.currency
    difference = (theirs.minor if theirs else 0) - (ours.minor if ours else 0)
    return Break(
        kind=kind,
        severity=SEVERITIES[kind],
        account=side.account,
        ours=(ours.id,) if ours else (),
        theirs=(theirs.id,) if theirs else (),
        reason=reason,
        difference_minor=difference if comparable else 0,
    )
