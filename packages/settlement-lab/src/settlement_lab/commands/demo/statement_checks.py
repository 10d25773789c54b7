"""The demo's checks of the statements: every planted difference is named, and every account's proof is zero.

Pure: it reads the collected data and does no I/O.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import msgspec

from settlement_lab.bench.planted_differences import (
    BREAK_KINDS,
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
    proofs: Sequence[AccountProof]


def check_statements(evidence: StatementEvidence) -> list[PromiseCheck]:
    """Run the checks."""
    return [_imported(evidence), _differences_named(evidence), _proofs_zero(evidence)]


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
    matched = sum(not BREAK_KINDS[each.kind] for each in evidence.planted)
    detail = (
        f"{len(evidence.planted)} of {kinds} kinds: {len(planted)} breaks,"
        f" {matched} matched as batches, parts or within the tolerance"
    )
    if not evidence.planted:
        wrong.append("no difference was planted")
    return check("every planted difference is named, and nothing else", wrong, detail)


def _proofs_zero(evidence: StatementEvidence) -> PromiseCheck:
    """Check that each account with statements is proved to the minor unit."""
    wrong = [
        f"{each.account} {each.day}: {each.reason}" for each in evidence.proofs if not each.is_zero
    ]
    if len(evidence.proofs) < len(evidence.outcomes):
        wrong.append(f"{len(evidence.outcomes)} statements, {len(evidence.proofs)} proofs")
    detail = f"{len(evidence.proofs)} accounts"
    return check("the proof is zero for every account at the bank", wrong, detail)
