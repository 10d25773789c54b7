"""What was open on an account at the end of a booking day: the items behind the figures of that day's proof.

Promises: an item was open if one of the sides had booked it by then, and it is open now or in a live match that counts
from a later day on. Items are told in one order on both stores, and a place in it is a text that can be read back.
Postings before the first statement that are still open are not among them: its opening balance stands for them, as in
the proof.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Final
from uuid import UUID

import msgspec

from settlement_engine.domain.proof import NOT_COVERED, BalanceProof

if TYPE_CHECKING:
    from collections.abc import Iterable

SPAN_MAX: Final = 14
"""The longest span: of items that were open for 45 years or longer. See ``timing_span`` of the database."""

NUMBER_MAX: Final = 2**63 - 1
REFERENCES_MAX: Final = 16
"""The most references of an item that are told."""


class ItemSide(StrEnum):
    """Whose item it is."""

    THEIRS = "theirs"
    OURS = "ours"


class ItemPart(IntEnum):
    """The parts of the list, in its order."""

    THEIRS_OPEN = 0
    THEIRS_MATCHED = 1
    OURS_OPEN = 2
    OURS_MATCHED = 3

    @property
    def side(self) -> ItemSide:
        """Return whose items the part has."""
        is_theirs = self in (ItemPart.THEIRS_OPEN, ItemPart.THEIRS_MATCHED)
        return ItemSide.THEIRS if is_theirs else ItemSide.OURS


class ItemPlace(msgspec.Struct, frozen=True):
    """The place of an item in the list.

    What is still open is in the order of its booking days. What was matched since is in the order of the spans, the
    longest first, and then of the days from which on the matches count. ``item`` is the item's name, and of an open
    posting the number that the store gives it.
    """

    part: ItemPart
    day: date
    item: tuple[str | int, ...]
    span: int = 0
    match_id: int = 0

    def key(self) -> tuple[object, ...]:
        """Return what places are ordered by."""
        return (self.part, -self.span, self.day, self.match_id, self.item)

    def text(self) -> str:
        """Write the place."""
        item = "/".join(map(str, self.item))
        return f"{self.part.value}.{self.span}.{self.day}.{self.match_id}.{item}"


class OpenItem(msgspec.Struct, frozen=True):
    """An item that was open, in minor units with the sign of the bank's statement.

    ``name`` is ``STATEMENT/NUMBER`` of theirs, and ``GROUP/POSTING/LEG`` of ours: the group is the settlement's id.
    ``matched_on`` is the day from which on both sides have it; without a match it is open to this day.
    """

    place: ItemPlace
    name: str
    minor: int
    currency: str
    booked_on: date
    value_date: date | None
    references: tuple[str, ...]
    text: str = ""
    match_id: int | None = None
    matched_by: str = ""
    matched_on: date | None = None
    matched_at: datetime | None = None

    @property
    def side(self) -> ItemSide:
        """Return whose item it is."""
        return self.place.part.side


class ProofAsOf(msgspec.Struct, frozen=True):
    """The last proof of an account for a day.

    ``begins``: still open postings before this day are no items, see above. ``is_current``: nothing has changed since
    that counts for this day, so that the items are those of the proof.
    """

    currency: str
    proof: BalanceProof
    begins: date | None
    is_current: bool


class ItemSums(msgspec.Struct, frozen=True):
    """Items added up: what the proof has as unmatched."""

    theirs_minor: int = 0
    ours_minor: int = 0
    theirs: int = 0
    ours: int = 0


def added_up(items: Iterable[OpenItem]) -> ItemSums:
    """Add items up, each side for itself."""
    sums = {side: [0, 0] for side in ItemSide}
    for each in items:
        sums[each.side][0] += each.minor
        sums[each.side][1] += 1
    theirs, ours = sums[ItemSide.THEIRS], sums[ItemSide.OURS]
    return ItemSums(theirs[0], ours[0], theirs[1], ours[1])


def sums_of(proof: BalanceProof) -> ItemSums:
    """Return what the items of a proof add up to."""
    return ItemSums(
        proof.unmatched_theirs_minor,
        proof.unmatched_ours_minor,
        proof.unmatched_theirs,
        proof.unmatched_ours,
    )


def span_of(booked_on: date, settled_on: date) -> int:
    """Return the binary logarithm of how many days an item was open, as ``timing_span`` of the database."""
    return min((settled_on - booked_on).days.bit_length() - 1, SPAN_MAX)


def begins_of(proofs: Iterable[BalanceProof]) -> date | None:
    """Return the first day that the statements in force prove, given the last proofs of all days."""
    return min(
        (each.booking_date for each in proofs if each.held_back_by != NOT_COVERED), default=None
    )


def read_place(text: str) -> ItemPlace | None:
    """Read a place that was written; None for any other text."""
    match = _PLACE.fullmatch(text)
    if match is None:
        return None
    try:
        part = ItemPart(int(match["part"]))
        day = date.fromisoformat(match["day"])
        item = _item(part, match["item"])
    except ValueError:
        return None
    span, match_id = int(match["span"]), int(match["match"])
    if span > SPAN_MAX or match_id > NUMBER_MAX or item is None:
        return None
    return ItemPlace(part=part, day=day, item=item, span=span, match_id=match_id)


_PLACE: Final = re.compile(
    r"(?P<part>[0-3])\.(?P<span>[0-9]{1,2})\.(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"\.(?P<match>[0-9]{1,19})\.(?P<item>[0-9a-f/-]{1,80})",
    re.ASCII,
)
_LENGTHS: Final = {
    ItemPart.THEIRS_OPEN: 2,
    ItemPart.THEIRS_MATCHED: 2,
    ItemPart.OURS_OPEN: 1,
    ItemPart.OURS_MATCHED: 3,
}


def _item(part: ItemPart, text: str) -> tuple[str | int, ...] | None:
    """Read the name of an item. Raises ValueError."""
    words = text.split("/")
    if len(words) != _LENGTHS[part]:
        return None
    first = [str(UUID(words[0]))] if part is ItemPart.OURS_MATCHED else []
    numbers = [int(word) for word in words[len(first) :]]
    limits = {1: NUMBER_MAX, 2: 2**31 - 1}
    largest = [limits[1], limits[2]] if not first else [2**15 - 1] * 2
    if any(not 0 <= number <= limit for number, limit in zip(numbers, largest, strict=False)):
        return None
    return (*first, *numbers)
