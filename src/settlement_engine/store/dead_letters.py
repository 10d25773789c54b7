"""Dead letters in PostgreSQL, and the actions taken on them (``ports.DeadLetterStore``).

Both are append-only, and are deleted together some days after the dead letter was closed; the database refuses
any other change.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from settlement_engine.domain.deadletters import (
    ACTS_MAX,
    EVERY_DEAD_LETTER,
    KEPT_DAYS_MIN,
    DeadLetter,
    DeadLetterAct,
    DeadLetterOutcome,
    MessageOrigin,
    require_open,
)
from settlement_engine.errors import Contention, NotFound
from settlement_engine.store.database import DatabaseConnection

if TYPE_CHECKING:
    from collections.abc import Sequence

    import asyncpg

    from settlement_engine.domain.deadletters import DeadLetterFilter
    from settlement_engine.store.database import DatabaseSettings, Readers


class PostgresDeadLetters:
    """See ``ports.DeadLetterStore``."""

    def __init__(self, settings: DatabaseSettings, readers: Readers) -> None:
        self._readers = readers
        self._writing = DatabaseConnection(settings, is_writing=True)

    async def close(self) -> None:
        """Close the connection."""
        await self._writing.close()

    async def keep_dead_letter(
        self,
        subject: str,
        payload: bytes,
        why: str,
        origin: MessageOrigin | None = None,
        *,
        kept_bytes_max: int | None = None,
    ) -> bool:
        """Store a message with the reason why it was refused; see the port."""
        message = (origin.stream, origin.sequence, origin.stored_at) if origin else (None,) * 3
        digest = sha256(payload).digest()
        kept = payload[:kept_bytes_max]
        rows = await self._writing.fetch(
            "add_dead_letter", subject, kept, why, len(payload), digest, *message
        )
        return bool(rows)

    async def open_dead_letters(
        self,
        limit: int,
        *,
        after_id: int = 0,
        wanted: DeadLetterFilter = EVERY_DEAD_LETTER,
        is_whole_only: bool = False,
        has_payload: bool = True,
    ) -> list[DeadLetter]:
        """Return the open ones, oldest first."""
        bounds = (wanted.subject, wanted.since, wanted.until)
        rows = await self._readers.fetch(
            "open_dead_letters", limit, after_id, *bounds, is_whole_only, has_payload
        )
        return await self._with_acts(rows)

    async def waiting_dead_letters(self, limit: int) -> int:
        """Count the open ones, up to the limit."""
        row = await self._readers.fetchrow("waiting_dead_letters", limit)
        assert row is not None, "a count always returns a row"
        return int(row["dead_letters"])

    async def remove_dead_letters(self, days: int, limit: int) -> int:
        """Delete dead letters closed at least so many days ago; see the port."""
        assert days >= KEPT_DAYS_MIN, "the database would refuse it"
        return len(await self._writing.fetch("remove_dead_letters", days, limit))

    async def dead_letters(
        self,
        limit: int,
        *,
        before_id: int | None = None,
        is_open_only: bool = False,
        has_payload: bool = True,
    ) -> list[DeadLetter]:
        """Return dead letters with the actions taken on them, latest first."""
        statement = "latest_open_dead_letters" if is_open_only else "dead_letters"
        rows = await self._readers.fetch(statement, limit, before_id, has_payload)
        return await self._with_acts(rows)

    async def dead_letter(self, dead_letter_id: int) -> DeadLetter | None:
        """Return one."""
        found = await self._with_acts(await self._readers.fetch("dead_letter", dead_letter_id))
        return found[0] if found else None

    async def note_dead_letter(self, dead_letter_id: int, act: DeadLetterAct) -> DeadLetter:
        """Record an action; see the port."""
        dead_letter = await self.dead_letter(dead_letter_id)
        if dead_letter is None:
            what = f"there is no dead letter {dead_letter_id}"
            raise NotFound(what, listed_by="intake dead-letters list")
        require_open(dead_letter)
        noted = await self._writing.fetch(
            "note_letter", dead_letter_id, act.who, act.outcome.value, act.words, act.settlement_id
        )
        after = await self.dead_letter(dead_letter_id)
        assert after is not None, "a dead letter is not deleted while it is acted on"
        if not noted:
            require_open(after)  # raises if another caller has closed it in the meantime
            what = f"another caller is working on dead letter {dead_letter_id}"
            raise Contention(what)
        return after

    async def _with_acts(self, rows: Sequence[asyncpg.Record]) -> list[DeadLetter]:
        if not rows:
            return []
        acts: dict[int, list[DeadLetterAct]] = {row["id"]: [] for row in rows}
        for row in await self._readers.fetch("dead_letter_acts", list(acts), ACTS_MAX):
            acts[row["dead_letter_id"]].append(
                DeadLetterAct(
                    at=row["at"],
                    who=row["who"],
                    outcome=DeadLetterOutcome(row["outcome"]),
                    words=row["words"],
                    settlement_id=row["settlement_id"],
                )
            )
        return [
            DeadLetter(
                id=row["id"],
                subject=row["subject"],
                payload=row["payload"],
                why=row["why"],
                received_at=row["received_at"],
                kept_bytes=row["kept_bytes"],
                payload_bytes=_size(row),
                payload_hash=row["payload_hash"] or _hash(row),
                origin=_origin(row),
                acts=tuple(acts[row["id"]]),
            )
            for row in rows
        ]


def _size(row: asyncpg.Record) -> int:
    """Return the size of the whole payload; version 1 stored no size, and always the whole payload."""
    size: int | None = row["payload_bytes"]
    return int(row["kept_bytes"]) if size is None else size


def _hash(row: asyncpg.Record) -> bytes:
    """Return the payload's hash, which version 1 did not store; empty where the payload was not read."""
    is_read = len(row["payload"]) == row["kept_bytes"]
    return sha256(row["payload"]).digest() if is_read else b""


def _origin(row: asyncpg.Record) -> MessageOrigin | None:
    if row["stream"] is None:
        return None
    return MessageOrigin(
        stream=row["stream"], sequence=row["stream_sequence"], stored_at=row["stored_at"]
    )
