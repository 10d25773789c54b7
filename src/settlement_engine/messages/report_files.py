"""Reports as files: CSV (RFC 4180) and JSON lines.

Promises: equal rows are equal bytes, in UTF-8; amounts are decimal texts with all decimals of their currency, and
instants are in UTC with microseconds. A CSV file begins with its header. Must never: round, or leave a column out.
"""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from settlement_engine.domain.money import format_amount

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from settlement_engine.domain.settlement_report import ReportedSettlement

SETTLEMENT_COLUMNS: Final = (
    *("settlement_id", "obligation_id", "from_bank", "to_bank", "currency", "amount", "state"),
    *("value_date", "created_at", "ended_at", "rail", "delivery", "uetr", "end_to_end_id"),
    *("purpose", "settled", "returned", "charges"),
)
"""A column is never renamed or moved; new ones are added at the end."""


class ReportFormat(StrEnum):
    """In which form a report is written."""

    CSV = "csv"
    JSON_LINES = "jsonl"


def settlement_rows(
    rows: Iterable[ReportedSettlement], form: ReportFormat, *, with_header: bool
) -> bytes:
    """Write rows of the report on settlements."""
    written = (_settlement(row) for row in rows)
    return write_rows(SETTLEMENT_COLUMNS, written, form, with_header=with_header)


def write_rows(
    columns: Sequence[str],
    rows: Iterable[Sequence[str | int | None]],
    form: ReportFormat,
    *,
    with_header: bool,
) -> bytes:
    """Write rows under these columns. Nothing is an empty field in CSV, and null in JSON."""
    if form is ReportFormat.JSON_LINES:
        lines = (
            json.dumps(
                dict(zip(columns, row, strict=True)), ensure_ascii=False, separators=(",", ":")
            )
            for row in rows
        )
        return "".join(f"{line}\n" for line in lines).encode()
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    if with_header:
        writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue().encode()


def written_instant(at: datetime) -> str:
    """Write an instant: equal instants have one text."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _settlement(row: ReportedSettlement) -> tuple[str | None, ...]:
    def money(minor: int) -> str:
        return format_amount(minor, row.currency)

    return (
        str(row.id),
        row.obligation_id,
        row.from_bank,
        row.to_bank,
        row.currency,
        money(row.amount_minor),
        row.state.value,
        row.value_date.isoformat(),
        written_instant(row.created_at),
        None if row.ended_at is None else written_instant(row.ended_at),
        row.rail or None,
        row.delivery or None,
        row.uetr or None,
        row.end_to_end_id or None,
        row.purpose or None,
        money(row.settled_minor),
        money(row.returned_minor),
        money(row.charges_minor),
    )
