"""The demo's checks of the statements: every planted difference is named, and every account's proof is zero.

Pure: it reads the collected data and does no I/O.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import msgspec

from settlement_lab.bench.planted_differences import (
    BREAK_KINDS,
    CLOSED_AS,
    expected_of,
    mistakes_of,
    named,
)
from settlement_lab.commands.demo.checks import PromiseCheck, check

if TYPE_CHECKING:
    from collections.abc import Sequence

IMPORTED: Final = "IMPORTED"


class ToldDifference(msgspec.Struct, frozen=True, kw_only=True):
    """A difference as the simulator tells it."""

    bank: str
    account: str
    date: str
    kind: str
    references: tuple[str, ...]
    amount: str
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundDifference:
    """An open break; the amount is a decimal text with the sign of the bank's statement."""

    bank: str
    currency: str
    kind: str
    amount: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedDifference:
    """A difference that the rules of matching have closed: for which account, to which other one, and how much."""

    bank: str
    currency: str
    account: str
    amount: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountProof:
    """The last proof of an account, and why it is not zero."""

    account: str
    day: str
    is_zero: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementEvidence:
    """What was imported and found: the outcome of each statement, and the number of their entries."""

    outcomes: Sequence[str]
    entries: int
    planted: Sequence[ToldDifference]
    found: Sequence[FoundDifference]
    closed: Sequence[ClosedDifference]
    proofs: Sequence[AccountProof]


def check_statements(evidence: StatementEvidence) -> list[PromiseCheck]:
    """Run the checks."""
    return [
        _imported(evidence),
        _differences_named(evidence),
        _differences_closed(evidence),
        _proofs_zero(evidence),
    ]


def _imported(evidence: StatementEvidence) -> PromiseCheck:
    """Check that the bank's statements were imported without a problem."""
    wrong = [outcome for outcome in evidence.outcomes if not outcome.endswith(IMPORTED)]
    if not evidence.entries:
        wrong.append("there are no entries")
    detail = f"{len(evidence.outcomes)} statements, {evidence.entries:,} entries"
    return check("the bank's statements of the day were imported", wrong, detail)


def _differences_named(evidence: StatementEvidence) -> PromiseCheck:
    """Check that each planted difference is a break of its name and amount, and that there is no other break."""
    planted = [
        key
        for each in evidence.planted
        for key in expected_of(f"{each.bank} {each.currency}", each.kind, Decimal(each.amount))
    ]
    found = [
        named(f"{each.bank} {each.currency}", each.kind, Decimal(each.amount))
        for each in evidence.found
    ]
    wrong = mistakes_of(planted, found)
    kinds = len({each.kind for each in evidence.planted})
    matched = sum(
        not BREAK_KINDS[each.kind] and each.kind not in CLOSED_AS for each in evidence.planted
    )
    detail = (
        f"{len(evidence.planted)} of {kinds} kinds: {len(planted)} breaks,"
        f" {matched} matched as batches or parts"
    )
    if not evidence.planted:
        wrong.append("no difference was planted")
    return check("every planted difference is named, and nothing else", wrong, detail)


def _differences_closed(evidence: StatementEvidence) -> PromiseCheck:
    """Check that what the tariff and the tolerance cover was posted, each once, and nothing else was."""
    planted = Counter(
        ClosedDifference(bank=each.bank, currency=each.currency, account=account, amount=amount)
        for each in evidence.planted
        for account, amount in CLOSED_AS.get(each.kind, {}).items()
    )
    found = Counter(evidence.closed)
    wrong = [f"{count} not closed: {_said(each)}" for each, count in (planted - found).items()]
    wrong += [f"{count} not planted: {_said(each)}" for each, count in (found - planted).items()]
    accounts = Counter(each.account for each in evidence.closed)
    wrong += [
        f"nothing was planted that goes to {account}"
        for closing in CLOSED_AS.values()
        for account in closing
        if account not in {each.account for each in planted}
    ]
    said = ", ".join(f"{count} to {account}" for account, count in sorted(accounts.items()))
    detail = f"{len(evidence.closed)} closed: {said}"
    return check("charges of the tariff and roundings are closed by rule", wrong, detail)


def _said(closed: ClosedDifference) -> str:
    return f"{closed.amount} at {closed.bank} {closed.currency} to {closed.account}"


def _proofs_zero(evidence: StatementEvidence) -> PromiseCheck:
    """Check that each account with statements is proved to the minor unit."""
    wrong = [
        f"{each.account} {each.day}: {each.reason}" for each in evidence.proofs if not each.is_zero
    ]
    if len(evidence.proofs) < len(evidence.outcomes):
        wrong.append(f"{len(evidence.outcomes)} statements, {len(evidence.proofs)} proofs")
    detail = f"{len(evidence.proofs)} accounts"
    return check("the proof is zero for every account at the bank", wrong, detail)
