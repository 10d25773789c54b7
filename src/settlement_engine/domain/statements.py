"""Account statements as values: what a bank says that it booked, whatever format it came in.

Promises: an amount is an integer of minor units whose sign is what the entry did to the account: a credit
raises it, a debit lowers it. Details never stand in place of their entry's amount: they add up to it, or the
entry says that they differ. Equal entries stay as many as they are. Must never: guess a sign, a date or a
currency.
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
"""No statement has more entries."""

DETAILS_MAX: Final = 100_000
"""No entry has more details."""

HASH_FORMAT: Final = b"statement/1\n"
"""What is hashed, and how: another form of the hash has another number."""


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
"""These close the account's books: they have balances and follow one another without a gap."""


class BalanceType(StrEnum):
    """Which moment and which money a balance speaks of."""

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
    """Whose statement it is, as the bank says it. A number alone is not unique."""

    identifier: str
    scheme: str
    """``IBAN``, ``OTHER``, or ``MT`` for what field 25 holds."""
    currency: str
    servicer: str = ""
    """The bank's BIC, where the statement names it."""


class Balance(msgspec.Struct, frozen=True):
    """What stood in the account: positive where the bank owes its holder."""

    type: BalanceType
    minor: int
    currency: str
    date: date


class References(msgspec.Struct, frozen=True):
    """What the bank and the payment's parties call a payment. Empty where nothing was said."""

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
        """List what may be a reference of ours: what the bank was given and hands back."""
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
        """List what the bank and the clearing system call it."""
        found = (self.servicer, self.clearing, self.entry)
        return tuple(dict.fromkeys(each for each in found if each))


class EntryDetail(msgspec.Struct, frozen=True):
    """One payment inside an entry."""

    references: References
    minor: int | None
    """In the entry's currency, with its sign; None where the bank does not say it."""
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
    references: References
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
    balances: tuple[Balance, ...]
    sequence: int | None = None
    page: int | None = None
    is_last_page: bool | None = None
    """None where the format does not count pages."""
    created: str = ""
    """When the bank made it, as it wrote that (ISO 8601)."""
    begins: date | None = None
    ends: date | None = None
    version: str = ""
    message_id: str = ""
    totals_differ: bool = False
    """The statement names a number or a sum of its entries that they do not have: one may be lost."""
    text: str = ""
    place: str = ""
    """Where in its file it stands; no part of what it says."""

    def balance(self, *types: BalanceType) -> Balance | None:
        """Return the first balance of these types, tried in turn."""
        for wanted in types:
            for balance in self.balances:
                if balance.type is wanted:
                    return balance
        return None

    def opening(self) -> Balance | None:
        """Return the balance that this statement or page begins with."""
        return self.balance(BalanceType.OPENING, BalanceType.OPENING_INTERMEDIATE)

    def closing(self) -> Balance | None:
        """Return the balance that this statement or page ends with."""
        return self.balance(BalanceType.CLOSING, BalanceType.CLOSING_INTERMEDIATE)

    def booked_minor(self) -> int:
        """Return by how much the booked entries moved the account."""
        return sum(each.minor for each in self.entries if each.status is EntryStatus.BOOKED)

    def content_hash(self) -> str:
        """Return the hash of what the statement says, wherever it stands and whatever file it came in."""
        content = msgspec.structs.replace(self, place="", message_id="")
        return hashlib.sha256(HASH_FORMAT + msgspec.json.encode(content)).hexdigest()


class FaultKind(StrEnum):
    """Why something is no statement that could be read."""

    UNREADABLE = "UNREADABLE"
    WRONG_CONTAINER = "WRONG_CONTAINER"


class StatementFault(msgspec.Struct, frozen=True):
    """What stood where a statement should: where, and what is wrong there."""

    kind: FaultKind
    place: str
    reason: str


class StatementFile(msgspec.Struct, frozen=True):
    """Everything that one file holds, in its order. One of the two is never empty."""

    statements: tuple[Statement, ...]
    faults: tuple[StatementFault, ...]


def details_differ(minor: int, details: Iterable[EntryDetail]) -> bool:
    """Say whether amounts of details contradict their entry's. One that says no amount contradicts nothing."""
    amounts = [detail.minor for detail in details]
    if all(amount is None for amount in amounts):
        return False
    return any(amount is None for amount in amounts) or sum(a or 0 for a in amounts) != minor


def entry_identities(statement: Statement) -> tuple[tuple[str, int], ...]:
    """Name each entry by what it says, and count the equal ones: two equal bookings a day are two.

    The bank's own reference names a booking; else date, amount, status and text do.
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
