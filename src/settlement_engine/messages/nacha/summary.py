"""What a NACHA file says in a few words and numbers, for people and for programs."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from settlement_engine.messages.nacha.model import AnyReturn, Batch, Change, Entry, NachaFile


def summary(file: NachaFile) -> dict[str, Any]:
    """Say what the file says: its batches, entries and totals, and each return and change by its code.

    Account numbers and names are not among it.
    """
    return {
        "destination": file.header.destination.strip(),
        "origin": file.header.origin.strip(),
        "created_on": file.header.created_on.isoformat() if file.header.created_on else None,
        "file_id_modifier": file.header.modifier,
        "batches": [_batch(batch) for batch in file.batches],
        "entries": len(file.entries()),
        "entries_and_addenda": file.totals.entries_and_addenda,
        "entry_hash": file.totals.entry_hash,
        "debit_cents": file.totals.debit_cents,
        "credit_cents": file.totals.credit_cents,
        "returns_and_changes": [
            _outcome(entry, record)
            for entry in file.entries()
            for record in (entry.returned, entry.change)
            if record is not None
        ],
        "remarks": [f"line {remark.line}: {remark.reason}" for remark in file.remarks],
    }


def _batch(batch: Batch) -> dict[str, Any]:
    kinds = Counter(entry.kind.value for entry in batch.entries)
    return {
        "batch_number": batch.batch_number,
        "entry_class": batch.entry_class,
        "service_class": batch.service_class,
        "company_id": batch.company_id.strip(),
        "effective_date": batch.effective_date.isoformat() if batch.effective_date else None,
        "entries": dict(sorted(kinds.items())),
        "debit_cents": batch.totals.debit_cents,
        "credit_cents": batch.totals.credit_cents,
    }


def _outcome(entry: Entry, record: AnyReturn | Change) -> dict[str, Any]:
    return {
        "kind": entry.kind.value,
        "code": record.code,
        "title": record.title,
        "original_trace": record.original_trace.strip(),
        "amount_cents": entry.amount_cents,
    }
