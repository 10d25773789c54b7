"""What reconciliation has found, in memory, as it is shown (``ports.ReconciliationReader``)."""

from __future__ import annotations

from collections import Counter
from datetime import date
from typing import TYPE_CHECKING

import msgspec

from settlement_engine.domain.proof import at_day
from settlement_engine.domain.reconciliation import (
    ReconciliationBreak,
    ReconciliationReport,
    RecordedMatch,
)
from settlement_lab.memory.open_items import MemoryOpenItems
from settlement_lab.memory.statements import AT_BANKS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from settlement_engine.domain.proof import BalanceProof
    from settlement_engine.ports import (
        BreakFilter,
        ReportFilter,
    )
    from settlement_lab.memory.reconciled import KeptBreak, Reconciled
    from settlement_lab.memory.records import Records


class MemoryReconciliationReader(MemoryOpenItems):
    """See ``ports.ReconciliationReader`` and ``ports.SettlementProofs``."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._kept: Reconciled = records.reconciled

    async def proved(self, settlement_ids: Sequence[UUID]) -> frozenset[UUID]:
        """Return the settlements among these that the statements prove; see the port."""
        matched = {
            (kept.account_id, ours.item.id): kept.settled_on
            for kept in self._kept.matches
            if not kept.reason
            for ours in kept.ours
        }
        return frozenset(each for each in settlement_ids if self._is_proved(each, matched))

    def _is_proved(self, settlement_id: UUID, matched: Mapping[tuple[int, str], date]) -> bool:
        moved: Counter[tuple[int, int]] = Counter()
        items: list[tuple[int, int, str]] = []
        transfers = [
            each for each in self._records.transfers.values() if each.group_id == settlement_id
        ]
        for each in transfers:
            name = f"{each.group_id}/{each.posting}/{int(each.leg)}"
            for account_id, sign in ((each.debit_id, 1), (each.credit_id, -1)):
                if self._records.accounts[account_id].kind in AT_BANKS:
                    moved[account_id, each.posting] += sign * each.amount_minor
                    items.append((account_id, each.posting, name))
        needed = [(account, name) for account, posting, name in items if moved[account, posting]]
        return bool(transfers) and all(
            key in matched and self._is_zero(key[0], matched[key]) for key in needed
        )

    def _is_zero(self, account_id: int, day: date) -> bool:
        """Return the last proof of the first proved day from this one on."""
        latest = {each.booking_date: each for each in self._kept.proofs.get(account_id, ())}
        first = min((each for each in latest if each >= day), default=None)
        return first is not None and latest[first].is_zero

    async def proofs(
        self, day: date | None, account_id: int | None, after_account: int, limit: int
    ) -> list[tuple[int, str, BalanceProof]]:
        """Return the last proof of each account for a day, or the last one at all, with its currency, by account."""
        found: list[tuple[int, str, BalanceProof]] = []
        for owner, kept in sorted(self._kept.proofs.items()):
            latest = {each.booking_date: each for each in kept}
            proofs = [proof for _, proof in sorted(latest.items())]
            wanted = at_day(proofs, day or max(latest, default=date.min))
            if wanted is not None and owner > after_account and account_id in (None, owner):
                found.append((owner, self._records.accounts[owner].currency, wanted))
        return found[:limit]

    async def breaks(self, wanted: BreakFilter) -> list[ReconciliationBreak]:
        """Return breaks, the latest first."""
        found = [
            self._shown(number, each)
            for number, each in enumerate(self._kept.breaks.values(), 1)
            if wanted.account_id in (None, each.account_id)
            and wanted.kind in ("", each.found.kind)
            and wanted.is_open in (None, each.is_open)
            and (wanted.before_id is None or number < wanted.before_id)
            and wanted.owner in ("", _owner_of(each))
        ]
        return [msgspec.structs.replace(each, events=()) for each in found[::-1]][: wanted.limit]

    async def break_by_id(self, break_id: int) -> ReconciliationBreak | None:
        """Return one break with its history."""
        found = dict(enumerate(self._kept.breaks.values(), 1)).get(break_id)
        return None if found is None else self._shown(break_id, found)

    def _shown(self, number: int, kept: KeptBreak) -> ReconciliationBreak:
        found = kept.found
        return ReconciliationBreak(
            id=number,
            account_id=kept.account_id,
            bank=self._records.accounts[kept.account_id].bank,
            kind=found.kind,
            severity=found.severity,
            amount_minor=found.amount_minor,
            currency=found.currency,
            business_date=found.business_date,
            reason=found.reason,
            is_open=kept.is_open,
            owner=_owner_of(kept),
            opened_at=kept.opened_at,
            ours=tuple(sorted(found.ours)),
            theirs=tuple(sorted(found.theirs)),
            events=tuple(kept.events),
        )

    async def match(self, match_id: int) -> RecordedMatch | None:
        """Return one match with its items."""
        if not 0 < match_id <= len(self._kept.matches):
            return None
        kept = self._kept.matches[match_id - 1]
        return RecordedMatch(
            id=match_id,
            account_id=kept.account_id,
            run_id=kept.run_id,
            matched_by=kept.match.matched_by.value,
            rules_version=kept.match.rules_version,
            explanation=kept.match.explanation,
            is_automatic=kept.who == "engine",
            at=kept.at,
            ours=tuple(sorted(each.item.id for each in kept.ours)),
            theirs=tuple(each.name for each in kept.theirs),
            difference_minor=kept.match.difference_minor,
            difference_account=kept.match.difference_account,
            taken_back=kept.reason,
        )

    async def reports(self, wanted: ReportFilter) -> list[ReconciliationReport]:
        """Return reports of runs that have ended, the latest first."""
        found = [self._report(run_id) for run_id in reversed(self._kept.runs)]
        ended = [
            each
            for each in found
            if each is not None and wanted.day in (None, each.started_at.date())
        ]
        ids = [each.run.id for each in ended]
        start = ids.index(wanted.before) + 1 if wanted.before in ids else 0
        return ended[start:][: wanted.limit]

    async def report(self, run_id: UUID) -> ReconciliationReport | None:
        """Return one report."""
        return self._report(run_id)

    def _report(self, run_id: UUID) -> ReconciliationReport | None:
        if run_id not in self._kept.ends:
            return None
        run, started_at = self._kept.runs[run_id]
        ended_at, parts = self._kept.ends[run_id]
        return ReconciliationReport(run=run, started_at=started_at, ended_at=ended_at, parts=parts)


def _owner_of(kept: KeptBreak) -> str:
    """Return whose work an open break is."""
    found = [each.owner for each in kept.events if each.owner]
    return found[-1] if found and kept.is_open else ""
