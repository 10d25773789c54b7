"""The proof of what was issued and reported: each file is compared with what it is made of, one at a time.

Promises: a file and what it is made of are read once and forgotten, so that memory is bounded by the largest one.
Must never: replace what was issued or reported.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Final

from settlement_engine.domain.issued_listing import listing_fault
from settlement_engine.domain.issued_statements import ENTRIES_ISSUED_MAX
from settlement_engine.errors import SettlementEngineError
from settlement_engine.messages.errors import MessageError
from settlement_engine.messages.regulatory_files import build_regulatory_report
from settlement_engine.messages.statements import read_statements
from settlement_engine.store.audit_proofs import proofs
from settlement_engine.store.issued_statements import to_booking, to_issued
from settlement_engine.store.queries import query
from settlement_engine.store.regulatory import final_settlements, job_of, to_report

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from settlement_engine.store.database import Connection

    Found = tuple[str, str, str]

FILES_AT_ONCE: Final = 10
"""At most so many files are held in memory: one has at most 50,000 entries."""


async def issued_files(connection: Connection) -> AsyncIterator[Found]:
    """Check that the bytes of every issued statement list the transfers of its period, and nothing else."""
    cursor = await connection.cursor(query("audit_issued_files"))
    while rows := await cursor.fetch(FILES_AT_ONCE):
        for row in rows:
            issued = to_issued(row)
            booked = await connection.fetch(
                query("bookings_between"),
                issued.account.id,
                issued.begins,
                issued.ends,
                ENTRIES_ISSUED_MAX + 1,
            )
            bookings = [to_booking(each) for each in booked]
            read = await asyncio.to_thread(read_statements, row["content"])
            fault = await asyncio.to_thread(listing_fault, issued, bookings, read)
            if fault is not None:
                number, account = issued.number, issued.account.id
                yield f"{row['format']} of statement {number} of account {account}", *fault


async def regulatory_reports(connection: Connection) -> AsyncIterator[Found]:
    """Check that every regulatory report is the same when it is made again as of its instant."""
    cursor = await connection.cursor(query("audit_regulatory_reports"))
    while rows := await cursor.fetch(FILES_AT_ONCE):
        for row in rows:
            report = to_report(row)
            subject = f"{report.template} for {report.booking_date}, version {report.version}"
            stored = f"{report.rows} rows with {report.sha256.hex()}"
            try:
                period = (report.begins, report.ends, report.as_of)
                settlements = await final_settlements(connection, report.booking_date, *period)
                content, count = await asyncio.to_thread(
                    build_regulatory_report, job_of(report), settlements
                )
            except (MessageError, SettlementEngineError) as error:
                yield subject, f"it cannot be made again: {error}", stored
                continue
            made = f"{count} rows with {hashlib.sha256(content).hexdigest()}"
            if made != stored:
                yield subject, made, stored


RECOMPUTED: Final[Mapping[str, Callable[[Connection], AsyncIterator[Found]]]] = {
    "issued_files_list_their_transfers": issued_files,
    "regulatory_reports_are_as_made": regulatory_reports,
    "proofs_follow_day_sums": proofs,
}
"""The checks that make anew what is stored, by name."""
