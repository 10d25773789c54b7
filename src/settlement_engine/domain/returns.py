"""Returns: which parts of a settlement have come back, and what is left.

A return has an amount and charges; their sum is the part that it reverses. A settlement stays COMPLETED, and
its obligation settled, until the parts add up to the whole amount. The bank's reference of a return
distinguishes a repeated message from another return; two returns without a reference count as one.

Pure: no clock, no I/O. A part is never larger than what is left.
"""

from __future__ import annotations

from datetime import date
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from settlement_engine.domain.money import Money

FIRST_RETURN: Final = 2
"""The posting of the first return; posting 1 is the settlement's own."""

RETURNS_MAX: Final = 1_000
"""No settlement is returned in more parts: what comes then is for a person."""


class StatedAmount(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a bank's message says of money. ``minor`` None: the whole, or all that is left of it.

    ``minor`` is what came, or moved, without ``charges_minor``; charges are heard of returns only.
    ``reference`` is the sender's own name of the return. An empty currency is the settlement's.
    """

    minor: int | None = None
    currency: str = ""
    charges_minor: int = 0
    value_date: date | None = None
    reference: str = ""

    def differs_from(self, sent: Money) -> bool:
        """Say whether it is stated, and is not what was sent."""
        is_other_currency = self.currency not in ("", sent.currency)
        return is_other_currency or self.minor not in (None, sent.minor)

    def words(self) -> dict[str, str]:
        """Write it down as details of a transition; what was not stated is left out."""
        stated = {
            "amount_minor": "" if self.minor is None else str(self.minor),
            "currency": self.currency,
            "charges_minor": str(self.charges_minor or ""),
            "value_date": self.value_date.isoformat() if self.value_date else "",
            "return_reference": self.reference,
        }
        return {name: text for name, text in stated.items() if text}


NOT_STATED: Final = StatedAmount()
"""A message without amounts speaks of the whole."""


class Return(msgspec.Struct, frozen=True, kw_only=True):
    """A return as it is booked. ``left_minor`` is what is left of the settlement's amount after it."""

    posting: int
    amount_minor: int
    charges_minor: int
    left_minor: int
    reference: str = ""
    value_date: date | None = None

    @property
    def part_minor(self) -> int:
        """The part of the settlement that it reverses: what came back, and what was charged for it."""
        return self.amount_minor + self.charges_minor

    def words(self) -> dict[str, str]:
        """Write it down as details of its transition."""
        stated = StatedAmount(
            minor=self.amount_minor,
            charges_minor=self.charges_minor,
            value_date=self.value_date,
            reference=self.reference,
        )
        return {
            **stated.words(),
            "posting": str(self.posting),
            "left_minor": str(self.left_minor),
        }


def read_return(detail: Mapping[str, str], whole_minor: int) -> Return:
    """Read a return from the details of its transition. Raises ValueError for what is none.

    Before returns had amounts each brought back the whole, in the settlement's own posting.
    """
    if "posting" not in detail:
        return Return(posting=1, amount_minor=whole_minor, charges_minor=0, left_minor=0)
    day = detail.get("value_date")
    return Return(
        posting=int(detail["posting"]),
        amount_minor=int(detail.get("amount_minor", "0")),
        charges_minor=int(detail.get("charges_minor", "0")),
        left_minor=int(detail.get("left_minor", "0")),
        reference=detail.get("return_reference", ""),
        value_date=date.fromisoformat(day) if day else None,
    )


class NotBooked(Enum):
    """Why a return is not booked."""

    REPEATED = auto()  # it was booked before, or nothing is left of what it speaks of
    DIFFERS = auto()  # it cannot be true beside what was sent and what has come back: for a person


def left_of(whole_minor: int, returns: Sequence[Return]) -> int:
    """Say how much of the whole has not come back."""
    return whole_minor - sum(each.part_minor for each in returns)


def judge_return(
    whole: Money, returns: Sequence[Return], stated: StatedAmount
) -> Return | NotBooked:
    """Make the next return of what a bank says, or say why there is none."""
    left = left_of(whole.minor, returns)
    known = next((each for each in returns if each.reference == stated.reference), None)
    if known is not None or (stated.minor is None and not left):
        return _of_known(known, left, stated)
    amount = left - stated.charges_minor if stated.minor is None else stated.minor
    is_sound = (
        stated.currency in ("", whole.currency)
        and amount > 0
        and stated.charges_minor >= 0
        and amount + stated.charges_minor <= left
        and len(returns) < RETURNS_MAX
    )
    if not is_sound:
        return NotBooked.DIFFERS
    return Return(
        posting=FIRST_RETURN + len(returns),
        amount_minor=amount,
        charges_minor=stated.charges_minor,
        left_minor=left - amount - stated.charges_minor,
        reference=stated.reference,
        value_date=stated.value_date,
    )


def _of_known(known: Return | None, left: int, stated: StatedAmount) -> NotBooked:
    """Tell the same return, said again, from another one under the same reference."""
    if known is None or (stated.minor is None and not left):
        return NotBooked.REPEATED
    is_same = (stated.minor, stated.charges_minor) == (known.amount_minor, known.charges_minor)
    return NotBooked.REPEATED if is_same else NotBooked.DIFFERS
