"""What reconciliation has found, as it is shown (``ports.ReconciliationReader``): reads only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.domain.breaks.history import BreakEvent, BreakEventKind
from settlement_engine.domain.reconciliation import (
    CurrencyReport,
    ReconciliationBreak,
    ReconciliationReport,
    ReconciliationRun,
    RecordedMatch,
    StartedFor,
)
from settlement_engine.ports import BreakFilter, ReportFilter
from settlement_engine.store import open_items
from settlement_engine.store.reconciliation_rows import to_proof

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date
    from uuid import UUID

    import asyncpg

    from settlement_engine.domain.open_items import OpenItem, ProofAsOf
    from settlement_engine.domain.proof import BalanceProof
    from settlement_engine.ports import OpenItemFilter
    from settlement_engine.store.database import Readers

EVENTS_MAX: Final = 1_000
"""How many events of a break are read with it."""

MATCH_ITEMS_MAX: Final = 1_000
"""How many items of each side of a match are read with it."""

_PARTS: Final = msgspec.json.Decoder(tuple[CurrencyReport, ...])


class PostgresReconciliationReader:
    """See ``ports.ReconciliationReader`` and ``ports.SettlementProofs``."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    async def proved(self, settlement_ids: Sequence[UUID]) -> frozenset[UUID]:
        """Return the settlements among these that the statements prove; see the port."""
        if not settlement_ids:
            return frozenset()
        rows = await self._readers.fetch("proved_settlements", list(settlement_ids))
        return frozenset(row["id"] for row in rows)

    async def proofs(
        self, day: date | None, account_id: int | None, after_account: int, limit: int
    ) -> list[tuple[int, str, BalanceProof]]:
        """Return the last proof of each account for a day, or the last one at all, with its currency, by account."""
        rows = await self._readers.fetch_as_planned(
            "list_proofs", day, account_id, after_account, limit
        )
        return [(row["account_id"], row["currency"], to_proof(row)) for row in rows]

    async def proof_as_of(self, account_id: int, day: date) -> ProofAsOf | None:
        """Return the last proof of an account for a day, and whether it is what there is now."""
        return await open_items.proof_as_of(self._readers, account_id, day)

    async def open_items(self, wanted: OpenItemFilter) -> list[OpenItem]:
        """Return the items that were open at the end of a day."""
        return await open_items.open_items(self._readers, wanted)

    async def breaks(self, wanted: BreakFilter) -> list[ReconciliationBreak]:
        """Return breaks, the latest first."""
        return await self._breaks(wanted, None)

    async def break_by_id(self, break_id: int) -> ReconciliationBreak | None:
        """Return one break with its history."""
        for found in await self._breaks(BreakFilter(limit=1), break_id):
            rows = await self._readers.fetch("events_of_break", break_id, EVENTS_MAX)
            return msgspec.structs.replace(found, events=tuple(map(to_event, rows)))
        return None

    async def _breaks(self, wanted: BreakFilter, break_id: int | None) -> list[ReconciliationBreak]:
        rows = await self._readers.fetch_as_planned(
            "list_breaks",
            wanted.before_id,
            wanted.account_id,
            wanted.kind or None,
            wanted.is_open,
            wanted.owner or None,
            break_id,
            wanted.limit,
        )
        return [_to_break(row) for row in rows]

    async def match(self, match_id: int) -> RecordedMatch | None:
        """Return one match with its items."""
        row = await self._readers.fetchrow("match_by_id", match_id, MATCH_ITEMS_MAX)
        if row is None:
            return None
        fields = {**row, "ours": tuple(row["ours"]), "theirs": tuple(row["theirs"])}
        return RecordedMatch(**fields)

    async def reports(self, wanted: ReportFilter) -> list[ReconciliationReport]:
        """Return reports of runs that have ended, the latest first."""
        rows = await self._readers.fetch_as_planned(
            "list_reports", wanted.before, wanted.day, None, wanted.limit
        )
        return [_to_report(row) for row in rows]

    async def report(self, run_id: UUID) -> ReconciliationReport | None:
        """Return one report."""
        rows = await self._readers.fetch_as_planned("list_reports", None, None, run_id, 1)
        return _to_report(rows[0]) if rows else None


def _to_break(row: asyncpg.Record) -> ReconciliationBreak:
    return ReconciliationBreak(
        id=row["id"],
        account_id=row["account_id"],
        bank=row["bank"],
        kind=row["kind"],
        severity=row["severity"],
        amount_minor=int(row["amount_minor"]),
        currency=row["currency"],
        business_date=row["business_date"],
        reason=row["reason"],
        is_open=row["is_open"],
        owner=row["owner"],
        opened_at=row["opened_at"],
        ours=tuple(row["ours"]),
        theirs=tuple(row["theirs"]),
    )


def to_event(row: asyncpg.Record) -> BreakEvent:
    """Build an event of a break's history."""
    return BreakEvent(
        number=row["number"],
        kind=BreakEventKind(row["event"]),
        at=row["at"],
        who=row["who"],
        text=row["text"],
        owner=row["owner"],
        level=row["level"],
        due_at=row["due_at"],
        proposal_id=row["proposal_id"],
        match_id=row["match_id"],
    )


def _to_report(row: asyncpg.Record) -> ReconciliationReport:
    run = ReconciliationRun(
        id=row["id"],
        started_for=StartedFor(row["started_for"]),
        who=row["who"],
        rules_version=row["rules_version"],
        account_id=row["account_id"],
        bank=row["bank"] or "",
        currency=row["currency"] or "",
        business_date=row["business_date"],
    )
    return ReconciliationReport(
        run=run,
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        parts=_PARTS.decode(row["parts"]),
    )
