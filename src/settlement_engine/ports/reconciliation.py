"""What reconciliation asks of the store, and what the API asks of reconciliation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

from settlement_engine.domain.reconciliation import SUPERSEDED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import date, datetime
    from uuid import UUID

    from settlement_engine.domain.balance_comparison import StatedBalance
    from settlement_engine.domain.booking_days import DaysByStatement
    from settlement_engine.domain.closed_differences import WaitingReversals
    from settlement_engine.domain.open_items import ItemPlace, OpenItem, ProofAsOf
    from settlement_engine.domain.proof import BalanceProof, ReconciledBooks
    from settlement_engine.domain.reconciliation import (
        AccountResult,
        AccountToReconcile,
        BreakPage,
        CurrencyReport,
        EntryPlace,
        FoundBreak,
        MatchingPage,
        PageDone,
        PageMatches,
        ReconciliationBreak,
        ReconciliationReport,
        ReconciliationRun,
        RecordedMatch,
        RunBegin,
    )
    from settlement_engine.domain.statement_chain import StatementHead

Matcher: TypeAlias = "Callable[[MatchingPage], PageMatches]"
"""Matches the items of a page. It is pure: it runs inside a transaction."""

BreakFinder: TypeAlias = "Callable[[BreakPage], list[FoundBreak]]"
"""Names the break of each open entry of a page. It is pure: it runs inside a transaction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Zones:
    """The zones whose days count as booking days: those of single accounts, and of all others."""

    default: str = "UTC"
    by_account: Mapping[int, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementToMatch:
    """A kept statement of an account. ``entries_done`` None: it was not matched yet.

    ``last_decision_id`` is the last decision of two people about it; 0: there is none.
    """

    id: int
    head: StatementHead
    entries: int
    entries_done: int | None
    last_decision_id: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakFilter:
    """Which breaks to list, the latest first. Empty fields do not filter."""

    limit: int
    before_id: int | None = None
    account_id: int | None = None
    kind: str = ""
    is_open: bool | None = None
    owner: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFilter:
    """Which reports to list, the latest first. ``before`` continues a list behind a run."""

    limit: int
    before: UUID | None = None
    day: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenItemFilter:
    """Which items to list: those of an account that were open at the end of a day, behind a place.

    ``begins`` is that of the day's ``ProofAsOf``.
    """

    account_id: int
    day: date
    begins: date | None
    limit: int
    after: ItemPlace | None = None


class ReconciliationStore(Protocol):
    """Keeps runs, matches, breaks, proofs and reports: append-only. Raises Unavailable, Contention.

    One run at a time, in all engines. Each page of an account is one transaction under a lock of the account.
    """

    async def begin(self, run: ReconciliationRun) -> RunBegin:
        """Record a run and hold it until ``end`` or ``leave``; one that was cut off may begin again."""
        ...

    async def end(
        self, run_id: UUID, parts: Sequence[CurrencyReport], matches: int, result_hash: bytes
    ) -> None:
        """Record the end of a run with its reports, and give it free."""
        ...

    async def leave(self) -> None:
        """Give a run free that did not come to its end."""
        ...

    async def take_in_postings(self, zones: Zones) -> bool:
        """Read the next moves for postings on accounts at banks; True if there may be more."""
        ...

    async def accounts_to_reconcile(
        self, run: ReconciliationRun, limit: int
    ) -> list[AccountToReconcile]:
        """Return the accounts at banks that a run is about, by id."""
        ...

    async def accounts_with_unseen_statements(
        self, statements_max: int, *, older_seconds: float = 0.0
    ) -> list[int]:
        """Return the accounts of which no run that ended has looked at the statements kept last, by id.

        Nor at those that two people have set aside or restored last. Only the latest ``statements_max`` statements of
        all accounts are asked about, and of these only those that were imported so many seconds ago or earlier.
        """
        ...

    async def take_in_outside(self, account_id: int, zone: str) -> None:
        """Read the postings of an account that no settlement has made: fundings, for example."""
        ...

    async def statements_to_match(self, account_id: int, limit: int) -> list[StatementToMatch]:
        """Return the kept end-of-day statements of an account. Raises WrongState if there are more than ``limit``."""
        ...

    async def retract_statement(
        self,
        account_id: int,
        statement_id: int,
        run_id: UUID,
        *,
        zone: str = "UTC",
        reason: str = SUPERSEDED,
    ) -> None:
        """Take back what a statement's entries are in: it does not count any more.

        The transfers of differences that were closed are reversed, and booked on the day of ``zone``. Those that the
        account does not cover wait: ``reverse_differences``.
        """
        ...

    async def reverse_differences(self, account_id: int, *, zone: str = "UTC") -> WaitingReversals:
        """Reverse the differences of matches that runs have taken back, where the account covers it now.

        Returns what waits still: each is an open posting, and a break.
        """
        ...

    async def match_statement_page(
        self,
        account_id: int,
        run_id: UUID,
        statement: StatementToMatch,
        match: Matcher,
        *,
        zone: str = "UTC",
    ) -> PageDone:
        """Match the next entries of a statement with open postings; what is left over is open.

        The difference of a match is posted in the same transaction, on the day of ``zone``. What the account does not
        cover is not matched.
        """
        ...

    async def match_open_page(
        self,
        account_id: int,
        run_id: UUID,
        after: EntryPlace,
        match: Matcher,
        *,
        zone: str = "UTC",
    ) -> tuple[PageDone, EntryPlace]:
        """Match the open entries behind a place with open postings; returns the place of the last."""
        ...

    async def reopen_late(self, account_id: int, run_id: UUID, *, zone: str = "UTC") -> list[int]:
        """Take back the matches that people have made of our postings alone, and whose entry is there now.

        The breaks that they had closed are open again; returns which ones.
        """
        ...

    async def find_breaks_page(
        self, account_id: int, run_id: UUID, after: EntryPlace, find: BreakFinder
    ) -> EntryPlace | None:
        """Open, keep and close the breaks of the open entries behind a place; None if there are no more."""
        ...

    async def settle_breaks(
        self, account_id: int, run_id: UUID, *, begins: date | None, last_day: date | None
    ) -> int:
        """Close the breaks whose items are not open any more, and open one for each posting that no entry explains.

        Postings before ``begins`` and after ``last_day`` are no breaks. Returns how many breaks are open.
        """
        ...

    async def set_opening_difference(
        self, account_id: int, run_id: UUID, wanted: FoundBreak | None
    ) -> None:
        """Open the break of an opening difference, and close those of another one."""
        ...

    async def statement_days(self, account_id: int) -> DaysByStatement:
        """Return the days of an account's matched statements; one that counts on its last day only may have none."""
        ...

    async def books(self, account_id: int, begins: date | None) -> ReconciledBooks:
        """Return the sums of an account's days, its balance, and what is open before its first statement."""
        ...

    async def reported_balance(self, account_id: int) -> StatedBalance | None:
        """Return the booked balance of the account's latest intraday report (camt.052) that has one."""
        ...

    async def balance_at(self, account_id: int, at: datetime) -> int:
        """Return the account's balance at an instant, positive if the bank owes us."""
        ...

    async def keep_proofs(
        self,
        account: AccountToReconcile,
        run_id: UUID,
        proofs: Sequence[BalanceProof],
        *,
        last_statement_id: int,
        last_decision_id: int = 0,
    ) -> int:
        """Append the proofs that differ from the last ones of their days, and record the last proved day.

        ``last_statement_id`` is the last statement of which the proofs know, and ``last_decision_id`` the last decision
        about statements; 0: there is none.
        """
        ...

    async def unmatch(self, match_id: int, *, who: str, reason: str) -> None:
        """Take a live match back: its items are open again. Raises NotFound, WrongState."""
        ...


class BalanceAsker(Protocol):
    """Asks banks for balances: those that give no statements."""

    async def balance(self, account: AccountToReconcile) -> StatedBalance | None:
        """Ask for the balance of an account now; None where no bank states it. Raises nothing of the bank's."""
        ...


class SettlementProofs(Protocol):
    """Says of which settlements the statements prove all bookings. Raises Unavailable."""

    async def proved(self, settlement_ids: Sequence[UUID]) -> frozenset[UUID]:
        """Return those among these whose postings on accounts at banks are all matched, where the proof is zero.

        The proof is the last one of the first day on which both sides have booked. Postings of one event that leave
        an account as it was are on no statement of it.
        """
        ...


class OpenItemsReader(Protocol):
    """Shows the items behind the proof of a past day. Raises Unavailable."""

    async def proof_as_of(self, account_id: int, day: date) -> ProofAsOf | None:
        """Return the last proof of an account for a day, as ``proofs`` does, and whether it is what there is now."""
        ...

    async def open_items(self, wanted: OpenItemFilter) -> list[OpenItem]:
        """Return the items that were open at the end of a day, in the order of their places.

        Without a change since the day's proof they add up to its figures. A match that is made between two pages moves
        its items in the list.
        """
        ...


class ReconciliationReader(SettlementProofs, OpenItemsReader, Protocol):
    """Shows what reconciliation has found. Raises Unavailable."""

    async def proofs(
        self, day: date | None, account_id: int | None, after_account: int, limit: int
    ) -> list[tuple[int, str, BalanceProof]]:
        """Return the last proof of each account for a day, or the last one at all, with its currency, by account.

        A day on which nothing was booked has the proof of the day before it, if a later one was proved.
        """
        ...

    async def breaks(self, wanted: BreakFilter) -> list[ReconciliationBreak]:
        """Return breaks, the latest first."""
        ...

    async def break_by_id(self, break_id: int) -> ReconciliationBreak | None:
        """Return one break with its history."""
        ...

    async def match(self, match_id: int) -> RecordedMatch | None:
        """Return one match with its items, also one that was taken back."""
        ...

    async def reports(self, wanted: ReportFilter) -> list[ReconciliationReport]:
        """Return reports of runs that have ended, the latest first."""
        ...

    async def report(self, run_id: UUID) -> ReconciliationReport | None:
        """Return one report."""
        ...


class ReconciliationMeter(Protocol):
    """Counts what runs have found."""

    def reconciled(self, differences: int) -> None:
        """Record one run: how many accounts differ."""
        ...

    def compared(self, *, equal: int, differing: int) -> None:
        """Count the accounts of a run of which only balances were compared."""
        ...


class Reconciler(Protocol):
    """Reconciles accounts on demand."""

    async def reconcile(self, run: ReconciliationRun) -> list[AccountResult]:
        """Carry out a run, and return what it found about each account; nothing for a run that is done already.

        Raises Contention while another run is going on, NotFound for an unknown account, Unavailable.
        """
        ...
