"""Cases for people in PostgreSQL (``ports.CaseStore``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.domain.exceptions import (
    ENGINE,
    CaseFile,
    CaseKind,
    ExceptionCase,
    LastAnswer,
    believed,
    check_closing,
    latest_answer,
    unknown,
)
from settlement_engine.domain.identity import is_same_person
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.errors import CorruptRecord, WrongState
from settlement_engine.store.database import WRITERS_PLAN, DatabaseConnection
from settlement_engine.store.loading import load_each, load_one
from settlement_engine.store.queries import query
from settlement_engine.store.resolutions import to_proposal
from settlement_engine.store.rows import to_moved

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    import asyncpg

    from settlement_engine.domain.settlement import Settlement
    from settlement_engine.ports import CaseFilter, DoubtLimit
    from settlement_engine.store.database import Connection, DatabaseSettings, Readers

PROPOSALS_MAX: Final = 100
"""At most so many proposals about a settlement are shown with a case: the latest ones."""


class PostgresCases:
    """See ``ports.CaseStore``."""

    def __init__(self, settings: DatabaseSettings, readers: Readers) -> None:
        self._readers = readers
        # Every second what is open is joined with all that ever was: never by reading the latter.
        self._writing = DatabaseConnection(settings, WRITERS_PLAN, is_writing=True)

    async def close(self) -> None:
        """Close the connection."""
        await self._writing.close()

    # --- the engine's periodic checks -----------------------------------------------------------

    async def open_doubts(self, limits: Sequence[DoubtLimit], count_max: int) -> int:
        """Open a case for each payment that is past a limit; see the port."""
        rows = await self._writing.fetch(
            "open_doubts",
            [limit.rail for limit in limits],
            [limit.in_doubt_seconds for limit in limits],
            [limit.overdue_seconds for limit in limits],
            count_max,
        )
        return len(rows)

    async def open_altered(
        self, settlement_id: UUID, fingerprint: str, detail: Mapping[str, str]
    ) -> bool:
        """Freeze a settlement whose stored data was altered; see the port."""
        text = msgspec.json.encode(detail).decode()
        rows = await self._writing.fetch("open_altered", settlement_id, fingerprint, text)
        return bool(rows)

    async def open_unbookable(self, settlement_id: UUID, detail: Mapping[str, str]) -> bool:
        """Open a case for a transition that cannot be written; see the port."""
        text = msgspec.json.encode(detail, order="sorted").decode()
        return bool(await self._writing.fetch("open_unbookable", settlement_id, text))

    async def open_held(self, count_max: int) -> int:
        """Open a case for each parked settlement; see the port."""
        await self._writing.fetch("close_held", ENGINE, count_max)
        return len(await self._writing.fetch("open_held", count_max))

    async def close_ended(self, count_max: int) -> int:
        """Close the in-doubt cases of settlements that have ended; see the port."""
        await self._writing.fetch("finish_resolutions", count_max)
        await self._writing.fetch("supersede_ended_proposals", ENGINE, count_max)
        return len(await self._writing.fetch("close_ended_doubts", ENGINE, count_max))

    # --- reading --------------------------------------------------------------------------------

    async def cases(self, wanted: CaseFilter) -> list[ExceptionCase]:
        """Return cases, newest first; see the port."""
        rows = await self._readers.fetch(
            "list_cases",
            sorted(wanted.kinds) or None,
            wanted.settlement_id,
            wanted.has_closed,
            wanted.before_id,
            wanted.limit,
        )
        keys = [row["settlement_id"] for row in rows if row["settlement_id"] is not None]
        if not keys:
            return [_case(row, None) for row in rows]
        # A case about a record that cannot be read is listed without it.
        settlements, _ = await load_each(lambda some: self._readers.fetch("load", some), keys)
        return [_case(row, settlements.get(row["settlement_id"])) for row in rows]

    async def case(self, case_id: int) -> CaseFile | None:
        """Return a case with everything that a person needs; see the port."""
        async with (
            self._readers.line() as line,
            line.session() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            return await _file(connection, case_id)

    # --- people ---------------------------------------------------------------------------------

    async def acknowledge(self, case_id: int, who: str) -> ExceptionCase:
        """Record that a person is working on the case; see the port."""
        async with self._writing.session() as connection, connection.transaction():
            before = await _locked(connection, case_id)
            if before.closed_at is not None:
                what = f"the exception was closed by {before.closed_by}"
                raise WrongState(what, why="it is already closed")
            await connection.execute(query("acknowledge_matter"), case_id, who)
            return await _locked(connection, case_id)

    async def close_case(self, case_id: int, who: str, reason: str) -> ExceptionCase:
        """Close a case; see the port."""
        async with self._writing.session() as connection, connection.transaction():
            before = await _locked(connection, case_id)
            is_replay = is_same_person(before.closed_by, who) and before.close_reason == reason
            if before.closed_at is not None and is_replay:
                return before
            check_closing(before, who)
            await connection.execute(query("close_matter"), case_id, who, reason)
            return await _locked(connection, case_id)


async def _locked(connection: Connection, case_id: int) -> ExceptionCase:
    row = await connection.fetchrow(query("lock_case"), case_id)
    if row is None:
        raise unknown(case_id)
    return _case(row, await _readable(connection, row["settlement_id"]))


async def _readable(connection: Connection, key: UUID | None) -> Settlement | None:
    """Return the settlement of a case; None if it has none, or if its record cannot be read."""
    try:
        return await load_one(connection, key) if key is not None else None
    except CorruptRecord:
        return None


async def _file(connection: Connection, case_id: int) -> CaseFile | None:
    row = await connection.fetchrow(query("case_by_id"), case_id)
    if row is None:
        return None
    key = row["settlement_id"]
    settlement = await _readable(connection, key)
    if settlement is None:
        return CaseFile(
            case=_case(row, None),
            believed=None,
            last_answer=None,
            is_asked_now=False,
            proposals=(),
        )
    moves = [to_moved(each) for each in await connection.fetch(query("history"), key)]
    answered = await connection.fetchrow(query("last_answer"), key)
    assert answered is not None, "a loaded settlement exists"
    quiet = None
    if answered["state"] is not None:
        state, event = State(answered["state"]), Event(answered["event"])
        quiet = LastAnswer(state=state, event=event, at=answered["at"])
    proposals = await connection.fetch(query("proposals_of_settlement"), key, PROPOSALS_MAX)
    return CaseFile(
        case=_case(row, settlement),
        believed=believed(moves),
        last_answer=latest_answer(moves, quiet),
        is_asked_now=answered["owner"] != 0,
        proposals=tuple(to_proposal(each) for each in reversed(proposals)),
    )


def _case(row: asyncpg.Record, settlement: Settlement | None) -> ExceptionCase:
    return ExceptionCase(
        id=row["id"],
        kind=CaseKind(row["kind"]),
        settlement_id=row["settlement_id"],
        detail=msgspec.json.decode(row["detail"]),
        opened_at=row["opened_at"],
        seen_at=row["seen_at"],
        acknowledged_at=row["acknowledged_at"],
        acknowledged_by=row["acknowledged_by"] or "",
        closed_at=row["closed_at"],
        closed_by=row["closed_by"] or "",
        close_reason=row["close_reason"] or "",
        settlement=settlement,
    )
