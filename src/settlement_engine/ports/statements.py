"""What the import of statements asks of the store, and what the API asks of the import."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import date

    from settlement_engine.domain.chain_problems import ChainPlace, ChainProblem, KeptHead
    from settlement_engine.domain.continuity import ImportOutcome
    from settlement_engine.domain.statement_chain import StatementHead
    from settlement_engine.domain.statement_import import (
        AccountAtBank,
        FoundStatement,
        ImportedStatement,
        ReceivedFile,
        StatementWithEntries,
    )

Judge: TypeAlias = "Callable[[Sequence[StatementHead]], ImportOutcome]"
"""Decides on a statement by the kept ones of its account. It is pure: it runs inside a transaction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementFilter:
    """Which statements to list, the latest first. ``before_id`` continues a list."""

    limit: int
    before_id: int | None = None
    has_problem: bool = False
    account_id: int | None = None


@dataclass(frozen=True, slots=True)
class FilePart:
    """A part of a file's bytes, and the length of the whole file."""

    name: str
    file_bytes: int
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadStatement:
    """A statement with entries that the search for our payments cannot read; ``first_entry`` 0: nothing of it."""

    account_id: int
    id: int
    begins: date
    ends: date
    entries: int
    first_entry: int
    why: str


class StatementStore(Protocol):
    """Keeps files of statements, and statements with their entries: append-only. Raises Unavailable, Contention."""

    async def keep_file(self, file: ReceivedFile) -> None:
        """Store a file's bytes durably; the same bytes are stored once."""
        ...

    async def accounts_by_numbers(self, numbers: Sequence[str]) -> list[AccountAtBank]:
        """Return our accounts at banks that may have one of these numbers, in any spelling."""
        ...

    async def accounts_at_banks(
        self, bank: str, *, after_id: int, limit: int
    ) -> list[AccountAtBank]:
        """Return our active accounts at banks behind an id: at one bank, or at all where none is named.

        Those of rails at their settlement agents are always among them.
        """
        ...

    async def last_days(self, account_ids: Sequence[int]) -> dict[int, date]:
        """Return the last day of the kept end-of-day statements of each account that has any."""
        ...

    async def kept_heads(self, account_id: int) -> list[KeptHead]:
        """Return the kept end-of-day statements of an account. Raises WrongState for too many."""
        ...

    async def unread(self, account_ids: Sequence[int], limit: int) -> list[UnreadStatement]:
        """Return the statements of accounts of which entries could not be searched for our payments."""
        ...

    async def import_found(
        self, found: FoundStatement, account_id: int | None, judge: Judge
    ) -> ImportedStatement:
        """Judge one statement by the kept ones of the account, and append it with its outcome, in one transaction.

        Imports for one account wait for each other, across engines. What was imported before is not appended.
        """
        ...

    async def statements(self, wanted: StatementFilter) -> list[ImportedStatement]:
        """Return statements with their outcomes, the latest first."""
        ...

    async def statement(
        self, statement_id: int, *, after_entry: int = 0, entries_max: int = 0
    ) -> StatementWithEntries | None:
        """Return a statement, and its entries behind a number."""
        ...

    async def file_part(self, sha256: bytes, offset: int, bytes_max: int) -> FilePart | None:
        """Return a part of a file's bytes."""
        ...


class StatementImporter(Protocol):
    """Imports files of statements."""

    async def import_file(self, file: ReceivedFile) -> list[ImportedStatement]:
        """Keep the file, read it, and import each statement; each has an outcome, in the order of the file.

        Raises InvalidInstruction for a CSV mapping that cannot be read, Unavailable, Contention.
        """
        ...


class FetchOutcome(StrEnum):
    """What has become of the question for a statement."""

    FETCHED = "FETCHED"
    NOT_GIVEN = "NOT_GIVEN"  # the bank has answered without a statement
    NOT_REACHED = "NOT_REACHED"  # the bank has not answered
    NOT_OFFERED = "NOT_OFFERED"  # no rail asks the bank that keeps the account


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedAccount:
    """An account whose statement was asked for, and the statements that have come."""

    account_id: int
    bank: str
    account_number: str
    currency: str
    outcome: FetchOutcome
    reason: str
    rail: str = ""
    statements: tuple[ImportedStatement, ...] = ()

    def with_outcome(
        self,
        outcome: FetchOutcome,
        rail: str,
        reason: str,
        statements: tuple[ImportedStatement, ...] = (),
    ) -> FetchedAccount:
        """Return the account with what the bank has answered."""
        return replace(self, outcome=outcome, rail=rail, reason=reason, statements=statements)


class StatementFetcher(Protocol):
    """Asks banks for statements, and has them imported."""

    async def fetch(self, bank: str, day: date | None, who: str) -> list[FetchedAccount]:
        """Ask for the statements of a day: of our accounts at a bank, or of all where none is named.

        Without a day it is yesterday, in UTC.

        Raises WrongState for too many accounts, Unavailable, Contention.
        """
        ...

    async def fetch_account(
        self, account: AccountAtBank, day: date, who: str
    ) -> list[FetchedAccount]:
        """Ask for the statement of one account; empty if nobody can be asked for it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountProblem:
    """A problem with the statements of an account of ours."""

    account: AccountAtBank
    problem: ChainProblem


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemPage:
    """A page of problems, by account. ``after_id`` continues the list behind an account; 0 on the last page."""

    problems: Sequence[AccountProblem]
    after_id: int = 0


class StatementProblems(Protocol):
    """Says what is wrong with the statements at present."""

    async def page(self, account_id: int | None, after_id: int) -> ProblemPage:
        """Return a page of the problems: of one account, or of all, behind an account. Raises Unavailable."""
        ...

    async def place(self, account_id: int, statement_id: int) -> ChainPlace | None:
        """Return the place of a statement in the chain of its account; None if it is not in it."""
        ...
