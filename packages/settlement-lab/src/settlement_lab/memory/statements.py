"""Statements of banks in memory (``ports.StatementStore``)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from settlement_engine.domain.bank_codes import folded_bank
from settlement_engine.domain.booking_days import is_misdated
from settlement_engine.domain.chain_problems import KeptHead
from settlement_engine.domain.continuity import KEPT, StatementOutcome
from settlement_engine.domain.ledger import AccountKind
from settlement_engine.domain.statement_chain import head_of
from settlement_engine.domain.statement_import import (
    AccountAtBank,
    StatementWithEntries,
    imported,
)
from settlement_engine.domain.statements import END_OF_DAY, EntryStatus, Statement
from settlement_engine.ports import FilePart
from settlement_lab.memory.records import KeptStatement

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from settlement_engine.domain.statement_import import (
        FoundStatement,
        ImportedStatement,
        ReceivedFile,
    )
    from settlement_engine.ports import Judge, StatementFilter, UnreadStatement
    from settlement_lab.memory.records import Records

AT_BANKS = frozenset({AccountKind.NOSTRO, AccountKind.SETTLEMENT})


def misdated_in(said: Statement) -> int:
    """Return how many booked entries have a booking date outside of their statement's days."""
    head = head_of(said)
    return sum(
        is_misdated(head.begins, head.ends, each.booking_date)
        for each in said.entries
        if each.status is EntryStatus.BOOKED
    )


class MemoryStatements:
    """See ``ports.StatementStore``."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def keep_file(self, file: ReceivedFile) -> None:
        """Store a file's bytes; the same bytes are stored once."""
        self._records.statement_files.setdefault(file.sha256, file)

    async def accounts_by_numbers(self, numbers: Sequence[str]) -> list[AccountAtBank]:
        """Return all our accounts at banks: in memory there are few."""
        del numbers
        return self._at_banks()

    async def accounts_at_banks(
        self, bank: str, *, after_id: int, limit: int
    ) -> list[AccountAtBank]:
        """Return our active accounts at banks; see the port."""
        wanted = folded_bank(bank)
        found = [
            each
            for each in self._at_banks()
            if each.id > after_id
            and self._records.accounts[each.id].is_active
            and (not wanted or each.is_at_agent or folded_bank(each.bank) == wanted)
        ]
        return found[:limit]

    def _at_banks(self) -> list[AccountAtBank]:
        present = {each.bank.code: each.bank for each in self._records.bank_versions}
        return [
            AccountAtBank(
                id=account.id,
                bank=account.bank,
                currency=account.currency,
                number=account.account_number,
                listed=present.get(account.bank),
                is_at_agent=account.kind is AccountKind.SETTLEMENT,
            )
            for _, account in sorted(self._records.accounts.items())
            if account.kind in AT_BANKS
        ]

    async def last_days(self, account_ids: Sequence[int]) -> dict[int, date]:
        """Return the last day of the statements of each account that has any."""
        found = {each: await self.kept_heads(each) for each in account_ids}
        counting = {
            each: [kept.head for kept in heads if not kept.head.is_set_aside]
            for each, heads in found.items()
        }
        return {each: heads[-1].ends for each, heads in counting.items() if heads}

    async def kept_heads(self, account_id: int) -> list[KeptHead]:
        """Return the kept end-of-day statements of an account."""
        progress = self._records.reconciled.progress
        kept = [
            KeptHead(
                id=each.result.id,
                head=self._records.set_aside.head(each.result.id, each.said),
                misdated=misdated_in(each.said) if each.result.id in progress else 0,
            )
            for each in self._records.statements
            if each.is_kept and each.result.account_id == account_id
            if isinstance(each.said, Statement) and each.said.source in END_OF_DAY
        ]
        return sorted(kept, key=lambda each: (each.head.ends, each.id))

    async def unread(self, account_ids: Sequence[int], limit: int) -> list[UnreadStatement]:
        """Return the statements of which entries could not be searched: none, for nothing is written here."""
        del account_ids, limit
        return []

    async def import_found(
        self, found: FoundStatement, account_id: int | None, judge: Judge
    ) -> ImportedStatement:
        """Judge one statement, and append it with its outcome; see the port."""
        kept = [
            self._records.set_aside.head(each.result.id, each.said)
            for each in self._records.statements
            if each.is_kept and each.result.account_id == account_id
        ]
        outcome = judge(kept if account_id is not None else [])
        result = imported(found, outcome)
        is_kept = outcome.outcome in KEPT
        if outcome.outcome is StatementOutcome.ALREADY_IMPORTED or self._is_told(result, is_kept):
            return result
        named = replace(
            result,
            id=len(self._records.statements) + 1,
            file_name=self._records.statement_files[found.file_sha256].name,
            at=self._records.clock.now(),
        )
        self._records.statements.append(KeptStatement(named, found.found, is_kept))
        return replace(result, id=named.id)

    def _is_told(self, result: ImportedStatement, is_kept: bool) -> bool:  # noqa: FBT001 -- private
        """Say whether the same fault of the same place was written before."""
        told = (result.file_sha256, result.place, result.outcome)
        return not is_kept and any(
            told == (each.result.file_sha256, each.result.place, each.result.outcome)
            for each in self._records.statements
            if not each.is_kept
        )

    async def statements(self, wanted: StatementFilter) -> list[ImportedStatement]:
        """Return statements with their outcomes, the latest first."""
        contents = {
            each.said.content_hash()
            for each in self._records.statements
            if each.is_kept and isinstance(each.said, Statement)
        }
        found = [
            self._told(each)
            for each in reversed(self._records.statements)
            if (wanted.before_id is None or each.result.id < wanted.before_id)
            and wanted.account_id in (None, each.result.account_id)
            and not (wanted.has_problem and self._is_fine(each, contents))
        ]
        return found[: wanted.limit]

    async def statement(
        self, statement_id: int, *, after_entry: int = 0, entries_max: int = 0
    ) -> StatementWithEntries | None:
        """Return a statement, and its entries behind a number."""
        for each in self._records.statements:
            if each.result.id == statement_id:
                entries = each.said.entries if isinstance(each.said, Statement) else ()
                behind = [entry for entry in entries if each.is_kept and entry.number > after_entry]
                return StatementWithEntries(
                    statement=self._told(each), entries=tuple(behind[:entries_max])
                )
        return None

    async def file_part(self, sha256: bytes, offset: int, bytes_max: int) -> FilePart | None:
        """Return a part of a file's bytes."""
        file = self._records.statement_files.get(sha256)
        if file is None:
            return None
        return FilePart(file.name, len(file.content), file.content[offset : offset + bytes_max])

    def _told(self, each: KeptStatement) -> ImportedStatement:
        return replace(
            each.result, is_set_aside=each.result.id in self._records.set_aside.statements
        )

    def _is_fine(self, each: KeptStatement, contents: set[str]) -> bool:
        if each.is_kept:
            is_imported = each.result.outcome == StatementOutcome.IMPORTED.value
            return is_imported or each.result.id in self._records.set_aside.statements
        return isinstance(each.said, Statement) and each.said.content_hash() in contents
