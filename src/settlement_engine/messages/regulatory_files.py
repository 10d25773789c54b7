"""Regulatory reports as bytes, by their templates.

Promises: the bytes follow from the job and the settlements alone. Must never: add amounts of two currencies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from settlement_engine.domain.money import format_amount
from settlement_engine.domain.regulatory_report import grouped
from settlement_engine.messages.report_files import ReportFormat, write_rows, written_instant
from settlement_engine.messages.report_templates import read_template

if TYPE_CHECKING:
    from collections.abc import Sequence

    from settlement_engine.domain.regulatory_report import FinalSettlements, ReportJob


def build_regulatory_report(job: ReportJob, found: Sequence[FinalSettlements]) -> tuple[bytes, int]:
    """Build a report; return its bytes and the number of its rows."""
    template = read_template(job.template_content)
    rows = [_values(job, each) for each in grouped(template, found)]
    columns = [each.name for each in template.columns]
    written = ([row[each.value] for each in template.columns] for row in rows)
    return write_rows(columns, written, ReportFormat(template.format), with_header=True), len(rows)


def _values(job: ReportJob, row: FinalSettlements) -> dict[str, str | int | None]:
    def money(minor: int) -> str:
        return format_amount(minor, row.currency)

    return {
        "institution_name": job.institution.name,
        "institution_bic": job.institution.bic,
        "institution_lei": job.institution.lei,
        "as_of": written_instant(job.as_of),
        "report_version": job.version,
        "booking_date": job.booking_date.isoformat(),
        "currency": row.currency,
        "counterparty": row.to_bank,
        "purpose": row.purpose or None,
        "settlements": row.settlements,
        "settled": money(row.settled_minor),
        "returned": money(row.returned_minor),
        "net": money(row.settled_minor - row.returned_minor),
    }
