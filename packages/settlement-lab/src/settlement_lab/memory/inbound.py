"""Inbound messages in memory (``ports.InboundStore``)."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from settlement_engine.domain.covers import family_of, is_pair
from settlement_engine.domain.exceptions import CaseKind
from settlement_engine.domain.lifecycle import Event
from settlement_engine.domain.payment_scope import is_in_scope
from settlement_engine.ports import MessageSource, OpenReport, Receipt, ReportOutcome
from settlement_engine.store.inbound import settlement_named_by

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from settlement_engine.domain.settlement import Instruction
    from settlement_engine.ports import (
        InboundMessage,
        PaymentReferences,
        ReportClosing,
        StatusReport,
    )
    from settlement_lab.memory.records import Records


class _Found(NamedTuple):
    """The payment that a report names; ``is_others`` says that it is one of another rail or bank."""

    settlement_id: UUID | None = None
    attempt: int = 0
    is_others: bool = False


class MemoryInbound:
    """See ``ports.InboundStore``."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def record(self, messages: Sequence[InboundMessage]) -> list[Receipt]:
        """Store messages with their reports; see the port."""
        return [self._record(message) for message in messages]

    def _record(self, message: InboundMessage) -> Receipt:
        records = self._records
        found = [self._find(message, report) for report in message.reports]
        if message.source is MessageSource.CALLBACK and any(each.is_others for each in found):
            return Receipt.REFUSED
        key = (message.rail, message.sender, hashlib.sha256(message.content).digest())
        if key in records.inbound_messages:
            return Receipt.REPEATED
        records.inbound_messages[key] = message
        for report, (settlement_id, attempt, _) in zip(message.reports, found, strict=True):
            number = len(records.inbound_reports) + 1
            records.message_of_report[number] = key
            records.inbound_reports[number] = OpenReport(
                id=number,
                rail=message.rail,
                report=report,
                received_at=records.clock.now(),
                settlement_id=settlement_id,
                attempt=attempt,
            )
        return Receipt.STORED

    def _find(self, message: InboundMessage, report: StatusReport) -> _Found:
        """Find the payment that all given references name, among those that the sender may report on."""
        given = report.references
        stated = set()
        if _has_only_the_rails_own(given):
            stated = self._records.stating(given.rail_reference)
        found: dict[UUID, int] = {}
        others = 0
        for settlement in self._records.histories.values():
            attempt = settlement.attempt
            if attempt is None:
                continue
            names = attempt.references
            is_named = (
                given.uetr == names.uetr
                or given.end_to_end_id == names.end_to_end_id
                or given.message_id == names.message_id
                or given.message_id in self._cover_ids(settlement.id, attempt.number)
                or given.transaction_id == names.end_to_end_id
                or settlement_named_by(given.instruction_id) == settlement.id
                or (attempt.trace and given.trace == attempt.trace)
            )
            rail = attempt.route.rail
            is_own = message.rail in (rail, family_of(rail)) and _may_report(
                message, settlement.instruction, is_pair=is_pair(rail)
            )
            if is_own and (is_named or settlement.id in stated):
                found[settlement.id] = attempt.number
            elif is_named:
                others += 1
        if len(found) == 1:
            return _Found(*next(iter(found.items())))
        return _Found(is_others=not found and others > 0)

    def _cover_ids(self, settlement_id: UUID, attempt: int) -> set[str]:
        """Return the message ids of a payment's covers."""
        covers = self._records.covers.stored.get((settlement_id, attempt), ())
        return {each.message_id for each in covers}

    def _is_earlier(self, each: OpenReport) -> bool:
        """Say whether a report says that a cover was paid that was repaired."""
        if each.report.event is not Event.SETTLED:
            return False
        return any(
            cover.message_id == each.report.references.message_id
            for covers in self._records.covers.stored.values()
            for cover in covers[:-1]
        )

    def _is_known(self, each: OpenReport) -> bool:
        """Say whether a report says again that a cover was refused."""
        if each.report.event is not Event.REJECTED:
            return False
        return any(
            cover.refusal is not None and cover.message_id == each.report.references.message_id
            for covers in self._records.covers.stored.values()
            for cover in covers
        )

    async def open_reports(
        self, engine_id: int, limit: int, in_flight: Sequence[int] = ()
    ) -> list[OpenReport]:
        """Return open reports that ``engine_id`` may process, oldest first; see the port."""
        records = self._records
        under_way = set(in_flight)
        found: list[OpenReport] = []
        for number, each in records.inbound_reports.items():
            open_row = records.open.get(each.settlement_id) if each.settlement_id else None
            is_others = open_row is not None and open_row.engine_id not in (0, engine_id)
            if number in records.closed_reports or number in under_way or is_others:
                continue
            marked = msgspec.structs.replace(
                each, is_known=self._is_known(each), is_of_earlier_cover=self._is_earlier(each)
            )
            found.append(marked)
            if len(found) == limit:
                break
        return found

    async def close_reports(self, closings: Sequence[ReportClosing]) -> None:
        """Close reports; see the port."""
        records = self._records
        for closing in closings:
            if closing.report_id in records.closed_reports:
                continue
            records.closed_reports[closing.report_id] = closing.outcome
            if closing.outcome is ReportOutcome.UNKNOWN_PAYMENT:
                self._open_case(records.inbound_reports[closing.report_id])

    async def open_count(self) -> tuple[int, Mapping[str, int]]:
        """Count open reports: in total, and by rail."""
        by_rail = Counter(
            each.rail
            for number, each in self._records.inbound_reports.items()
            if number not in self._records.closed_reports
        )
        return by_rail.total(), dict(by_rail)

    def _open_case(self, open_report: OpenReport) -> None:
        given = open_report.report.references
        names = {
            "end_to_end_id": given.end_to_end_id,
            "uetr": str(given.uetr or ""),
            "message_id": given.message_id,
            "trace": given.trace,
            "rail_reference": given.rail_reference,
            "transaction_id": given.transaction_id,
            "instruction_id": given.instruction_id,
        }
        fingerprint = next(filter(None, names.values()), f"report {open_report.id}")
        report = open_report.report
        said = {"event": report.event.value, "code": report.code, "text": report.text}
        detail = {"rail": open_report.rail, **said, **names}
        self._records.open_case(
            CaseKind.UNKNOWN_PAYMENT,
            None,
            fingerprint,
            {name: text for name, text in detail.items() if text},
            self._records.clock.now(),
        )


def _may_report(message: InboundMessage, instruction: Instruction, *, is_pair: bool) -> bool:
    """Say whether the sender may report on a payment: FROM, and TO where it has a message of it too."""
    currency, banks = instruction.amount.currency, [instruction.from_bank]
    if is_pair:
        banks.append(instruction.to_bank)
    return not message.scope or any(is_in_scope(message.scope, each, currency) for each in banks)


def _has_only_the_rails_own(given: PaymentReferences) -> bool:
    ours = given.uetr or given.end_to_end_id or given.message_id or given.trace
    return bool(given.rail_reference) and not ours
