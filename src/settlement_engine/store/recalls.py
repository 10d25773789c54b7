"""Recalls after completion in PostgreSQL (``ports.RecallStore``)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec

from settlement_engine.domain.exceptions import ENGINE
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.recalls import (
    ENDED_RECALLS,
    RecallRequest,
    RecallState,
    RecallStep,
    why_overdue_is_closed,
)
from settlement_engine.errors import NotFound, WrongState
from settlement_engine.store.database import DatabaseConnection
from settlement_engine.store.queries import query

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    import asyncpg

    from settlement_engine.ports import RecallCommand
    from settlement_engine.store.database import Connection, DatabaseSettings, Readers

REQUESTED = "requested"
"""The event of the first step, which no bank says."""


class PostgresRecalls:
    """See ``ports.RecallStore``."""

    def __init__(self, settings: DatabaseSettings, readers: Readers) -> None:
        self._readers = readers
        self._writing = DatabaseConnection(settings, is_writing=True)

    async def close(self) -> None:
        """Close the connection."""
        await self._writing.close()

    async def request_recall(self, settlement_id: UUID, who: str, reason: str) -> RecallRequest:
        """Write the request down, or return the recall that is there; see the port."""
        async with self._writing.session() as connection, connection.transaction():
            state = await connection.fetchval(query("lock_settlement_for_recall"), settlement_id)
            if state is None:
                what = f"there is no settlement {settlement_id}"
                raise NotFound(what, listed_by="list")
            found = to_recalls(await connection.fetch(query("recall_steps"), [settlement_id]))
            if found:
                return msgspec.structs.replace(found[settlement_id], is_replay=True)
            require_completed(settlement_id, State(state))
            detail = {"requested_by": who, "reason": reason}
            await _add(connection, settlement_id, 1, REQUESTED, RecallState.REQUESTED, detail)
            await connection.execute(query("open_recall"), settlement_id)
            written = await connection.fetch(query("recall_steps"), [settlement_id])
        return to_recalls(written)[settlement_id]

    async def recall(self, settlement_id: UUID) -> RecallRequest | None:
        """Return the recall of a settlement."""
        return (await self.recalls([settlement_id])).get(settlement_id)

    async def recalls(self, settlement_ids: Sequence[UUID]) -> dict[UUID, RecallRequest]:
        """Return the recalls of these settlements, where there are any."""
        return to_recalls(await self._readers.fetch("recall_steps", list(settlement_ids)))

    async def take_due_recalls(
        self, limit: int, first_seconds: float, max_seconds: float
    ) -> list[RecallRequest]:
        """Take open recalls that are due; see the port."""
        rows = await self._writing.fetch("take_due_recalls", limit, first_seconds, max_seconds)
        found = await self.recalls([row["settlement_id"] for row in rows])
        return [found[row["settlement_id"]] for row in rows]

    async def expect_returns(self, settlement_ids: Sequence[UUID]) -> None:
        """Make the recalls of these settlements due; see the port."""
        await self._writing.fetch("expect_returns", list(settlement_ids))

    async def stop_expecting(self, settlement_id: UUID) -> None:
        """Wait for nothing more about a recall; see the port."""
        await self._writing.fetch("close_recall", settlement_id)

    async def step_recall(self, command: RecallCommand) -> bool:
        """Append a step; see the port."""
        settlement_id, seq = command.settlement_id, command.after_seq + 1
        async with self._writing.session() as connection, connection.transaction():
            is_written = await _add(
                connection,
                settlement_id,
                seq,
                command.event.value,
                command.state,
                command.detail,
            )
            if is_written:
                waits = command.state not in ENDED_RECALLS
                await connection.execute(
                    query("open_recall" if waits else "close_recall"), settlement_id
                )
                await _note_overdue(connection, settlement_id, seq, command.state)
        return is_written


def require_completed(settlement_id: UUID, state: State) -> None:
    """Raise WrongState unless a settlement in this state may be recalled."""
    if state is not State.COMPLETED:
        what = f"settlement {settlement_id} is {state.value}, and cannot be recalled"
        raise WrongState(what, todo="Ask GetSettlementStatus for its state.")


async def _add(
    connection: Connection,
    settlement_id: UUID,
    seq: int,
    event: str,
    state: RecallState,
    detail: Mapping[str, str],
) -> bool:
    written = await connection.fetchrow(
        query("add_recall_step"), settlement_id, seq, event, state.value, json.dumps(dict(detail))
    )
    return written is not None


async def _note_overdue(
    connection: Connection, settlement_id: UUID, seq: int, state: RecallState
) -> None:
    """Open the exception of an overdue recall, or close it when the recall has moved on."""
    if state is RecallState.OVERDUE:
        await connection.execute(query("open_overdue_recall"), settlement_id, seq)
    else:
        why = why_overdue_is_closed(state)
        await connection.execute(query("close_overdue_recall"), settlement_id, ENGINE, why)


def to_recalls(rows: Sequence[asyncpg.Record]) -> dict[UUID, RecallRequest]:
    """Return the recalls whose steps these rows are."""
    steps: dict[UUID, list[RecallStep]] = {}
    for row in rows:
        steps.setdefault(row["settlement_id"], []).append(
            RecallStep(
                seq=row["seq"],
                event=None if row["event"] == REQUESTED else Event(row["event"]),
                state=RecallState(row["state"]),
                at=row["at"],
                detail=json.loads(row["detail"]),
            )
        )
    return {key: RecallRequest(settlement_id=key, steps=tuple(each)) for key, each in steps.items()}
