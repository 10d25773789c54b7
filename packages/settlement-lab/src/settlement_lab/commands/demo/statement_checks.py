"""The demo's checks of the statements: every planted difference is named, and every account's proof is zero.

Pure: it reads the collected data and does no I/O.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import msgspec

from settlement_lab.commands.demo.checks import PromiseCheck, check

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "missing": ("MISSING_THEIRS",),
    "extra": ("UNKNOWN_DEBIT",),
    "amount": ("AMOUNT",),
    "date": ("DATE",),
    "duplicate": ("DUPLICATE", "AMBIGUOUS"),
    "unknown_debit": ("UNKNOWN_DEBIT",),
    "unknown_credit": ("MISSING_OURS",),
    "reversal": ("REVERSAL",),
    "charge": ("AMOUNT",),
    "batch": (),
    "split": (),
}
"""The breaks that each planted difference must become. What is booked as one or in parts is matched, and is none.

Of an entry that is booked twice a person decides which of the two is the payment.
"""

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
    planted = Counter(key for each in evidence.planted for key in _keys(each))
    found = Counter(_found_key(each) for each in evidence.found)
    wrong = [f"{count} not found: {_said(key)}" for key, count in (planted - found).items()]
    wrong += [f"{count} not planted: {_said(key)}" for key, count in (found - planted).items()]
    kinds = len({each.kind for each in evidence.planted})
    matched = sum(not NAMES[each.kind] for each in evidence.planted)
    detail = (
        f"{len(evidence.planted)} of {kinds} kinds: {planted.total()} breaks,"
        f" {matched} matched as batches and parts"
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


def _keys(planted: ToldDifference) -> list[tuple[str, str, str, Decimal | None]]:
    """Name the breaks of a planted difference; of a wrong amount the whole entry is told, and not compared."""
    return [
        (
            planted.bank,
            planted.currency,
            kind,
            None if kind == "AMOUNT" else Decimal(planted.amount),
        )
        for kind in NAMES[planted.kind]
    ]


def _found_key(found: FoundDifference) -> tuple[str, str, str, Decimal | None]:
    amount = None if found.kind == "AMOUNT" else Decimal(found.amount)
    return found.bank, found.currency, found.kind, amount


def _said(key: tuple[str, str, str, Decimal | None]) -> str:
    bank, currency, kind, amount = key
    return f"{kind} at {bank}, {currency}{'' if amount is None else f' {amount}'}"
