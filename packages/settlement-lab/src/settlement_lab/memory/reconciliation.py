"""Reconciliation in memory (``ports.ReconciliationStore``)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec

from settlement_engine.domain.bank_codes import folded_bank
from settlement_engine.domain.booking_days import counted_on
from settlement_engine.domain.breaks.suggestions import BreakSuggestion
from settlement_engine.domain.closed_differences import parted, reversible
from settlement_engine.domain.matching.breaks import references_of
from settlement_engine.domain.matching.values import theirs_of
from settlement_engine.domain.matching_pages import (
    day_changes,
    names_of,
    settled_days,
    without_taken_back,
)
from settlement_engine.domain.proof import DaySums
from settlement_engine.domain.reconciliation import (
    ENTRIES_AT_ONCE,
    MOVES_AT_ONCE,
    SUPERSEDED,
    AccountToReconcile,
    EntryPlace,
    MatchingPage,
    PageDone,
    PageMatches,
    RunBegin,
    TheirItem,
)
from settlement_engine.domain.statements import END_OF_DAY, Statement
from settlement_engine.errors import NotFound, WrongState
from settlement_engine.ports import StatementToMatch
from settlement_lab.memory import break_corrections, differences
from settlement_lab.memory.book_proofs import MemoryBookProofs
from settlement_lab.memory.notices import notice_report
from settlement_lab.memory.open_breaks import MemoryBreaks
from settlement_lab.memory.our_postings import AT_BANKS, MemoryPostings
from settlement_lab.memory.reconciled import KeptMatch, Reconciled, place_of
from settlement_lab.memory.set_aside import end_of_day

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime
    from uuid import UUID

    from settlement_engine.domain.closed_differences import WaitingReversals
    from settlement_engine.domain.ledger import Transfer
    from settlement_engine.domain.reconciliation import (
        CurrencyReport,
        ReconciliationRun,
    )
    from settlement_engine.ports import Matcher, Zones
    from settlement_lab.memory.accounts import MemoryAccounts
    from settlement_lab.memory.records import Records


class MemoryReconciliation(MemoryPostings, MemoryBreaks, MemoryBookProofs):
    """See ``ports.ReconciliationStore``."""

    def __init__(self, records: Records, accounts: MemoryAccounts) -> None:
        self._records = records
        self._accounts = accounts
        self._kept: Reconciled = records.reconciled

    # --- runs -------------------------------------------------------------------------------------

    def now(self) -> datetime:
        """Return the time of the records."""
        return self._records.clock.now()

    async def begin(self, run: ReconciliationRun) -> RunBegin:
        """Record a run and hold it; see the port."""
        if self._kept.held_by is not None:
            return RunBegin.BUSY
        if run.id in self._kept.ends:
            return RunBegin.DONE
        self._kept.held_by = self
        self._kept.runs.setdefault(run.id, (run, self._records.clock.now()))
        return RunBegin.BEGUN

    async def end(
        self, run_id: UUID, parts: Sequence[CurrencyReport], matches: int, result_hash: bytes
    ) -> None:
        """Record the end of a run with its reports, and give it free."""
        del matches, result_hash
        for part in parts:
            notice_report(self._records, self._kept.runs[run_id][0], part)
        self._kept.ends[run_id] = (self._records.clock.now(), tuple(parts))
        await self.leave()

    async def leave(self) -> None:
        """Give a run free."""
        if self._kept.held_by is self:
            self._kept.held_by = None

    # --- what is to be matched ----------------------------------------------------------------------

    async def take_in_postings(self, zones: Zones) -> bool:
        """Read the next moves for postings on accounts at banks; True if there may be more."""
        moves = self._records.moves[self._kept.moves_read :][:MOVES_AT_ONCE]
        self._kept.moves_read += len(moves)
        settlements = {moved.settlement_id for moved in moves}
        for transfer in list(self._records.transfers.values()):
            if transfer.group_id in settlements:
                for account_id in (transfer.debit_id, transfer.credit_id):
                    zone = zones.by_account.get(account_id, zones.default)
                    self._take_in(transfer, account_id, zone)
        return self._kept.moves_read < len(self._records.moves)

    async def take_in_outside(self, account_id: int, zone: str) -> None:
        """Read the postings of an account that no settlement has made."""
        self._read_outside(account_id, zone)

    async def accounts_to_reconcile(
        self, run: ReconciliationRun, limit: int
    ) -> list[AccountToReconcile]:
        """Return the accounts at banks that a run is about, by id."""
        found = [
            AccountToReconcile(
                id=each.id, bank=each.bank, currency=each.currency, number=each.account_number
            )
            for _, each in sorted(self._records.accounts.items())
            if each.kind in AT_BANKS
            and run.account_id in (None, each.id)
            and (not run.bank or each.bank == folded_bank(run.bank))
            and run.currency in ("", each.currency)
        ]
        return found[:limit]

    async def accounts_with_unseen_statements(
        self, statements_max: int, *, older_seconds: float = 0.0
    ) -> list[int]:
        """Return the accounts whose statements no run that ended has looked at; see the port."""
        upto = self._records.clock.now() - timedelta(seconds=older_seconds)
        looked_at: dict[int, datetime] = {}
        for run_id in self._kept.ends:
            run, started_at = self._kept.runs[run_id]
            for account in await self.accounts_to_reconcile(run, len(self._records.accounts)):
                looked_at[account.id] = max(started_at, looked_at.get(account.id, started_at))
        unseen: set[int] = set()
        for kept in self._records.statements[::-1][:statements_max]:
            account_id, at = kept.result.account_id, kept.result.at
            if not kept.is_kept or account_id is None or at is None or at > upto:
                continue
            is_counted = isinstance(kept.said, Statement) and kept.said.source in END_OF_DAY
            if is_counted and (account_id not in looked_at or at > looked_at[account_id]):
                unseen.add(account_id)
        unseen |= self._records.set_aside.unproved(end_of_day(self._records), upto)
        return sorted(unseen)

    async def statements_to_match(self, account_id: int, limit: int) -> list[StatementToMatch]:
        """Return the kept end-of-day statements of an account."""
        found = [
            StatementToMatch(
                id=each.result.id,
                head=self._records.set_aside.head(each.result.id, each.said),
                entries=len(each.said.entries),
                entries_done=self._kept.progress.get(each.result.id),
                last_decision_id=self._records.set_aside.last_decision(each.result.id),
            )
            for each in self._records.statements
            if each.is_kept and each.result.account_id == account_id
            if isinstance(each.said, Statement) and each.said.source in END_OF_DAY
        ]
        if len(found) > limit:
            raise WrongState(f"account {account_id} has more than {limit:,} statements")
        return sorted(found, key=lambda each: (each.head.ends, each.id))

    async def retract_statement(
        self,
        account_id: int,
        statement_id: int,
        run_id: UUID,
        *,
        zone: str = "UTC",
        reason: str = SUPERSEDED,
    ) -> None:
        """Take back what a statement's entries are in: it does not count any more."""
        del run_id
        for kept in list(self._kept.matches):
            is_in = any(each.statement_id == statement_id for each in kept.theirs)
            if is_in and not kept.reason:
                self._open_again(kept, reason, "engine")
        await self.reverse_differences(account_id, zone=zone)
        for key, each in list(self._kept.theirs.items()):
            if each.statement_id == statement_id:
                del self._kept.theirs[key]
                change = DaySums(day=each.booked_on, theirs_minor=-each.item.minor, theirs=-1)
                self.count(account_id, [change])
        self._kept.progress.pop(statement_id, None)

    async def reverse_differences(self, account_id: int, *, zone: str = "UTC") -> WaitingReversals:
        """Reverse what waits for cover, and is covered now."""
        found = differences.unreversed(self._records, account_id)
        room = differences.room_minor(self._records.accounts[account_id])
        covered, waiting = reversible([each for _, _, each in found], account_id, room)
        for number, kept, reversing in found:
            if reversing in covered:
                self._reverse(number, kept, reversing, zone)
        return waiting

    # --- matching -----------------------------------------------------------------------------------

    async def match_statement_page(
        self,
        account_id: int,
        run_id: UUID,
        statement: StatementToMatch,
        match: Matcher,
        *,
        zone: str = "UTC",
    ) -> PageDone:
        """Match the next entries of a statement with open postings; what is left over is open."""
        done = statement.entries_done or 0
        (said,) = (each.said for each in self._records.statements if each.result.id == statement.id)
        assert isinstance(said, Statement), "only statements are kept"
        head = statement.head
        dates = {each.number: each.booking_date for each in said.entries}
        found = []
        for each in theirs_of(said, str(account_id)):
            number = int(each.id.rpartition("/")[2])
            day = counted_on(head.begins, head.ends, dates[number])
            item = msgspec.structs.replace(each, id=f"{day.isoformat()}/{each.id}")
            found.append(
                TheirItem(statement_id=statement.id, number=number, booked_on=day, item=item)
            )
        theirs = tuple(each for each in found if each.number > done)[:ENTRIES_AT_ONCE]
        result = self._match((account_id, zone), run_id, theirs, match, are_new=True)
        is_last = len(theirs) < ENTRIES_AT_ONCE
        upto = statement.entries if is_last else theirs[-1].number
        self._kept.progress[statement.id] = upto
        return msgspec.structs.replace(result, is_last=is_last, upto=upto)

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
        theirs = self._kept.open_entries(account_id, after)
        result = self._match((account_id, zone), run_id, theirs, match, are_new=False)
        done = msgspec.structs.replace(result, is_last=len(theirs) < ENTRIES_AT_ONCE)
        return done, place_of(theirs[-1]) if theirs else after

    def _match(
        self,
        account: tuple[int, str],
        run_id: UUID,
        theirs: tuple[TheirItem, ...],
        match: Matcher,
        *,
        are_new: bool,
    ) -> PageDone:
        """Match a page of an account, in its zone."""
        account_id, zone = account
        page = MatchingPage(self._kept.to_match(account_id, theirs), theirs)
        found = without_taken_back(page, match(page), self._kept.taken_back(account_id))
        exact, closing = parted(found)
        if are_new:
            self._kept.theirs.update({(account_id, each.name): each for each in theirs})
        self._keep_page(account_id, run_id, page, exact, are_new=are_new)
        made = differences.posted(self._records, self._accounts, account_id, page, closing)
        self._read_outside(account_id, zone)
        posted = [self._kept.ours[account_id, each.ours[-1]] for each in made]
        page = MatchingPage((*page.ours, *posted), theirs)
        closed = PageMatches(matches=tuple(made), suggestions=(), result_hash="")
        self._keep_page(account_id, run_id, page, closed, are_new=False)
        return PageDone(
            entries=len(theirs),
            matches=len(exact.matches) + len(made),
            is_last=True,
            result_hash=found.result_hash,
            differences=len(made),
            differences_minor=sum(abs(each.difference_minor) for each in made),
        )

    def _keep_page(
        self,
        account_id: int,
        run_id: UUID,
        page: MatchingPage,
        found: PageMatches,
        *,
        are_new: bool,
    ) -> None:
        days = settled_days(page, found.matches)
        self.count(account_id, day_changes(page, found, days, are_new=are_new))
        self._keep_matches(account_id, run_id, page, found, days)

    def _keep_matches(
        self,
        account_id: int,
        run_id: UUID,
        page: MatchingPage,
        found: PageMatches,
        days: Sequence[date],
    ) -> None:
        names = {each.item.id: each.name for each in page.theirs}
        for match, day in zip(found.matches, days, strict=True):
            self._kept.matches.append(
                KeptMatch(
                    account_id=account_id,
                    run_id=run_id,
                    match=match,
                    ours=tuple(self._kept.ours.pop((account_id, item)) for item in match.ours),
                    theirs=tuple(
                        self._kept.theirs.pop((account_id, names[item])) for item in match.theirs
                    ),
                    settled_on=day,
                    at=self._records.clock.now(),
                )
            )
        for each in found.suggestions:
            words = sorted((*each.ours, *(names[item] for item in each.theirs)))
            said = BreakSuggestion(
                each.matched_by,
                each.explanation,
                each.ours,
                tuple(names[item] for item in each.theirs),
            )
            self._kept.suggestions.setdefault((account_id, "\x1f".join(words).encode()), said)

    async def unmatch(self, match_id: int, *, who: str, reason: str) -> None:
        """Take a live match back: its items are open again."""
        if not 0 < match_id <= len(self._kept.matches):
            raise NotFound(f"there is no match {match_id}")
        kept = self._kept.matches[match_id - 1]
        if kept.reason:
            raise WrongState(f"match {match_id} is taken back already")
        self.take_back(kept, reason, who)

    def take_back(
        self, kept: KeptMatch, reason: str, who: str = "engine", zone: str = "UTC"
    ) -> None:
        """Take a live match back: its items are open again, and what its difference had posted is reversed.

        Raises WrongState if the account does not cover it.
        """
        reversing = differences.reversing_of(self._records, kept)
        self._open_again(kept, reason, who)
        if reversing is not None:
            self._reverse(self._kept.matches.index(kept) + 1, kept, reversing, zone)

    def _open_again(self, kept: KeptMatch, reason: str, who: str) -> None:
        kept.reason, kept.taken_back_by = reason, who
        change = DaySums(
            day=kept.settled_on,
            matched_ours_minor=-sum(each.item.minor for each in kept.ours),
            matched_ours=-len(kept.ours),
            matched_theirs_minor=-sum(each.item.minor for each in kept.theirs),
            matched_theirs=-len(kept.theirs),
        )
        self.count(kept.account_id, [change])
        for ours in kept.ours:
            self._open_ours(kept.account_id, ours)
        for theirs in kept.theirs:
            self._kept.theirs[kept.account_id, theirs.name] = theirs

    def _reverse(self, number: int, kept: KeptMatch, reversing: Transfer, zone: str) -> None:
        """Post what reverses the difference of a match, and match it with that difference."""
        self._accounts.post_outside(reversing)
        self._read_outside(kept.account_id, zone)
        match = differences.reversal_match(kept, number, reversing.group_id)
        pair = tuple(self._kept.ours[kept.account_id, each] for each in match.ours)
        found = PageMatches(matches=(match,), suggestions=(), result_hash="")
        page = MatchingPage(pair, ())
        self._keep_page(kept.account_id, kept.run_id, page, found, are_new=False)

    async def reopen_late(self, account_id: int, run_id: UUID, *, zone: str = "UTC") -> list[int]:
        """Open again what people closed without an entry that is there now."""
        del run_id
        named = {
            name
            for (owner, _), each in self._kept.theirs.items()
            if owner == account_id
            for name in names_of(each.item)
        }
        found: list[int] = []
        for number, kept in enumerate(self._kept.matches, start=1):
            has_correction = any(each.item.id.endswith("/12") for each in kept.ours)
            is_live = kept.account_id == account_id and not kept.reason and has_correction
            names = {name for each in kept.ours for name in references_of(each.item)}
            if is_live and not kept.theirs and not named.isdisjoint(names):
                said = ("engine", "an entry of the bank came late")
                found += break_corrections.take_back(self._records, self, number, said, zone)
        return found
