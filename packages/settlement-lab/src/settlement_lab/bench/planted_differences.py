"""The breaks that planted differences must become, and the comparison of both. Pure.

Promises: a difference that is not found, a break that nobody planted, a wrong kind and a wrong amount each fail.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from settlement_engine.simulator.differences import TARIFF_MINOR

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from decimal import Decimal

BREAK_KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "missing": ("MISSING_THEIRS",),
    "extra": ("UNKNOWN_DEBIT",),
    "amount": ("AMOUNT",),
    "rounding": (),
    "date": ("DATE",),
    "duplicate": ("DUPLICATE",),
    "unknown_debit": ("UNKNOWN_DEBIT",),
    "unknown_credit": ("MISSING_OURS",),
    "reversal": ("REVERSAL",),
    "charge": ("AMOUNT",),
    "tariff": (),
    "batch": (),
    "split": (),
}
"""The breaks of each kind of difference. What is booked as one or in parts is matched, and is none; so
is what the tariff or the tolerance closes, where they are configured."""

CLOSED_AS: Final[Mapping[str, Mapping[str, str]]] = {
    "tariff": {"fees control": f"{TARIFF_MINOR / 100:.2f}"},
    "rounding": {"fx rounding": "0.01"},
}
"""The account into which the rules of matching close a difference of a kind, and how much it is."""


class NamedDifference(NamedTuple):
    """A break as both sides can name it: the account, the kind, and the amount unless that is what differs."""

    account: str
    kind: str
    amount: Decimal | None


def expected_of(account: str, kind: str, amount: Decimal) -> list[NamedDifference]:
    """Name the breaks of a planted difference; of a wrong amount the whole entry is told, and not compared."""
    return [named(account, each, amount) for each in BREAK_KINDS[kind]]


def named(account: str, break_kind: str, amount: Decimal) -> NamedDifference:
    """Name a break."""
    return NamedDifference(account, break_kind, None if break_kind == "AMOUNT" else amount)


def mistakes_of(planted: Iterable[NamedDifference], found: Iterable[NamedDifference]) -> list[str]:
    """Say what was not found, and what was found and not planted."""
    expected, seen = Counter(planted), Counter(found)
    wrong = [f"{count} not found: {_said(key)}" for key, count in (expected - seen).items()]
    return wrong + [
        f"{count} not planted: {_said(key)}" for key, count in (seen - expected).items()
    ]


def _said(key: NamedDifference) -> str:
    amount = "" if key.amount is None else f" {key.amount}"
    return f"{key.kind} at {key.account}{amount}"
