"""Dossiers from PostgreSQL: everything about one settlement, in one snapshot (``ports.Archive``)."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.domain.kept_messages import MessageDirection
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.statements import StatementReferences
from settlement_engine.evidence import dossier as records
from settlement_engine.evidence import dossier_recording as recording
from settlement_engine.store.loading import load_one
from settlement_engine.store.queries import query
from settlement_engine.store.recalls import to_recalls
from settlement_engine.store.resolutions import to_proposal
from settlement_engine.store.rows import (
    to_account,
    to_attempt,
    to_moved,
    to_transfer,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    import asyncpg

    from settlement_engine.domain.recalls import RecallRequest
    from settlement_engine.domain.settlement import Attempt, Settlement
    from settlement_engine.store.database import Connection, Readers

_REFERENCES: Final = msgspec.json.Decoder(StatementReferences)

HAS_CLOSED: Final = True
"""Closed exceptions belong to a settlement's history as well."""


class PostgresArchive:
    """See ``ports.Archive``."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    async def dossier(self, settlement_id: UUID) -> records.Dossier | None:
        """Return everything about a settlement; None when it does not exist."""
        async with (
            self._readers.line() as line,
            line.session() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            return await _copy(connection, settlement_id)


async def _copy(connection: Connection, settlement_id: UUID) -> records.Dossier | None:
    settlement = await load_one(connection, settlement_id)
    owned = await connection.fetchrow(query("dossier_owner"), settlement_id)
    if settlement is None or owned is None:
        return None
    rows = await connection.fetch(query("dossier_attempts"), settlement_id)
    attempts = [_attempt(row) for row in rows]
    hold = await _hold(connection, settlement_id)
    rows = await connection.fetch(query("dossier_transfers"), settlement_id)
    transfers = [to_transfer(row) for row in rows]
    named = recording.account_ids(attempts, transfers, hold.account_id if hold else None)
    accounts = await connection.fetch(query("dossier_accounts"), sorted(named))
    moves = await connection.fetch(query("history"), settlement_id)
    messages, contents = await _messages(connection, settlement_id, attempts)
    rows = await connection.fetch(query("dossier_proposals"), settlement_id, records.PROPOSALS_MAX)
    proposals = sorted(rows, key=lambda row: row["id"])
    return records.Dossier(
        taken_at=recording.instant(owned["taken_at"]),
        instruction=recording.record_instruction(settlement),
        standing=recording.record_standing(settlement, owned["owner"], owned["proposals"]),
        moves=tuple(recording.record_move(to_moved(row)) for row in moves),
        answers=await _answers(connection, settlement_id),
        attempts=tuple(
            recording.record_attempt(each, hashlib.sha256(each.payload).hexdigest())
            for each in attempts
        ),
        payloads={each.number: each.payload for each in attempts},
        hold=hold,
        transfers=recording.record_transfers(transfers),
        accounts=recording.record_accounts(to_account(row) for row in accounts),
        exceptions=await _exceptions(connection, settlement_id),
        proposals=tuple(recording.record_proposal(to_proposal(row)) for row in proposals),
        papers={row["id"]: row["evidence"] for row in proposals},
        messages=messages,
        contents=contents,
        recall=recording.record_recall(await _recall(connection, settlement_id)),
        compensations=await _compensations(connection, settlement),
        entries=await _entries(connection, settlement_id),
    )


async def _compensations(
    connection: Connection, settlement: Settlement
) -> records.CompensationsRecord:
    compensates = settlement.instruction.compensates
    compensated = await load_one(connection, compensates) if compensates is not None else None
    return recording.record_compensations(settlement, compensated)


async def _entries(connection: Connection, settlement_id: UUID) -> tuple[records.EntryRecord, ...]:
    rows = await connection.fetch(query("dossier_entries"), settlement_id, records.ENTRIES_MAX)
    return tuple(_entry(row) for row in reversed(rows))


def _entry(row: asyncpg.Record) -> records.EntryRecord:
    fields = dict(row)
    said = [fields.pop(name) for name in ("detail_refs", "refs")]
    texts = (fields.pop("text"), fields.pop("detail_text"))
    for name, title in (("statement_id", "statement"), ("entry_number", "entry")):
        fields[title] = fields.pop(name)
    fields["detail"] = fields.pop("detail_number")
    return records.EntryRecord(
        **fields,
        references=recording.references_in(_REFERENCES.decode(each) for each in said),
        text=recording.text_of(*texts),
    )


async def _recall(connection: Connection, settlement_id: UUID) -> RecallRequest | None:
    rows = await connection.fetch(query("recall_steps"), [settlement_id])
    return to_recalls(rows).get(settlement_id)


async def _messages(
    connection: Connection, settlement_id: UUID, attempts: Sequence[Attempt]
) -> tuple[records.MessagesRecord, dict[int, bytes]]:
    bounds = (
        records.MESSAGES_MAX + 1,
        records.MESSAGE_FILES_MAX,
        records.MESSAGE_FILES_BYTES_MAX,
    )
    rows = await connection.fetch(query("dossier_messages"), settlement_id, *bounds)
    latest = rows[: records.MESSAGES_MAX]
    copied = [
        recording.CopiedMessage(
            direction=MessageDirection(row["direction"]),
            attempt=row["attempt"],
            rail=row["rail"],
            type=row["type"],
            message_id=row["message_id"],
            response_status=row["response_status"] or 0,
            sha256=row["sha256"],
            at=row["at"],
            size_bytes=row["bytes"],
            content=row["content"],
        )
        for row in reversed(latest)
    ]
    return recording.record_messages(copied, attempts, is_whole=len(latest) == len(rows))


def _attempt(row: asyncpg.Record) -> Attempt:
    attempt = to_attempt(row)
    assert attempt is not None, "every row of attempts is an attempt"
    return attempt


async def _hold(connection: Connection, settlement_id: UUID) -> records.HoldRecord | None:
    row = await connection.fetchrow(query("dossier_hold"), settlement_id)
    if row is None:
        return None
    resolved_at = row["resolved_at"]
    return records.HoldRecord(
        account_id=row["account_id"],
        amount_minor=row["amount_minor"],
        currency=row["currency"],
        locked_at=recording.instant(row["locked_at"]),
        resolved_at=recording.instant(resolved_at) if resolved_at else None,
        outcome=row["outcome"],
    )


async def _answers(connection: Connection, settlement_id: UUID) -> records.AnswersRecord:
    rows = await connection.fetch(query("dossier_answers"), settlement_id, records.ANSWERS_MAX)
    total = await connection.fetchval(query("dossier_answers_total"), settlement_id)
    latest = [
        records.AnswerRecord(
            at=recording.instant(row["at"]),
            state=State(row["state"]),
            event=Event(row["event"]),
            attempt=row["attempt"],
            asked=row["asked"],
            times=row["times"],
            last_at=recording.instant(row["last_at"]),
        )
        for row in sorted(rows, key=lambda row: (row["at"], row["last_at"]))
    ]
    return records.AnswersRecord(total=total, latest=tuple(latest))


async def _exceptions(
    connection: Connection, settlement_id: UUID
) -> tuple[records.ExceptionRecord, ...]:
    wanted = (None, settlement_id, HAS_CLOSED, None, records.EXCEPTIONS_MAX)
    rows: Sequence[asyncpg.Record] = await connection.fetch(query("list_cases"), *wanted)
    return tuple(
        records.ExceptionRecord(
            id=row["id"],
            kind=row["kind"],
            detail=msgspec.json.decode(row["detail"], type=dict[str, str]),
            opened_at=recording.instant(row["opened_at"]),
            acknowledged_at=recording.instant_or_none(row["acknowledged_at"]),
            acknowledged_by=row["acknowledged_by"] or "",
            closed_at=recording.instant_or_none(row["closed_at"]),
            closed_by=row["closed_by"] or "",
            close_reason=row["close_reason"] or "",
        )
        for row in reversed(rows)
    )
