"""Returns: which parts of a settlement the receiver has paid back, and what is left.

A return has an amount and charges; their sum is the part that it reverses. Until the parts add up to the whole
amount, the settlement stays COMPLETED, and its obligation stays held: it cannot be settled a second time. The
bank's reference of a return distinguishes a repeated message from another return; two returns without a
reference count as one.

Promises: pure, no clock and no I/O; a part is never larger than what is left. Must never: book a return twice.
"""

from __future__ import annotations

from datetime import date
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.domain.charges import charged_by_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from settlement_engine.domain.money import Money

FIRST_RETURN: Final = 2
"""The posting number of the first return; posting 1 is the settlement itself."""

RETURNS_MAX: Final = 1_000
"""The most parts in which one settlement is returned; a person decides about any further one."""


RETURN_OF_ENTRY: Final = "statement entry "
"""How the reference of a return begins that a bank's statement has brought, and no message."""


class StatedAmount(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The amounts in a bank's message. ``minor`` None: the whole amount, or all that is left of it.

    ``minor`` is the amount paid or returned in minor units, without ``charges_minor``; only returns have
    charges. ``charged_by`` are the BICs of the agents that took them, each with its part. ``reference`` is the
    sender's own reference of the return. An empty currency is the settlement's.
    """

    minor: int | None = None
    currency: str = ""
    charges_minor: int = 0
    value_date: date | None = None
    reference: str = ""
    charged_by: tuple[tuple[str, int], ...] = ()

    def differs_from(self, sent: Money) -> bool:
        """Say whether an amount is stated and differs from the one sent."""
        is_other_currency = self.currency not in ("", sent.currency)
        return is_other_currency or self.minor not in (None, sent.minor)

    def words(self) -> dict[str, str]:
        """Return it as details of a transition, without the fields that were not stated."""
        stated = {
            "amount_minor": "" if self.minor is None else str(self.minor),
            "currency": self.currency,
            "charges_minor": str(self.charges_minor or ""),
            "value_date": self.value_date.isoformat() if self.value_date else "",
            "return_reference": self.reference,
            "charged_by": charged_by_text(self.charged_by),
        }
        return {name: text for name, text in stated.items() if text}


NOT_STATED: Final = StatedAmount()
"""A message without amounts is about the whole amount."""


class Return(msgspec.Struct, frozen=True, kw_only=True):
    """A booked return, in minor units. ``left_minor`` is what is left of the settlement's amount after it.

    ``rebilled_minor`` is the part of its charges that is billed to FROM.
    """

    posting: int
    amount_minor: int
    charges_minor: int
    left_minor: int
    reference: str = ""
    value_date: date | None = None
    rebilled_minor: int = 0

    @property
    def part_minor(self) -> int:
        """The part of the settlement that it reverses: the amount returned plus the charges, in minor units."""
        return self.amount_minor + self.charges_minor

    def words(self) -> dict[str, str]:
        """Return it as details of its transition."""
        stated = StatedAmount(
            minor=self.amount_minor,
            charges_minor=self.charges_minor,
            value_date=self.value_date,
            reference=self.reference,
        )
        words = {
            **stated.words(),
            "posting": str(self.posting),
            "left_minor": str(self.left_minor),
        }
        return (
            words | {"rebilled_minor": str(self.rebilled_minor)} if self.rebilled_minor else words
        )


def read_return(detail: Mapping[str, str], whole_minor: int) -> Return:
    """Read a return from the details of its transition. Raises ValueError for details of another kind.

    Older returns have no amounts: each of them reversed the whole settlement, under posting number 1.
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
        rebilled_minor=int(detail.get("rebilled_minor", "0")),
    )


class NotBooked(Enum):
    """Why a return is not booked."""

    REPEATED = auto()  # it was booked before, or the whole amount has been returned already
    DIFFERS = auto()  # it contradicts what was sent and returned so far: a person decides


def left_of(whole_minor: int, returns: Sequence[Return]) -> int:
    """Return how much of the settlement's amount has not been returned, in minor units."""
    return whole_minor - sum(each.part_minor for each in returns)


def judge_return(
    whole: Money, returns: Sequence[Return], stated: StatedAmount, paid_back_minor: int = 0
) -> Return | NotBooked:
    """Return the next return to book for a bank's message, or why none is booked.

    ``paid_back_minor`` is what compensations have paid back: it is no longer there to be returned.
    """
    left = left_of(whole.minor, returns)
    known = next((each for each in returns if each.reference == stated.reference), None)
    if known is not None or (stated.minor is None and not left):
        return _of_known(known, left, stated)
    amount = left - stated.charges_minor if stated.minor is None else stated.minor
    is_sound = (
        stated.currency in ("", whole.currency)
        and amount > 0
        and stated.charges_minor >= 0
        and amount + stated.charges_minor <= left - paid_back_minor
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


def is_told_otherwise(
    returns: Sequence[Return], stated: StatedAmount, entries: int | None = None
) -> bool:
    """Say whether a return is already booked, which came by the other road: as a message, or in a statement.

    The two roads name a return differently, so that its amount has to tell it. ``entries`` counts the entries of
    this amount, with the one that is asked about; None: it is a message. A message is taken for the one of an
    entry that is booked: if it is another return, the statement will have an entry of its own for it.
    """
    same = [each for each in returns if each.amount_minor == stated.minor]
    if entries is not None:
        return len(same) >= entries
    is_new = all(each.reference != stated.reference for each in returns)
    return is_new and any(each.reference.startswith(RETURN_OF_ENTRY) for each in same)


def _of_known(known: Return | None, left: int, stated: StatedAmount) -> NotBooked:
    """Judge a return whose reference is known: the same one repeated, or another one with its reference."""
    if known is None or (stated.minor is None and not left):
        return NotBooked.REPEATED
    is_same = (stated.minor, stated.charges_minor) == (known.amount_minor, known.charges_minor)
    return NotBooked.REPEATED if is_same else NotBooked.DIFFERS
