"""Account statements as values: what a bank reports to have booked, independent of the file format.

Promises: an amount is an integer of minor units; it is positive for a credit and negative for a debit of the
account. Details never replace their entry's amount: they add up to it, or the entry is marked as different.
Equal entries are never merged. Must never: guess a sign, a date or a currency.
"""

from __future__ import annotations

import hashlib
from datetime import date  # noqa: TC003 -- whoever decodes a statement needs the type
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

ENTRIES_MAX: Final = 500_000
"""The most entries of a statement."""

DETAILS_MAX: Final = 100_000
"""The most details of an entry."""

HASH_FORMAT: Final = b"statement/1\n"
"""The version of the content hash: it changes whenever the hashed content or its form changes."""


HASHED_AT_ONCE: Final = 1_000
"""How many entries are encoded at once: a whole statement would hold up every other thread."""

_NO_ENTRIES: Final = b'"entries":[]'


class Source(StrEnum):
    """Which message or file a statement came in."""

    CAMT052 = "camt.052"
    CAMT053 = "camt.053"
    CAMT054 = "camt.054"
    MT940 = "MT940"
    MT942 = "MT942"
    MT950 = "MT950"
    CSV = "CSV"


END_OF_DAY: Final = frozenset({Source.CAMT053, Source.MT940, Source.MT950, Source.CSV})
"""End-of-day statements: they have balances and follow one another without a gap."""


class BalanceType(StrEnum):
    """Which time and which funds a balance is about."""

    OPENING = "OPENING"
    OPENING_INTERMEDIATE = "OPENING_INTERMEDIATE"
    CLOSING = "CLOSING"
    CLOSING_INTERMEDIATE = "CLOSING_INTERMEDIATE"
    INTERMEDIATE = "INTERMEDIATE"
    AVAILABLE = "AVAILABLE"
    FORWARD_AVAILABLE = "FORWARD_AVAILABLE"
    EXPECTED = "EXPECTED"
    OTHER = "OTHER"


class EntryStatus(StrEnum):
    """Whether an entry has moved the booked balance. Only BOOKED has."""

    BOOKED = "BOOKED"
    PENDING = "PENDING"
    FUTURE = "FUTURE"
    INFORMATION = "INFORMATION"


class StatementAccount(msgspec.Struct, frozen=True):
    """The account of the statement, as the bank identifies it. A number alone is not unique."""

    identifier: str
    scheme: str
    """``IBAN``, ``OTHER``, or ``MT`` for what field 25 holds."""
    currency: str
    servicer: str = ""
    """The bank's BIC, if the statement contains it."""


class StatementBalance(msgspec.Struct, frozen=True):
    """A balance in minor units: positive if the bank owes the account holder."""

    type: BalanceType
    minor: int
    currency: str
    date: date


class StatementReferences(msgspec.Struct, frozen=True):
    """The references of a payment by the bank and the parties; empty if not given."""

    end_to_end: str = ""
    instruction: str = ""
    transaction: str = ""
    uetr: str = ""
    message: str = ""
    payment_information: str = ""
    customer: str = ""
    """MT field 61, subfield 7: the reference for the account's owner."""
    servicer: str = ""
    """The bank's own reference of this booking."""
    clearing: str = ""
    entry: str = ""

    def ours(self) -> tuple[str, ...]:
        """List the references that may be ours: those that the bank received and returns."""
        found = (
            self.end_to_end,
            self.instruction,
            self.transaction,
            self.uetr,
            self.message,
            self.payment_information,
            self.customer,
        )
        return tuple(dict.fromkeys(each for each in found if each))

    def theirs(self) -> tuple[str, ...]:
        """List the references of the bank and the clearing system."""
        found = (self.servicer, self.clearing, self.entry)
        return tuple(dict.fromkeys(each for each in found if each))


class EntryDetail(msgspec.Struct, frozen=True):
    """One payment inside an entry."""

    references: StatementReferences
    minor: int | None
    """Signed, in minor units of the entry's currency; None if the bank does not state it."""
    text: str = ""
    charges_minor: int = 0


class Entry(msgspec.Struct, frozen=True):
    """One booking, or the announcement of one."""

    number: int
    """Its position in the statement, from 1."""
    minor: int
    currency: str
    status: EntryStatus
    booking_date: date | None
    value_date: date | None
    is_reversal: bool
    references: StatementReferences
    code: str
    """The bank transaction code: ``PMNT/RCDT/ESCT``, or ``NTRF``."""
    text: str
    details: tuple[EntryDetail, ...] = ()
    details_differ: bool = False
    """The details do not add up to the entry. Its own amount is the one that counts."""


class Statement(msgspec.Struct, frozen=True):
    """One statement, or one page of it."""

    source: Source
    account: StatementAccount
    id: str
    entries: tuple[Entry, ...]
    balances: tuple[StatementBalance, ...]
    sequence: int | None = None
    page: int | None = None
    is_last_page: bool | None = None
    """None if the format does not count pages."""
    created: str = ""
    """When the bank created it, as written in the file (ISO 8601)."""
    begins: date | None = None
    ends: date | None = None
    version: str = ""
    message_id: str = ""
    totals_differ: bool = False
    """The number or sum of entries stated by the bank differs from the entries: one may be missing."""
    text: str = ""
    place: str = ""
    """Its position in the file; not part of its content."""

    def balance(self, *types: BalanceType) -> StatementBalance | None:
        """Return the first balance of these types, tried in turn."""
        for wanted in types:
            for balance in self.balances:
                if balance.type is wanted:
                    return balance
        return None

    def opening(self) -> StatementBalance | None:
        """Return the balance that this statement or page begins with."""
        return self.balance(BalanceType.OPENING, BalanceType.OPENING_INTERMEDIATE)

    def closing(self) -> StatementBalance | None:
        """Return the balance that this statement or page ends with."""
        return self.balance(BalanceType.CLOSING, BalanceType.CLOSING_INTERMEDIATE)

    def booked_minor(self) -> int:
        """Return the sum of the booked entries in minor units."""
        return sum(each.minor for each in self.entries if each.status is EntryStatus.BOOKED)

    def content_hash(self) -> str:
        """Return the hash of the statement's content, independent of its file and position."""
        content = msgspec.structs.replace(self, place="", message_id="", entries=())
        before, sign, after = msgspec.json.encode(content).partition(_NO_ENTRIES)
        assert sign, "a statement's entries are a field of its JSON"
        digest = hashlib.sha256(HASH_FORMAT + before + _NO_ENTRIES[:-1])
        for start in range(0, len(self.entries), HASHED_AT_ONCE):
            part = msgspec.json.encode(self.entries[start : start + HASHED_AT_ONCE])[1:-1]
            digest.update(b"," + part if start else part)
        digest.update(_NO_ENTRIES[-1:] + after)
        return digest.hexdigest()


class FaultKind(StrEnum):
    """Why a statement could not be read."""

    UNREADABLE = "UNREADABLE"
    WRONG_CONTAINER = "WRONG_CONTAINER"


class StatementFault(msgspec.Struct, frozen=True):
    """A statement that could not be read: its position, and what is wrong."""

    kind: FaultKind
    place: str
    reason: str


class StatementFile(msgspec.Struct, frozen=True):
    """The statements and the faults of one file, each in their order. At least one of the two is not empty."""

    statements: tuple[Statement, ...]
    faults: tuple[StatementFault, ...]


def details_differ(minor: int, details: Iterable[EntryDetail]) -> bool:
    """Say whether the details' amounts do not add up to their entry's; False if one states no amount."""
    amounts = [detail.minor for detail in details]
    if all(amount is None for amount in amounts):
        return False
    return any(amount is None for amount in amounts) or sum(a or 0 for a in amounts) != minor


def entry_identities(statement: Statement) -> tuple[tuple[str, int], ...]:
    """Return an identity for each entry; equal entries are numbered, so two equal bookings a day stay two.

    The identity is the bank's own reference, or else date, amount, status and text.
    """
    counts: dict[str, int] = {}
    named: list[tuple[str, int]] = []
    for entry in statement.entries:
        parts: tuple[object, ...] = (
            entry.references.servicer,
            entry.currency,
            entry.minor,
            entry.status,
            entry.booking_date or entry.value_date,
        )
        if not entry.references.servicer:
            parts = (*parts, entry.references.customer, entry.references.end_to_end, entry.text)
        key = hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()
        counts[key] = counts.get(key, 0) + 1
        named.append((key, counts[key]))
    return tuple(named)
