"""A NACHA file in sentences for people. They must never contain an account number or a payee's name."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from settlement_engine.domain.money import format_amount

if TYPE_CHECKING:
    from collections.abc import Iterator

    from settlement_engine.messages.nacha.model import (
        AnyReturn,
        Batch,
        Change,
        NachaEntry,
        NachaFile,
        Totals,
    )

CURRENCY: Final = "USD"


def said_by_file(file: NachaFile) -> Iterator[str]:
    """Describe the file and its totals, then each batch, then returns and changes."""
    header = file.header
    day = header.created_on.isoformat() if header.created_on else "an unknown day"
    entries = sum(len(batch.entries) for batch in file.batches)
    yield (
        f"file {header.modifier} of {day} from {header.origin.strip()} to {header.destination.strip()}"
    )
    yield f"batches {len(file.batches)}, entries {entries}, {_totals(file.totals)}"
    for batch in file.batches:
        yield _batch(batch)
    for entry in file.entries():
        for record in (entry.returned, entry.change):
            if record is not None:
                yield _outcome(entry, record)


def _totals(totals: Totals) -> str:
    credit, debit = (
        f"{format_amount(cents, CURRENCY)} {CURRENCY}"
        for cents in (totals.credit_cents, totals.debit_cents)
    )
    return f"credits {credit}, debits {debit}, entry hash {totals.entry_hash}"


def _batch(batch: Batch) -> str:
    kinds = Counter(entry.kind.value for entry in batch.entries)
    found = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    day = batch.effective_date.isoformat() if batch.effective_date else "no date"
    return (
        f"batch {batch.batch_number}, {batch.entry_class} of company {batch.company_id.strip()} for {day}:"
        f" {found or 'no entries'}; {_totals(batch.totals)}"
    )


def _outcome(entry: NachaEntry, record: AnyReturn | Change) -> str:
    amount = f"{format_amount(entry.amount_cents, CURRENCY)} {CURRENCY}"
    title = record.title or "a code that is in no table"
    trace = record.original_trace.strip()
    return f"{entry.kind.value} {record.code} ({title}) of the entry {trace}, {amount}"
