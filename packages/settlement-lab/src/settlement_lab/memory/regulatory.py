"""Regulatory reports in memory (``ports.RegulatoryStore``)."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from settlement_engine.domain.bank_codes import folded_bank
from settlement_engine.domain.ledger import Leg
from settlement_engine.domain.lifecycle import State
from settlement_engine.domain.past_balances import BOOKING_SECONDS_MAX
from settlement_engine.domain.regulatory_report import (
    FinalSettlements,
    RegulatoryReport,
    ReportJob,
    next_version,
    require_groups,
    require_same,
)
from settlement_engine.ports import ReportPart
from settlement_engine.store.regulatory import job_of

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from settlement_engine.domain.regulatory_report import (
        RegulatoryOrder,
        ReportBuilder,
        ReportingInstitution,
    )
    from settlement_engine.ports import RegulatoryFilter
    from settlement_lab.memory.records import Records


class MemoryRegulatory:
    """See ``ports.RegulatoryStore``."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def make_report(
        self, order: RegulatoryOrder, institution: ReportingInstitution, build: ReportBuilder
    ) -> RegulatoryReport:
        """Make a report and store it, or make a stored one again and compare it; see the port."""
        own = [
            each
            for each in self._records.regulatory_reports
            if (each.template, each.booking_date) == (order.template.name, order.booking_date)
        ]
        for known in own:
            if known.as_of == order.as_of:
                found = self._final(order, known.begins, known.ends, known.as_of)
                content, _ = build(job_of(known), found)
                require_same(known, hashlib.sha256(content).digest())
                return replace(known, is_replay=True)
        complete = self._records.clock.now() - timedelta(seconds=BOOKING_SECONDS_MAX)
        version, as_of = next_version(order, own[-1] if own else None, complete)
        job = ReportJob(
            template_content=order.template.content,
            booking_date=order.booking_date,
            as_of=as_of,
            version=version,
            institution=institution,
        )
        content, rows = build(job, self._final(order, *order.day, as_of))
        return self._store(order, job, content, rows)

    def _store(
        self, order: RegulatoryOrder, job: ReportJob, content: bytes, rows: int
    ) -> RegulatoryReport:
        made = RegulatoryReport(
            id=len(self._records.regulatory_reports) + 1,
            template=order.template.name,
            template_version=order.template.version,
            template_content=job.template_content,
            booking_date=job.booking_date,
            begins=order.day.begins,
            ends=order.day.ends,
            as_of=job.as_of,
            version=job.version,
            institution=job.institution,
            reason=order.reason,
            rows=rows,
            file_bytes=len(content),
            sha256=hashlib.sha256(content).digest(),
            made_by=order.who,
            made_at=self._records.clock.now(),
        )
        self._records.regulatory_reports.append(made)
        self._records.regulatory_files[made.id] = content
        return made

    def _final(
        self, order: RegulatoryOrder, begins: datetime, ends: datetime, as_of: datetime
    ) -> list[FinalSettlements]:
        groups: defaultdict[tuple[str, str, str, str], list[UUID]] = defaultdict(list)
        for moved in self._records.moves:
            is_final = moved.to_state is State.COMPLETED and moved.from_state is not State.COMPLETED
            if is_final and begins <= moved.at < ends:
                said = self._records.histories[moved.settlement_id].instruction
                purpose = said.payment.purpose if said.payment is not None else ""
                banks = folded_bank(said.from_bank), folded_bank(said.to_bank)
                groups[said.amount.currency, *banks, purpose].append(moved.settlement_id)
        found = [
            FinalSettlements(
                currency=currency,
                from_bank=from_bank,
                to_bank=to_bank,
                purpose=purpose,
                settlements=len(own),
                settled_minor=sum(
                    self._records.histories[each].instruction.amount.minor for each in own
                ),
                returned_minor=sum(self._returned(each, as_of) for each in own),
            )
            for (currency, from_bank, to_bank, purpose), own in sorted(groups.items())
        ]
        require_groups(found, order.booking_date)
        return found

    def _returned(self, settlement_id: UUID, as_of: datetime) -> int:
        return sum(
            each.amount_minor
            for each in self._records.transfers.values()
            if (each.group_id, each.leg) == (settlement_id, Leg.CASH_RETURNED)
            and each.at is not None
            and each.at < as_of
        )

    async def regulatory_reports(self, wanted: RegulatoryFilter) -> list[RegulatoryReport]:
        """Return reports, the latest first."""
        found = [
            each
            for each in reversed(self._records.regulatory_reports)
            if wanted.template in ("", each.template)
            and wanted.booking_date in (None, each.booking_date)
            and wanted.report_id in (None, each.id)
            and (wanted.before_id is None or each.id < wanted.before_id)
        ]
        return found[: wanted.limit]

    async def report_part(self, report_id: int, offset: int, bytes_max: int) -> ReportPart | None:
        """Return a part of a report's bytes."""
        content = self._records.regulatory_files.get(report_id)
        if content is None:
            return None
        return ReportPart(
            sha256=hashlib.sha256(content).digest(),
            file_bytes=len(content),
            content=content[offset : offset + bytes_max],
        )
