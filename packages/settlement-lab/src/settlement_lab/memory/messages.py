"""Messages in memory (``ports.MessageStore``)."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from settlement_engine.domain.kept_messages import (
    CONTENT_BYTES_MAX,
    ListedMessage,
    MessageDirection,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from uuid import UUID

    from settlement_engine.domain.kept_messages import KeptMessage, MessagePosition
    from settlement_lab.memory.records import Records


class MemoryMessages:
    """See ``ports.MessageStore``."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def keep(self, messages: Sequence[KeptMessage]) -> None:
        """Store messages; one that is stored already changes nothing."""
        for message in messages:
            self._records.keep(message)

    async def messages_of(
        self, settlement_id: UUID, limit: int, after: MessagePosition | None = None
    ) -> list[ListedMessage]:
        """Return a settlement's messages, oldest first; see the port."""
        found = listed_messages(self._records, settlement_id)
        return [each for each in found if after is None or each.position > after][:limit]


def listed_messages(records: Records, settlement_id: UUID) -> list[ListedMessage]:
    """Return all messages of a settlement, wherever they are kept, oldest first."""
    settlement = records.histories.get(settlement_id)
    if settlement is None or settlement.attempt is None:
        return []
    attempt = settlement.attempt
    sent = ListedMessage(
        direction=MessageDirection.OUT,
        attempt=attempt.number,
        rail=attempt.route.rail,
        type=None,
        message_id=attempt.references.message_id,
        response_status=0,
        content=attempt.payload,
        size_bytes=len(attempt.payload),
        sha256=hashlib.sha256(attempt.payload).digest(),
        at=attempt.recorded_at,
        references=attempt.references,
    )
    found = [
        sent,
        *_kept(records, sent, settlement_id),
        *_filed(records, sent, settlement_id),
        *_covers(records, sent, settlement_id),
        *_inbound(records, sent, settlement_id),
    ]
    return sorted(found, key=lambda each: each.position)


def _covers(records: Records, sent: ListedMessage, settlement_id: UUID) -> Iterator[ListedMessage]:
    for cover in records.covers.stored.get((settlement_id, sent.attempt), ()):
        yield msgspec.structs.replace(
            sent,
            message_id=cover.message_id,
            content=cover.content,
            size_bytes=len(cover.content),
            sha256=hashlib.sha256(cover.content).digest(),
            at=cover.recorded_at,
        )


def _filed(records: Records, sent: ListedMessage, settlement_id: UUID) -> Iterator[ListedMessage]:
    for file, items in records.rail_files:
        for item in items:
            if item.settlement_id == settlement_id:
                is_long = len(file.content) > CONTENT_BYTES_MAX
                yield ListedMessage(
                    direction=MessageDirection.OUT,
                    attempt=item.attempt,
                    rail=file.rail,
                    type="nacha",
                    message_id=file.name,
                    response_status=0,
                    content=b"" if is_long else file.content,
                    size_bytes=len(file.content),
                    sha256=hashlib.sha256(file.content).digest(),
                    at=records.file_closed_at[file.id],
                    references=sent.references,
                )


def _kept(records: Records, sent: ListedMessage, settlement_id: UUID) -> Iterator[ListedMessage]:
    for message, stored_at in records.messages.values():
        if message.settlement_id == settlement_id:
            yield ListedMessage(
                direction=message.direction,
                attempt=message.attempt,
                rail=message.rail,
                type=message.type,
                message_id=message.message_id,
                response_status=message.response_status,
                content=message.content,
                size_bytes=len(message.content),
                sha256=message.sha256,
                at=stored_at,
                references=sent.references,
            )


def _inbound(records: Records, sent: ListedMessage, settlement_id: UUID) -> Iterator[ListedMessage]:
    seen: set[tuple[str, str, bytes]] = set()
    for number, report in records.inbound_reports.items():
        key = records.message_of_report[number]
        if report.settlement_id != settlement_id or key in seen:
            continue
        seen.add(key)
        message = records.inbound_messages[key]
        yield ListedMessage(
            direction=MessageDirection.IN,
            attempt=report.attempt,
            rail=message.rail,
            type=None,
            message_id=message.sender_reference,
            response_status=0,
            content=message.content,
            size_bytes=len(message.content),
            sha256=key[2],
            at=report.received_at,
            references=sent.references,
        )
