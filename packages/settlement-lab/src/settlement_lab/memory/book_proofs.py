"""The books of an account that proofs are made of, and the proofs, in memory."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING

from settlement_engine.domain.balance_comparison import booked_balance
from settlement_engine.domain.booking_days import days_of
from settlement_engine.domain.proof import ReconciledBooks, changed_proofs, last_proved
from settlement_engine.domain.statement_chain import head_of
from settlement_engine.domain.statements import EntryStatus, Source, Statement
from settlement_engine.errors import NotFound
from settlement_lab.memory.notices import notice_proofs
from settlement_lab.memory.past_balances import balances_before

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from settlement_engine.domain.balance_comparison import StatedBalance
    from settlement_engine.domain.booking_days import DaysByStatement
    from settlement_engine.domain.proof import BalanceProof
    from settlement_engine.domain.reconciliation import AccountToReconcile
    from settlement_lab.memory.reconciled import Reconciled
    from settlement_lab.memory.records import Records


def booked_in(said: Statement) -> list[tuple[date | None, int]]:
    """Return booking dates and amounts of the booked entries of a statement."""
    return [
        (each.booking_date, each.minor)
        for each in said.entries
        if each.status is EntryStatus.BOOKED
    ]


class MemoryBookProofs:
    """The part of ``ports.ReconciliationStore`` that is about proofs."""

    _records: Records
    _kept: Reconciled

    async def statement_days(self, account_id: int) -> DaysByStatement:
        """Return the days of an account's matched statements."""
        said = [
            each.said
            for each in self._records.statements
            if each.result.id in self._kept.progress and each.result.account_id == account_id
            if isinstance(each.said, Statement)
        ]
        heads = [(head_of(each), booked_in(each)) for each in said]
        return {head.content_hash: days_of(head, booked) for head, booked in heads}

    async def books(self, account_id: int, begins: date | None) -> ReconciledBooks:
        """Return the sums of an account's days, its balance, and what is open before its first statement."""
        account = self._records.accounts.get(account_id)
        if account is None:
            raise NotFound(f"there is no account {account_id}")
        before = [
            ours.item.minor
            for (owner, _), ours in self._kept.ours.items()
            if owner == account_id and begins is not None and ours.booked_on < begins
        ]
        days = [each for (owner, _), each in self._kept.days.items() if owner == account_id]
        return ReconciledBooks(
            days=tuple(sorted(days, key=lambda each: each.day)),
            balance_minor=account.debits_posted - account.credits_posted,
            open_before_minor=sum(before),
            open_before=len(before),
        )

    async def reported_balance(self, account_id: int) -> StatedBalance | None:
        """Return the booked balance of the latest intraday report that has one."""
        reports = [
            each
            for each in self._records.statements
            if each.is_kept and each.result.account_id == account_id
            if each.result.id not in self._records.set_aside.statements
            if isinstance(each.said, Statement) and each.said.source is Source.CAMT052
        ]
        reports.sort(key=lambda each: (each.result.day or date.min, each.result.id), reverse=True)
        for each in reports:
            assert isinstance(each.said, Statement), "only statements are kept"
            found = booked_balance(each.said, Source.CAMT052.value)
            if found is not None:
                return found
        return None

    async def balance_at(self, account_id: int, at: datetime) -> int:
        """Return the account's balance at an instant."""
        before = (each for each in self._records.transfers.values() if each.at and each.at < at)
        found = balances_before(before).get(account_id)
        return 0 if found is None else found.debits_posted - found.credits_posted

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
        del last_statement_id
        account_id = account.id
        known = {each.booking_date: each for each in self._kept.proofs.get(account_id, [])}
        fresh = changed_proofs(known, proofs)
        notice_proofs(self._records, (account_id, run_id), fresh, known)
        self._kept.proofs.setdefault(account_id, []).extend(fresh)
        self._kept.changed_since_proof.pop(account_id, None)
        self._records.set_aside.proved[account_id] = last_decision_id
        known_account = self._records.accounts[account_id]
        self._records.accounts[account_id] = replace(
            known_account, last_reconciled=last_proved(proofs)
        )
        return len(fresh)
