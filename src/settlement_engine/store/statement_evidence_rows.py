"""Rows of the search of statements for our payments."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.domain.statement_evidence import EntryRow
from settlement_engine.domain.statements import (
    Entry,
    EntryDetail,
    EntryStatus,
    StatementReferences,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import asyncpg

    from settlement_engine.domain.statement_evidence import PaymentEvidence

_REFERENCES: Final = msgspec.json.Decoder(StatementReferences)


def evidence_columns(found: Sequence[PaymentEvidence]) -> tuple[list[object], ...]:
    """Return what entries say as columns, without their statement."""
    return (
        [each.mention.entry for each in found],
        [each.mention.detail for each in found],
        [each.payment.settlement_id for each in found],
        [each.payment.attempt for each in found],
        [each.mention.kind.value for each in found],
        [each.found.says.value for each in found],
        [each.mention.amount_minor for each in found],
        [each.turn for each in found],
        [each.is_counted for each in found],
        [each.is_news for each in found],
        [each.found.closed_by for each in found],
        [each.found.rules_version for each in found],
    )


def _day(text: str | None) -> date | None:
    return None if text is None else date.fromisoformat(text)


def to_entry_row(row: asyncpg.Record) -> EntryRow:
    """Convert a row of an entry, with one of its details or without any. Raises what ``rows.UNREADABLE`` names."""
    entry = Entry(
        number=row["number"],
        minor=row["amount_minor"],
        currency=row["currency"],
        status=EntryStatus(row["status"]),
        booking_date=_day(row["booking_date"]),
        value_date=_day(row["value_date"]),
        is_reversal=row["is_reversal"],
        references=_REFERENCES.decode(row["refs"]),
        code=row["code"],
        text=row["text"],
        details_differ=row["details_differ"],
    )
    if row["detail_number"] is None:
        return EntryRow(entry=entry)
    detail = EntryDetail(
        references=_REFERENCES.decode(row["detail_refs"]),
        minor=row["detail_minor"],
        text=row["detail_text"],
        charges_minor=row["detail_charges_minor"],
    )
    return EntryRow(entry=entry, number=row["detail_number"], detail=detail, is_only=row["is_only"])
