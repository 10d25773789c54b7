"""Inbound messages in PostgreSQL (``ports.InboundStore``).

A message and its reports are stored by one statement, which also matches the payments: a message is acknowledged
to its sender only after that.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from uuid import UUID

import msgspec

from settlement_engine.ports import OpenReport, Receipt, StatusReport
from settlement_engine.store.database import DatabaseConnection

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from settlement_engine.ports import InboundMessage, ReportClosing
    from settlement_engine.store.database import DatabaseSettings, Readers

_REPORT = msgspec.json.Decoder(StatusReport)
_INSTRUCTION_ID: Final = re.compile(r"[0-9a-fA-F]{32}", re.ASCII)


class PostgresInbound:
    """See ``ports.InboundStore``."""

    def __init__(self, settings: DatabaseSettings, readers: Readers) -> None:
        self._readers = readers
        self._writing = DatabaseConnection(settings, is_writing=True)
        self._working = DatabaseConnection(settings, is_writing=True)

    async def close(self) -> None:
        """Close the connections."""
        await self._writing.close()
        await self._working.close()

    async def record(self, messages: Sequence[InboundMessage]) -> list[Receipt]:
        """Store messages with their reports; see the port."""
        first = first_of_each(messages)
        given = [messages[index] for index in first.values()]
        rows = await self._writing.fetch(
            "record_inbound",
            [message.rail for message in given],
            [message.source.value for message in given],
            [message.sender_reference for message in given],
            [message.content for message in given],
            *_report_columns(given),
            [" ".join(sorted(message.scope)) for message in given],
            [message.sender for message in given],
        )
        receipts = {key: Receipt(row["receipt"]) for key, row in zip(first, rows, strict=True)}
        return [
            receipts[key] if first[key] == index else repeated(receipts[key])
            for index, key in enumerate(map(key_of, messages))
        ]

    async def open_reports(
        self, engine_id: int, limit: int, in_flight: Sequence[int] = ()
    ) -> list[OpenReport]:
        """Return, oldest first, open reports that ``engine_id`` may process; see the port."""
        rows = await self._working.fetch("open_inbound_reports", engine_id, limit, list(in_flight))
        return [
            OpenReport(
                id=row["id"],
                rail=row["rail"],
                report=_REPORT.decode(row["report"]),
                received_at=row["received_at"],
                settlement_id=row["settlement_id"],
                attempt=row["attempt"] or 0,
                is_known=row["is_known"],
                is_of_earlier_cover=row["is_of_earlier_cover"],
            )
            for row in rows
        ]

    async def close_reports(self, closings: Sequence[ReportClosing]) -> None:
        """Close reports; see the port."""
        ordered = sorted(closings, key=lambda each: each.report_id)
        await self._working.fetch(
            "close_inbound_reports",
            [each.report_id for each in ordered],
            [each.outcome.value for each in ordered],
        )

    async def open_count(self) -> tuple[int, Mapping[str, int]]:
        """Count the open reports: in total, and by rail."""
        rows = await self._readers.fetch("inbound_open_counts")
        by_rail = {row["rail"]: int(row["count"]) for row in rows}
        return sum(by_rail.values()), by_rail


def key_of(message: InboundMessage) -> tuple[str, str, bytes]:
    """Return what identifies a message: one bank cannot keep another from saying the same."""
    return message.rail, message.sender, message.content


def first_of_each(messages: Sequence[InboundMessage]) -> dict[tuple[str, str, bytes], int]:
    """Return the index of each message's first occurrence: one statement cannot store the same one twice."""
    first: dict[tuple[str, str, bytes], int] = {}
    for index, message in enumerate(messages):
        first.setdefault(key_of(message), index)
    return first


def repeated(receipt: Receipt) -> Receipt:
    """Return the receipt of the same message when it is received again."""
    return Receipt.REFUSED if receipt is Receipt.REFUSED else Receipt.REPEATED


def settlement_named_by(instruction_id: str) -> UUID | None:
    """Return the settlement whose id, without hyphens, is the instruction id of its payments."""
    return UUID(instruction_id) if _INSTRUCTION_ID.fullmatch(instruction_id) is not None else None


def _report_columns(messages: Sequence[InboundMessage]) -> tuple[list[object], ...]:
    ordinals: list[object] = []
    numbers: list[object] = []
    reports: list[object] = []
    uetrs: list[UUID | None] = []
    names: tuple[list[object], ...] = ([], [], [], [], [], [])
    for ordinal, message in enumerate(messages, 1):
        for number, report in enumerate(message.reports, 1):
            references = report.references
            ordinals.append(ordinal)
            numbers.append(number)
            reports.append(msgspec.json.encode(report).decode())
            uetrs.append(references.uetr)
            names[0].append(references.end_to_end_id or None)
            names[1].append(references.message_id or None)
            names[2].append(references.trace or None)
            names[3].append(references.rail_reference or None)
            names[4].append(references.transaction_id or None)
            names[5].append(settlement_named_by(references.instruction_id))
    return ordinals, numbers, reports, list(uetrs), *names
