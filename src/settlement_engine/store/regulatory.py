"""Regulatory reports in PostgreSQL (``ports.RegulatoryStore``).

A report is versioned, made and stored in one transaction that holds the lock of its template and date.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from settlement_engine.domain.past_balances import BOOKING_SECONDS_MAX
from settlement_engine.domain.regulatory_report import (
    GROUPS_MAX,
    FinalSettlements,
    RegulatoryReport,
    ReportingInstitution,
    ReportJob,
    next_version,
    require_groups,
    require_same,
)
from settlement_engine.ports import ReportPart
from settlement_engine.store.currencies import learn_currencies
from settlement_engine.store.database import DatabaseConnection
from settlement_engine.store.queries import query

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime

    import asyncpg

    from settlement_engine.domain.regulatory_report import RegulatoryOrder, ReportBuilder
    from settlement_engine.ports import RegulatoryFilter
    from settlement_engine.store.database import Connection, DatabaseSettings, Readers

TRANSACTION_SECONDS: Final = 240.0
"""How long the making of a report may take: it reads the moves of a date once."""

STATEMENT_SECONDS: Final = 120.0
BUILDING_SECONDS: Final = 60.0


class PostgresRegulatory:
    """See ``ports.RegulatoryStore``."""

    def __init__(self, settings: DatabaseSettings, readers: Readers) -> None:
        self._readers = readers
        patient = replace(
            settings,
            statement_timeout_seconds=STATEMENT_SECONDS,
            lock_timeout_seconds=STATEMENT_SECONDS,
            idle_in_transaction_timeout_seconds=BUILDING_SECONDS,
            transaction_timeout_seconds=TRANSACTION_SECONDS,
        )
        self._writing = DatabaseConnection(patient, is_writing=True)

    async def close(self) -> None:
        """Close the connection."""
        await self._writing.close()

    async def make_report(
        self, order: RegulatoryOrder, institution: ReportingInstitution, build: ReportBuilder
    ) -> RegulatoryReport:
        """Make a report and store it, or make a stored one again and compare it; see the port."""
        name, day = order.template.name, order.booking_date
        async with self._writing.session() as connection, connection.transaction():
            await connection.execute(query("lock_regulatory_reports"), name, day)
            if order.as_of is not None:
                known = await _report(connection, order, order.as_of)
                if known is not None:
                    return await _made_again(connection, known, build)
            complete: datetime = await connection.fetchval(
                query("complete_until"), BOOKING_SECONDS_MAX
            )
            latest = await _report(connection, order, None)
            version, as_of = next_version(order, latest, complete)
            found = await final_settlements(connection, day, *order.day, as_of)
            job = ReportJob(
                template_content=order.template.content,
                booking_date=day,
                as_of=as_of,
                version=version,
                institution=institution,
            )
            content, rows = await asyncio.to_thread(build, job, found)
            await _add(connection, order, job, content, rows)
            made = await _report(connection, order, as_of)
        assert made is not None, "it has just been stored"
        return made

    async def regulatory_reports(self, wanted: RegulatoryFilter) -> list[RegulatoryReport]:
        """Return reports, the latest first."""
        rows = await self._readers.fetch(
            "list_regulatory_reports",
            wanted.template or None,
            wanted.booking_date,
            None,
            wanted.before_id,
            wanted.limit,
            wanted.report_id,
        )
        return [to_report(row) for row in rows]

    async def report_part(self, report_id: int, offset: int, bytes_max: int) -> ReportPart | None:
        """Return a part of a report's bytes."""
        row = await self._readers.fetchrow("regulatory_report_part", report_id, offset, bytes_max)
        if row is None:
            return None
        return ReportPart(sha256=row["sha256"], file_bytes=row["bytes"], content=row["part"])


def job_of(report: RegulatoryReport) -> ReportJob:
    """Return what a report was made of."""
    return ReportJob(
        template_content=report.template_content,
        booking_date=report.booking_date,
        as_of=report.as_of,
        version=report.version,
        institution=report.institution,
    )


async def _made_again(
    connection: Connection, known: RegulatoryReport, build: ReportBuilder
) -> RegulatoryReport:
    """Make a stored report again, and compare it."""
    found = await final_settlements(
        connection, known.booking_date, known.begins, known.ends, known.as_of
    )
    content, _ = await asyncio.to_thread(build, job_of(known), found)
    require_same(known, hashlib.sha256(content).digest())
    return replace(known, is_replay=True)


async def _add(
    connection: Connection, order: RegulatoryOrder, job: ReportJob, content: bytes, rows: int
) -> None:
    institution = job.institution
    await connection.execute(
        query("add_regulatory_report"),
        order.template.name,
        order.template.version,
        job.template_content,
        job.booking_date,
        *order.day,
        job.as_of,
        job.version,
        institution.name,
        institution.bic,
        institution.lei,
        order.reason,
        rows,
        content,
        order.who,
    )


async def _report(
    connection: Connection, order: RegulatoryOrder, as_of: datetime | None
) -> RegulatoryReport | None:
    """Return the report as of an instant, or the latest one of the template and date."""
    row = await connection.fetchrow(
        query("list_regulatory_reports"),
        order.template.name,
        order.booking_date,
        as_of,
        None,
        1,
        None,
    )
    return None if row is None else to_report(row)


async def final_settlements(
    connection: Connection,
    booking_date: date,
    begins: datetime,
    ends: datetime,
    as_of: datetime,
) -> Sequence[FinalSettlements]:
    """Read what a report of a date is made of, as of an instant. Raises WrongState for too many groups."""
    rows = await connection.fetch(query("final_settlements"), begins, ends, as_of, GROUPS_MAX + 1)
    await learn_currencies(connection, rows)
    found = [
        FinalSettlements(
            currency=row["currency"],
            from_bank=row["from_bank"],
            to_bank=row["to_bank"],
            purpose=row["purpose"],
            settlements=row["settlements"],
            settled_minor=int(row["settled_minor"]),
            returned_minor=int(row["returned_minor"]),
        )
        for row in rows
    ]
    require_groups(found, booking_date)
    return found


def to_report(row: asyncpg.Record) -> RegulatoryReport:
    """Build a report."""
    booking_date: date = row["day"]
    return RegulatoryReport(
        id=row["id"],
        template=row["template"],
        template_version=row["template_version"],
        template_content=row["template_content"],
        booking_date=booking_date,
        begins=row["begins"],
        ends=row["ends"],
        as_of=row["as_of"],
        version=row["version"],
        institution=ReportingInstitution(
            name=row["institution_name"], bic=row["institution_bic"], lei=row["institution_lei"]
        ),
        reason=row["reason"],
        rows=row["rows"],
        file_bytes=row["bytes"],
        sha256=row["sha256"],
        made_by=row["made_by"],
        made_at=row["made_at"],
    )
