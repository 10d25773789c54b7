"""Reconciliation in PostgreSQL (``ports.ReconciliationStore``): runs, postings, matches, and the days' sums.

A run is held by a lock of a session of its own, which ends with the process. Each page is one transaction under a lock
of its account, so that a run that was cut off is continued where it stopped.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.domain.booking_days import days_of
from settlement_engine.domain.closed_differences import parted
from settlement_engine.domain.proof import ReconciledBooks
from settlement_engine.domain.reconciliation import (
    ENTRIES_AT_ONCE,
    SUPERSEDED,
    AccountToReconcile,
    EntryPlace,
    PageDone,
    RunBegin,
)
from settlement_engine.domain.statements import DETAILS_MAX, END_OF_DAY
from settlement_engine.errors import NotFound, WrongState
from settlement_engine.ports import StatementToMatch
from settlement_engine.store import break_pages, break_reopening, differences, matching_pages
from settlement_engine.store import reconciliation_rows as rows_of
from settlement_engine.store.database import DatabaseConnection, DatabaseConnections
from settlement_engine.store.postings_intake import take_in_postings
from settlement_engine.store.proof_rows import keep_proofs
from settlement_engine.store.queries import query
from settlement_engine.store.reconciliation_hold import require_held
from settlement_engine.store.reported_balances import balance_at, reported_balance
from settlement_engine.store.statement_rows import readable, to_head
from settlement_engine.store.statements import TRANSACTION_SECONDS as IMPORT_SECONDS_MAX

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from datetime import date, datetime
    from uuid import UUID

    from settlement_engine.domain.balance_comparison import StatedBalance
    from settlement_engine.domain.booking_days import DaysByStatement
    from settlement_engine.domain.closed_differences import WaitingReversals
    from settlement_engine.domain.proof import BalanceProof
    from settlement_engine.domain.reconciliation import (
        CurrencyReport,
        FoundBreak,
        ReconciliationRun,
        TheirItem,
    )
    from settlement_engine.ports import BreakFinder, Matcher, Zones
    from settlement_engine.store.database import Connection, DatabaseSettings, Readers

TRANSACTION_SECONDS: Final = 120.0
STATEMENT_SECONDS: Final = 60.0
BETWEEN_STATEMENTS_SECONDS: Final = 30.0
"""How long a page is matched between two calls of the database."""

WRITERS_MAX: Final = 2
"""How many accounts are written side by side, and how many parts of the moves."""

RECONCILING_PLAN: Final = {
    # A page looks its items up by key, in tables that have grown or become empty just now; and the postings of
    # MOVES_AT_ONCE moves are sorted in memory.
    "enable_seqscan": "off",
    "max_parallel_workers_per_gather": "0",
    "work_mem": "32MB",
}

_SOURCES: Final = sorted(source.value for source in END_OF_DAY)


class PostgresReconciliation:
    """See ``ports.ReconciliationStore``."""

    def __init__(self, settings: DatabaseSettings, readers: Readers) -> None:
        self._readers = readers
        patient = replace(
            settings,
            statement_timeout_seconds=STATEMENT_SECONDS,
            lock_timeout_seconds=STATEMENT_SECONDS,
            idle_in_transaction_timeout_seconds=BETWEEN_STATEMENTS_SECONDS,
            transaction_timeout_seconds=TRANSACTION_SECONDS,
        )
        self._writing = DatabaseConnections(patient, WRITERS_MAX, RECONCILING_PLAN, is_writing=True)
        self._holding = DatabaseConnection(patient, is_writing=True)
        self._is_held = False
        self._holder: int | None = None

    async def close(self) -> None:
        """Close the connections; a run that is held is given free by it."""
        await self._holding.close()
        await self._writing.close()

    # --- runs -------------------------------------------------------------------------------------

    async def begin(self, run: ReconciliationRun) -> RunBegin:
        """Record a run and hold it; see the port."""
        if self._is_held:
            return RunBegin.BUSY
        self._is_held = True
        found = RunBegin.BUSY
        try:
            row = await self._holding.fetchrow("try_reconciliation")
            assert row is not None, "a function returns a row"
            if row["is_ours"]:
                self._holder = row["holder"]
                rows = await self._holding.fetch("add_reconciliation_run", *rows_of.run_row(run))
                found = RunBegin.BEGUN if rows or await self._is_cut_off(run) else RunBegin.DONE
        finally:
            if found is not RunBegin.BEGUN:
                await self.leave()
        return found

    async def _is_cut_off(self, run: ReconciliationRun) -> bool:
        return not await self._holding.fetch("reconciliation_run_end", run.id)

    async def end(
        self, run_id: UUID, parts: Sequence[CurrencyReport], matches: int, result_hash: bytes
    ) -> None:
        """Record the end of a run with its reports, and give it free."""
        async with self._writing.transaction() as connection:
            for part in parts:
                days = [each.proof.booking_date for each in part.accounts if each.proof]
                await connection.execute(
                    query("add_reconciliation_report"),
                    run_id,
                    part.currency,
                    max(days, default=None),
                    part.total_accounts,
                    part.balanced_accounts,
                    part.discrepancy_accounts,
                    part.total_discrepancy_minor,
                    msgspec.json.encode(part.accounts).decode(),
                )
            await require_held(connection, self._holder)
            await connection.execute(query("end_reconciliation_run"), run_id, result_hash, matches)
        await self.leave()

    async def leave(self) -> None:
        """Give a run free; the connection is closed, so that its lock ends whatever its state."""
        self._is_held, self._holder = False, None
        await self._holding.close()

    # --- what is to be matched ----------------------------------------------------------------------

    async def take_in_postings(self, zones: Zones) -> bool:
        """Read the next moves for postings on accounts at banks; True if there may be more."""
        return await take_in_postings(self._writing, zones)

    async def accounts_to_reconcile(
        self, run: ReconciliationRun, limit: int
    ) -> list[AccountToReconcile]:
        """Return the accounts at banks that a run is about, by id."""
        rows = await self._readers.fetch(
            "accounts_to_reconcile", run.account_id, run.bank or None, run.currency or None, limit
        )
        return [
            AccountToReconcile(
                id=row["id"],
                bank=row["bank"],
                currency=row["currency"],
                number=row["account_number"],
            )
            for row in rows
        ]

    async def accounts_with_unseen_statements(
        self, statements_max: int, *, older_seconds: float = 0.0
    ) -> list[int]:
        """Return the accounts whose statements no run that ended has looked at; see the port."""
        rows = await self._readers.fetch(
            "accounts_with_unseen_statements",
            _SOURCES,
            statements_max,
            IMPORT_SECONDS_MAX,
            older_seconds,
        )
        return [row["id"] for row in rows]

    async def take_in_outside(self, account_id: int, zone: str) -> None:
        """Read the postings of an account that no settlement has made."""
        async with self._of(account_id) as connection:
            row = await connection.fetchrow(query("take_in_outside"), account_id, zone)
            if row is not None and row["booked_until"] is not None:
                await connection.execute(
                    query("keep_booked_until"), account_id, row["booked_until"]
                )

    async def statements_to_match(self, account_id: int, limit: int) -> list[StatementToMatch]:
        """Return the kept end-of-day statements of an account."""
        rows = await self._readers.fetch("statements_to_match", account_id, _SOURCES, limit + 1)
        if len(rows) > limit:
            raise WrongState(f"account {account_id} has more than {limit:,} statements")
        return [
            StatementToMatch(
                id=row["id"],
                head=to_head(row),
                entries=row["entries"],
                entries_done=row["entries_done"],
                last_decision_id=row["last_decision_id"],
            )
            for row in rows
        ]

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
        async with self._of(account_id) as connection:
            retracted = (statement_id, reason)
            await differences.retract(connection, account_id, retracted, run_id, zone)

    async def reverse_differences(self, account_id: int, *, zone: str = "UTC") -> WaitingReversals:
        """Reverse what waits for cover, and is covered now."""
        async with self._of(account_id) as connection:
            return await differences.reverse(connection, account_id, zone)

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
        head = statement.head
        async with self._of(account_id) as connection:
            # A run that has lost its session may have matched a page after the statement was read.
            done = await connection.fetchval(query("statement_progress"), statement.id) or 0
            read = (statement.id, done, ENTRIES_AT_ONCE, DETAILS_MAX)
            rows = await connection.fetch(query("entries_to_match"), *read)
            theirs = tuple(rows_of.to_new_item(row, str(account_id), head) for row in rows)
            page, found = await matching_pages.matched(connection, account_id, theirs, match)
            exact, closing = parted(found)
            await matching_pages.write(connection, account_id, run_id, page, exact, are_new=True)
            made = await differences.close(connection, account_id, run_id, page, closing, zone)
            is_last = len(theirs) < ENTRIES_AT_ONCE
            upto = statement.entries if is_last else theirs[-1].number
            await connection.execute(
                query("keep_statement_progress"), statement.id, account_id, upto
            )
            said = [(row["booking_date"], row["amount_minor"]) for row in rows]
            await connection.execute(
                query("add_to_statement_days"),
                statement.id,
                *rows_of.statement_day_columns(days_of(head, said)),
            )
        return PageDone(
            entries=len(theirs),
            matches=len(exact.matches) + len(made),
            is_last=is_last,
            upto=upto,
            result_hash=found.result_hash,
            **differences.counted(made),
        )

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
        async with self._of(account_id) as connection:
            theirs = await matching_pages.open_entries(connection, account_id, after)
            page, found = await matching_pages.matched(connection, account_id, theirs, match)
            exact, closing = parted(found)
            await matching_pages.write(connection, account_id, run_id, page, exact, are_new=False)
            made = await differences.close(connection, account_id, run_id, page, closing, zone)
        done = PageDone(
            entries=len(theirs),
            matches=len(exact.matches) + len(made),
            is_last=len(theirs) < ENTRIES_AT_ONCE,
            result_hash=found.result_hash,
            **differences.counted(made),
        )
        return done, _place(theirs[-1]) if theirs else after

    async def unmatch(self, match_id: int, *, who: str, reason: str) -> None:
        """Take a live match back: its items are open again."""
        row = await self._readers.fetchrow("live_match", match_id)
        if row is None:
            raise NotFound(f"there is no match {match_id}")
        async with self._of(row["account_id"]) as connection:
            row = await connection.fetchrow(query("live_match"), match_id)
            assert row is not None, "matches are never deleted"
            if row["is_taken_back"]:
                raise WrongState(f"match {match_id} is taken back already")
            said = (who, reason)
            await differences.take_back(connection, row["account_id"], [match_id], said, zone="UTC")

    async def reopen_late(self, account_id: int, run_id: UUID, *, zone: str = "UTC") -> list[int]:
        """Open again what people closed without an entry that is there now."""
        async with self._of(account_id) as connection:
            return await break_reopening.reopen_late(connection, account_id, run_id, zone)

    # --- breaks and proofs --------------------------------------------------------------------------

    async def find_breaks_page(
        self, account_id: int, run_id: UUID, after: EntryPlace, find: BreakFinder
    ) -> EntryPlace | None:
        """Open, keep and close the breaks of the open entries behind a place; None if there are no more."""
        async with self._of(account_id) as connection:
            theirs = await matching_pages.open_entries(connection, account_id, after)
            if not theirs:
                return None
            ours = await matching_pages.candidates(connection, account_id, theirs)
            await break_pages.keep_found(connection, account_id, run_id, (ours, theirs), find)
        return _place(theirs[-1])

    async def settle_breaks(
        self, account_id: int, run_id: UUID, *, begins: date | None, last_day: date | None
    ) -> int:
        """Close breaks that are none any more, and open those of postings that no entry explains."""
        is_more = True
        while is_more:
            async with self._of(account_id) as connection:
                is_more = await break_pages.settle(connection, account_id, run_id, begins, last_day)
        row = await self._readers.fetchrow("count_open_breaks", account_id)
        assert row is not None, "a count is a row"
        return int(row["breaks"])

    async def set_opening_difference(
        self, account_id: int, run_id: UUID, wanted: FoundBreak | None
    ) -> None:
        """Open the break of an opening difference, and close those of another one."""
        async with self._of(account_id) as connection:
            await break_pages.set_opening(connection, account_id, run_id, wanted)

    async def statement_days(self, account_id: int) -> DaysByStatement:
        """Return the days of an account's matched statements."""
        return rows_of.to_statement_days(await self._readers.fetch("statement_days", account_id))

    async def books(self, account_id: int, begins: date | None) -> ReconciledBooks:
        """Return the sums of an account's days, its balance, and what is open before its first statement."""
        async with self._of(account_id) as connection:
            days = await connection.fetch(query("reconciliation_books"), account_id)
            row = await connection.fetchrow(query("reconciliation_balance"), account_id, begins)
        if row is None:
            raise NotFound(f"there is no account {account_id}")
        return ReconciledBooks(
            days=tuple(map(rows_of.to_day_sums, days)),
            balance_minor=int(row["balance_minor"]) if row["is_read"] else None,
            open_before_minor=int(row["open_before_minor"]),
            open_before=row["open_before"],
        )

    async def reported_balance(self, account_id: int) -> StatedBalance | None:
        """Return the booked balance of the latest intraday report that has one."""
        return await reported_balance(self._readers, account_id)

    async def balance_at(self, account_id: int, at: datetime) -> int:
        """Return the account's balance at an instant."""
        return await balance_at(self._readers, account_id, at)

    async def keep_proofs(
        self,
        account: AccountToReconcile,
        run_id: UUID,
        proofs: Sequence[BalanceProof],
        *,
        last_statement_id: int,
        last_decision_id: int = 0,
    ) -> int:
        """Append the proofs that differ from the last ones of their days, and record the last proved day."""
        made_of = (proofs, (last_statement_id, last_decision_id))
        async with self._of(account.id) as connection:
            return await keep_proofs(connection, account.id, run_id, account.currency, *made_of)

    @asynccontextmanager
    async def _of(self, account_id: int) -> AsyncIterator[Connection]:
        """Begin a transaction that holds the lock of an account."""
        with readable(f"an item of account {account_id}"):
            async with self._writing.transaction() as connection:
                await connection.execute(query("lock_reconciliation_account"), account_id)
                await require_held(connection, self._holder)
                yield connection


def _place(item: TheirItem) -> EntryPlace:
    return EntryPlace(item.booked_on, item.statement_id, item.number)
