"""Reconciliation as values: runs, pages of items, breaks, and reports.

Promises: an item has one name on both stores: ``GROUP/POSTING/LEG`` of ours, ``STATEMENT/NUMBER`` of theirs. The
same difference has one fingerprint, whichever run finds it. Must never: read a clock or a database.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.domain.balance_comparison import BalanceComparison  # noqa: TC001 -- as the next
from settlement_engine.domain.matching.breaks import BreakKind, BreakSeverity
from settlement_engine.domain.proof import BalanceProof  # noqa: TC001 -- whoever decodes a report needs it
from settlement_engine.errors import Contention

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from settlement_engine.domain.breaks.history import BreakEvent
    from settlement_engine.domain.matching.values import Match, Ours, Theirs

ENTRIES_AT_ONCE: Final = 10_000
"""The most entries of the bank that one transaction matches."""

CANDIDATES_AT_ONCE: Final = 100_000
"""The most postings of ours that one transaction compares with them."""

UNNAMED_ITEMS_MAX: Final = 100
"""Up to so many entries and open postings are compared whole, so that sums without a reference can be suggested."""

MOVES_AT_ONCE: Final = 20_000
"""The most moves whose postings one transaction reads."""

ACCOUNTS_MAX: Final = 10_000
"""The most accounts of one run."""

EXPLANATION_CHARACTERS_MAX: Final = 1_000


class StartedFor(StrEnum):
    """Why a run was started."""

    SCHEDULE = "schedule"
    ARRIVAL = "arrival"
    DEMAND = "demand"


class RunBegin(StrEnum):
    """Whether a run could begin."""

    BEGUN = "begun"
    BUSY = "busy"
    """Another run is going on."""
    DONE = "done"
    """A run of this id came to its end before."""


class RunLost(Contention):
    """The run is not held any more: another one may be going on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconciliationRun:
    """One run: why it was started, by whom, and what it is about. Empty fields do not filter."""

    id: UUID
    started_for: StartedFor
    who: str
    rules_version: str
    account_id: int | None = None
    bank: str = ""
    currency: str = ""
    business_date: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountToReconcile:
    """One of our accounts at a bank."""

    id: int
    bank: str
    currency: str
    number: str


class OurItem(msgspec.Struct, frozen=True):
    """An open posting of ours with the day on which it was booked. ``posting_id`` is the store's own."""

    posting_id: int
    booked_on: date
    item: Ours


class TheirItem(msgspec.Struct, frozen=True):
    """A booked entry of a statement in force. It counts on ``booked_on`` (``domain/booking_days.py``)."""

    statement_id: int
    number: int
    booked_on: date
    item: Theirs

    @property
    def name(self) -> str:
        """Return its name among the items of a break."""
        return f"{self.statement_id}/{self.number}"


class MatchingPage(msgspec.Struct, frozen=True):
    """Entries of the bank, and every open posting of ours that a reference may connect with one of them."""

    ours: tuple[OurItem, ...]
    theirs: tuple[TheirItem, ...]


class PageMatches(msgspec.Struct, frozen=True):
    """What matching a page has found. Items are named as in the page's ``Ours.id`` and ``Theirs.id``."""

    matches: tuple[Match, ...]
    suggestions: tuple[Match, ...]
    result_hash: str


class PageDone(msgspec.Struct, frozen=True):
    """What became of a page. ``is_last``: nothing is left behind it; ``upto`` is the number of its last entry."""

    entries: int
    matches: int
    is_last: bool
    upto: int = 0
    result_hash: str = ""
    differences: int = 0
    differences_minor: int = 0
    """How many differences the rules closed, and their sum without signs, in minor units."""


class EntryPlace(msgspec.Struct, frozen=True, order=True):
    """The place of an open entry in the order of the account's open entries."""

    booked_on: date = date.min
    statement_id: int = 0
    number: int = 0


class BreakPage(msgspec.Struct, frozen=True):
    """Open entries with what may explain them.

    ``claimed`` are the ids of those of ours that another entry's break has already. ``matched`` are the references
    of matched postings that the entries name, with the amounts.
    """

    ours: tuple[OurItem, ...]
    theirs: tuple[TheirItem, ...]
    claimed: frozenset[str]
    matched: dict[str, frozenset[int]]


class FoundBreak(msgspec.Struct, frozen=True):
    """A difference that was found, with the names of its items."""

    kind: str
    severity: int
    amount_minor: int
    currency: str
    business_date: date
    reason: str
    ours: tuple[str, ...] = ()
    theirs: tuple[str, ...] = ()

    def fingerprint(self) -> bytes:
        """Return the hash of the kind and the items, or of the amount: the same difference is one break."""
        kind = self.kind if self.ours or self.theirs else f"{self.kind} {self.amount_minor}"
        words = (kind, *sorted(f"ours {each}" for each in self.ours))
        return hashed(*words, *sorted(f"theirs {each}" for each in self.theirs))


class ReconciliationBreak(msgspec.Struct, frozen=True):
    """A break as it is listed: with the names of its items and, for one of them, its history."""

    id: int
    account_id: int
    bank: str
    kind: str
    severity: int
    amount_minor: int
    currency: str
    business_date: date
    reason: str
    is_open: bool
    owner: str
    opened_at: datetime
    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    events: tuple[BreakEvent, ...] = ()


class RecordedMatch(msgspec.Struct, frozen=True):
    """A match as it is shown, with the names of its items. ``taken_back`` is the reason, if it was."""

    id: int
    account_id: int
    run_id: UUID
    matched_by: str
    rules_version: str
    explanation: str
    is_automatic: bool
    at: datetime
    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    difference_minor: int = 0
    difference_account: str = ""
    taken_back: str = ""


SUPERSEDED: Final = "another version of the statement counts"
SET_ASIDE: Final = "two people have set the statement aside"
"""Why the matches of a statement's entries are taken back."""

OPENING_DIFFERENCE: Final = "OPENING_DIFFERENCE"
"""The kind of the break that is left between the first statement's opening balance and our books."""

BREAK_KINDS: Final = (*(kind.value for kind in BreakKind), OPENING_DIFFERENCE)

MISSING_THEIRS_SEVERITY: Final = BreakSeverity.MEDIUM
MISSING_THEIRS_REASON: Final = "no statement has it"


class AccountOutcome(StrEnum):
    """What a run has found about an account."""

    BALANCED = "balanced"
    """The proof is zero, and nothing is open."""
    IDENTIFIED = "identified"
    """The proof is zero: the open items explain each difference."""
    UNRESOLVED = "unresolved"
    """A difference is left that no item explains, or statements are missing."""
    COMPARED = "compared"
    """The bank gives no statements, and its balance is ours: that is no proof."""
    PENDING = "pending"
    """There is no statement for the day."""
    FAILED = "failed"
    """The account could not be reconciled; the reason is given."""


class AccountResult(msgspec.Struct, frozen=True):
    """What a run has found about one account."""

    account_id: int
    bank: str
    currency: str
    outcome: AccountOutcome
    reason: str = ""
    proof: BalanceProof | None = None
    open_breaks: int = 0
    closed_differences: int = 0
    closed_minor: int = 0
    """How many differences the run closed by the rules, and their sum without signs, in minor units."""
    comparison: BalanceComparison | None = None

    @property
    def discrepancy_minor(self) -> int:
        """Return their balance less ours; 0 if there is neither a statement nor a balance."""
        proof = self.proof
        if self.comparison is not None:
            return self.comparison.difference_minor
        return 0 if proof is None else proof.their_closing_minor - proof.our_closing_minor


class CurrencyReport(msgspec.Struct, frozen=True):
    """The specification's report of one run for one currency. Signs never cancel, and currencies are never added."""

    currency: str
    total_accounts: int
    balanced_accounts: int
    discrepancy_accounts: int
    total_discrepancy_minor: int
    accounts: tuple[AccountResult, ...]

    @property
    def closed_differences(self) -> int:
        """Return how many differences the run closed by the rules."""
        return sum(each.closed_differences for each in self.accounts)

    @property
    def closed_minor(self) -> int:
        """Return the sum of these differences without signs, in minor units."""
        return sum(each.closed_minor for each in self.accounts)

    @property
    def compared_accounts(self) -> int:
        """Return of how many accounts only balances were compared, and equal: neither balanced nor a discrepancy."""
        return sum(each.outcome is AccountOutcome.COMPARED for each in self.accounts)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconciliationReport:
    """The report of a run: a part for each currency."""

    run: ReconciliationRun
    started_at: datetime
    ended_at: datetime | None
    parts: tuple[CurrencyReport, ...] = field(default=())


def reported(results: Sequence[AccountResult]) -> tuple[CurrencyReport, ...]:
    """Make the report of each currency from the results of the accounts."""
    by_currency: dict[str, list[AccountResult]] = {}
    for each in sorted(results, key=lambda each: each.account_id):
        by_currency.setdefault(each.currency, []).append(each)
    return tuple(_part(currency, found) for currency, found in sorted(by_currency.items()))


def _part(currency: str, found: list[AccountResult]) -> CurrencyReport:
    balanced = sum(each.outcome is AccountOutcome.BALANCED for each in found)
    compared = sum(each.outcome is AccountOutcome.COMPARED for each in found)
    return CurrencyReport(
        currency=currency,
        total_accounts=len(found),
        balanced_accounts=balanced,
        discrepancy_accounts=len(found) - balanced - compared,
        total_discrepancy_minor=sum(abs(each.discrepancy_minor) for each in found),
        accounts=tuple(found),
    )


def hashed(*words: str) -> bytes:
    """Return the hash of words, kept apart."""
    return hashlib.sha256("\x1f".join(words).encode()).digest()
