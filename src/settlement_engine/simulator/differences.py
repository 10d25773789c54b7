"""Differences that the bank puts into its statements on purpose, and what it puts there. Pure.

Promises: the same entries, rules and seed give the same differences; each is told with the references and the
amount of the entries that it touches. A statement with differences still adds up: the bank has booked it so.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum, auto
from hashlib import blake2b
from typing import TYPE_CHECKING, Final
from uuid import UUID

import msgspec

from settlement_engine.domain.statements import EntryDetail, StatementReferences

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from settlement_engine.domain.statements import Entry

CHARGE_MINOR: Final = 250
TARIFF_MINOR: Final = 150
"""What the bank's tariff says that it charges for a payment; an engine may know it."""

AMOUNT_MINOR: Final = 100
"""By how much an amount differs: more than what a tolerance is by default."""

BATCH_ENTRIES_MAX: Final = 3
DAYS: Final = 10
"""By how many days a value date differs."""


class DifferenceKind(StrEnum):
    """What is wrong in a statement."""

    MISSING = auto()  # the entry is not booked
    EXTRA = auto()  # a debit that refers to a payment like ours, which nobody has ordered
    AMOUNT = auto()  # the entry has another amount
    ROUNDING = auto()  # the entry differs by one minor unit
    DATE = auto()  # the entry has another value date
    DUPLICATE = auto()  # the entry is booked twice
    UNKNOWN_DEBIT = auto()  # a debit without any reference
    UNKNOWN_CREDIT = auto()  # a credit without any reference
    REVERSAL = auto()  # the entry is booked, and taken back
    CHARGE = auto()  # a charge is inside the entry
    TARIFF = auto()  # the charge of the bank's tariff is inside the entry, and is not stated
    BATCH = auto()  # several entries are booked as one, with their payments inside
    SPLIT = auto()  # the entry is booked in two parts


class DifferenceRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often a difference is put into statements: into about one entry in ``one_in``.

    ``most`` limits them per statement; 0 is no limit. ``minor`` is by how much an amount differs, or the charge, in
    minor units; 0 is the usual one. ``bank`` limits the rule to one bank's statements, and ``entry_minor`` to entries
    of one amount, whatever its sign.
    """

    kind: DifferenceKind
    one_in: int = 1
    most: int = 0
    minor: int = 0
    bank: str = ""
    entry_minor: int = 0

    def __post_init__(self) -> None:
        """Check the numbers. Raises ValueError."""
        if self.one_in < 1 or min(self.most, self.minor, self.entry_minor) < 0:
            message = "one_in is 1 or more, and the other numbers are 0 or more"
            raise ValueError(message)


class PlantedDifference(msgspec.Struct, frozen=True, kw_only=True):
    """One difference: what it is, the references of the payments that it touches, and the booked amount.

    The amount is that of the entry as it is in the statement; where an entry is missing, the amount that is missing.
    """

    kind: DifferenceKind
    references: tuple[str, ...]
    amount_minor: int


class Planting:
    """Puts differences into the entries of one statement."""

    def __init__(self, rules: Sequence[DifferenceRule], seed: int) -> None:
        self._rules = rules
        self._seed = seed
        self._counts = [0] * len(rules)
        self.told: list[PlantedDifference] = []

    def planted(self, entries: Sequence[Entry]) -> list[Entry]:
        """Return the entries of the statement. Each entry is in at most one difference."""
        found: list[Entry] = []
        place = 0
        while place < len(entries):
            ahead = entries[place : place + BATCH_ENTRIES_MAX]
            rule = self._drawn(ahead)
            if rule is None:
                found.append(entries[place])
                place += 1
            elif rule.kind is DifferenceKind.BATCH:
                found.append(self._batch(ahead))
                place += len(ahead)
            else:
                found += _MADE[rule.kind](self, rule, entries[place])
                place += 1
        return [msgspec.structs.replace(each, number=at) for at, each in enumerate(found, 1)]

    def _drawn(self, ahead: Sequence[Entry]) -> DifferenceRule | None:
        for place, rule in enumerate(self._rules):
            if rule.most and self._counts[place] >= rule.most:
                continue
            if rule.entry_minor not in (0, abs(ahead[0].minor)):
                continue
            key = (self._seed, place, ahead[0].references.servicer)
            if _number("\n".join(map(str, key))) % rule.one_in == 0 and _fits(rule.kind, ahead):
                self._counts[place] += 1
                return rule
        return None

    def _tell(self, kind: DifferenceKind, minor: int, *touched: Entry) -> None:
        named = tuple(dict.fromkeys(name for each in touched for name in each.references.ours()))
        self.told.append(PlantedDifference(kind=kind, references=named, amount_minor=minor))

    # --- each kind ----------------------------------------------------------------------------------

    def _missing(self, rule: DifferenceRule, entry: Entry) -> list[Entry]:
        self._tell(rule.kind, entry.minor, entry)
        return []

    def _extra(self, rule: DifferenceRule, entry: Entry) -> list[Entry]:
        number = _number(f"{self._seed} extra {entry.references.servicer}")
        own = StatementReferences(
            end_to_end=f"NOT{number:032X}"[:35], uetr=str(UUID(int=_as_uetr(number)))
        )
        made = _like(entry, own, f"X{entry.references.servicer}", -abs(rule.minor or entry.minor))
        self._tell(rule.kind, made.minor, made)
        return [entry, made]

    def _amount(self, rule: DifferenceRule, entry: Entry) -> list[Entry]:
        usual = 1 if rule.kind is DifferenceKind.ROUNDING else AMOUNT_MINOR
        change = rule.minor or usual
        made = _with_amount(entry, entry.minor + (change if entry.minor > 0 else -change))
        self._tell(rule.kind, made.minor, made)
        return [made]

    def _date(self, rule: DifferenceRule, entry: Entry) -> list[Entry]:
        day = entry.value_date or entry.booking_date
        assert day is not None, "the bank books with a date"
        self._tell(rule.kind, entry.minor, entry)
        return [msgspec.structs.replace(entry, value_date=day + timedelta(days=DAYS))]

    def _duplicate(self, rule: DifferenceRule, entry: Entry) -> list[Entry]:
        self._tell(rule.kind, entry.minor, entry)
        return [entry, _as_another(entry, "-2")]

    def _unknown(self, rule: DifferenceRule, entry: Entry) -> list[Entry]:
        minor = abs(rule.minor or entry.minor)
        is_debit = rule.kind is DifferenceKind.UNKNOWN_DEBIT
        made = _like(
            entry,
            StatementReferences(),
            f"U{entry.references.servicer}",
            -minor if is_debit else minor,
        )
        made = msgspec.structs.replace(made, text="NOBODY KNOWS THIS")
        self.told.append(
            PlantedDifference(
                kind=rule.kind, references=made.references.theirs(), amount_minor=made.minor
            )
        )
        return [entry, made]

    def _reversal(self, rule: DifferenceRule, entry: Entry) -> list[Entry]:
        back = _with_amount(_as_another(entry, "-R"), -entry.minor)
        self._tell(rule.kind, back.minor, entry)
        return [entry, msgspec.structs.replace(back, is_reversal=True)]

    def _charge(self, rule: DifferenceRule, entry: Entry) -> list[Entry]:
        charge = rule.minor or CHARGE_MINOR
        made = _with_amount(entry, entry.minor - charge)
        details = tuple(
            msgspec.structs.replace(each, charges_minor=each.charges_minor + charge)
            for each in made.details
        )
        made = msgspec.structs.replace(made, details=details)
        self._tell(rule.kind, made.minor, made)
        return [made]

    def _tariff(self, rule: DifferenceRule, entry: Entry) -> list[Entry]:
        made = _with_amount(entry, entry.minor - (rule.minor or TARIFF_MINOR))
        self._tell(rule.kind, made.minor, made)
        return [made]

    def _split(self, rule: DifferenceRule, entry: Entry) -> list[Entry]:
        part = entry.minor // 2
        self._tell(rule.kind, entry.minor, entry)
        rest = _with_amount(_as_another(entry, "-B"), entry.minor - part)
        return [_with_amount(_as_another(entry, "-A"), part), rest]

    def _batch(self, entries: Sequence[Entry]) -> Entry:
        total = sum(each.minor for each in entries)
        first = entries[0]
        self._tell(DifferenceKind.BATCH, total, *entries)
        return msgspec.structs.replace(
            first,
            minor=total,
            references=StatementReferences(servicer=f"{first.references.servicer}-M"),
            text="",
            details=tuple(detail for each in entries for detail in each.details),
        )


_MADE: Final[dict[DifferenceKind, Callable[[Planting, DifferenceRule, Entry], list[Entry]]]] = {
    DifferenceKind.MISSING: Planting._missing,  # noqa: SLF001 -- of this class
    DifferenceKind.EXTRA: Planting._extra,  # noqa: SLF001
    DifferenceKind.AMOUNT: Planting._amount,  # noqa: SLF001
    DifferenceKind.ROUNDING: Planting._amount,  # noqa: SLF001
    DifferenceKind.DATE: Planting._date,  # noqa: SLF001
    DifferenceKind.DUPLICATE: Planting._duplicate,  # noqa: SLF001
    DifferenceKind.UNKNOWN_DEBIT: Planting._unknown,  # noqa: SLF001
    DifferenceKind.UNKNOWN_CREDIT: Planting._unknown,  # noqa: SLF001
    DifferenceKind.REVERSAL: Planting._reversal,  # noqa: SLF001
    DifferenceKind.CHARGE: Planting._charge,  # noqa: SLF001
    DifferenceKind.TARIFF: Planting._tariff,  # noqa: SLF001
    DifferenceKind.SPLIT: Planting._split,  # noqa: SLF001
}


def _fits(kind: DifferenceKind, ahead: Sequence[Entry]) -> bool:
    """Say whether the difference can be made with this entry, and those behind it."""
    first = ahead[0]
    if not first.references.ours():
        return False
    if kind is DifferenceKind.BATCH:
        return len(ahead) > 1 and len({each.minor > 0 for each in ahead}) == 1
    if kind in (DifferenceKind.CHARGE, DifferenceKind.TARIFF):
        return first.minor < 0
    return kind is not DifferenceKind.SPLIT or abs(first.minor) > 1


def _number(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=16).digest(), "big")


def _as_uetr(number: int) -> int:
    """Make a number that is a UUID of version 4."""
    return number & ~(0xF << 76) & ~(0x3 << 62) | 0x4 << 76 | 0x2 << 62


def _like(entry: Entry, own: StatementReferences, servicer: str, minor: int) -> Entry:
    """Make an entry of the same days that belongs to no payment of the bank."""
    return msgspec.structs.replace(
        entry,
        minor=minor,
        references=msgspec.structs.replace(own, servicer=servicer),
        details=(EntryDetail(references=own, minor=minor),) if own.ours() else (),
        text="",
    )


def _with_amount(entry: Entry, minor: int) -> Entry:
    details = tuple(msgspec.structs.replace(each, minor=minor) for each in entry.details)
    return msgspec.structs.replace(entry, minor=minor, details=details)


def _as_another(entry: Entry, ending: str) -> Entry:
    """Give an entry another reference of the bank."""
    servicer = f"{entry.references.servicer}{ending}"
    references = msgspec.structs.replace(entry.references, servicer=servicer)
    return msgspec.structs.replace(entry, references=references)
