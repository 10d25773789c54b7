"""Covers in PostgreSQL (``ports.CoverStore``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from settlement_engine.domain.covers import Cover, CoverRefusal
from settlement_engine.store.database import DatabaseConnection
from settlement_engine.store.transition_arrays import json_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    import asyncpg

    from settlement_engine.ports.covers import AttemptKey, CoverResult, FailedCover, NewCover
    from settlement_engine.store.database import DatabaseSettings


class PostgresCovers:
    """See ``ports.CoverStore``."""

    def __init__(self, settings: DatabaseSettings) -> None:
        self._writing = DatabaseConnection(settings, is_writing=True)

    async def close(self) -> None:
        """Close the connection."""
        await self._writing.close()

    async def latest(self, keys: Sequence[AttemptKey]) -> Mapping[UUID, Cover]:
        """Return the last cover of each attempt; see the port."""
        if not keys:
            return {}
        ids, attempts = [key[0] for key in keys], [key[1] for key in keys]
        rows = await self._writing.fetch("latest_covers", ids, attempts)
        return {row["settlement_id"]: _to_cover(row) for row in rows}

    async def record(self, covers: Sequence[NewCover]) -> None:
        """Store first covers; see the port."""
        if covers:
            columns = zip(*(_columns(each) for each in covers), strict=True)
            await self._writing.fetch("record_covers", *map(list, columns))

    async def note(self, results: Sequence[CoverResult]) -> None:
        """Store what is proved of covers; see the port."""
        if not results:
            return
        await self._writing.fetch(
            "note_cover_results",
            [each.settlement_id for each in results],
            [each.attempt for each in results],
            [each.number for each in results],
            [each.undelivered for each in results],
            ["undelivered" if each.undelivered else "refused" for each in results],
            [each.code for each in results],
            [each.text for each in results],
        )

    async def open_failed(self, failed: Sequence[FailedCover]) -> None:
        """Open an exception for each; see the port."""
        if failed:
            await self._writing.fetch(
                "open_cover_failed",
                [each.settlement_id for each in failed],
                [each.fingerprint for each in failed],
                [json_of(each.detail) or "{}" for each in failed],
            )

    async def order(self, repair: NewCover) -> bool:
        """Store a repair; see the port."""
        return bool(await self._writing.fetch("order_cover", *_columns(repair)))


def _columns(new: NewCover) -> tuple[object, ...]:
    cover = new.cover
    return (
        new.settlement_id,
        new.attempt,
        cover.number,
        cover.message_id,
        cover.content,
        cover.valid_until,
        cover.ordered_by,
        cover.reason,
        cover.is_found,
    )


def _to_cover(row: asyncpg.Record) -> Cover:
    refusal = None
    if row["refusal_code"] is not None:
        refusal = CoverRefusal(code=row["refusal_code"], text=row["refusal_text"])
    return Cover(
        number=row["number"],
        message_id=row["message_id"],
        content=row["content"],
        recorded_at=row["recorded_at"],
        valid_until=row["valid_until"],
        sends=row["sends"],
        undelivered=row["undelivered"],
        is_found=row["is_found"],
        refusal=refusal,
        ordered_by=row["ordered_by"],
        reason=row["reason"],
    )
