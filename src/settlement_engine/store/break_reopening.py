"""Matches that are taken back in PostgreSQL, and the breaks that are open again by it.

Each function runs in a transaction of its caller, under the lock of the account. What people have posted stays posted:
the correction is an open item again, and a second transfer needs two people again. What rules have posted is reversed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from settlement_engine.domain.breaks.history import BreakEventKind
from settlement_engine.store import differences
from settlement_engine.store.break_work_rows import BreakEventDetail, append_event, need_file
from settlement_engine.store.queries import query

if TYPE_CHECKING:
    from uuid import UUID

    from settlement_engine.store.database import Connection

_CAME_LATE: Final = "an entry of the bank came late"


async def take_back(
    connection: Connection,
    account_id: int,
    match_id: int,
    said: tuple[str, str],
    *,
    zone: str,
    run_id: UUID | None = None,
) -> list[int]:
    """Take a live match back; returns the breaks that are open again. ``said`` is the person and the reason."""
    rows = await connection.fetch(query("closed_breaks_of_match"), match_id)
    await differences.take_back(connection, account_id, [match_id], said, zone=zone, run_id=run_id)
    for row in rows:
        before = await need_file(connection, row["id"])
        detail = BreakEventDetail(match_id=match_id)
        await append_event(connection, before, BreakEventKind.REOPENED, said, detail)
        await connection.execute(query("put_on_open_breaks"), row["id"], account_id, row["owner"])
        await connection.execute(query("add_corrections_to_break"), row["id"], match_id)
    return [row["id"] for row in rows]


async def reopen_late(
    connection: Connection, account_id: int, run_id: UUID, zone: str
) -> list[int]:
    """Take back what people closed without an entry that is there now; returns the breaks that are open again."""
    found: list[int] = []
    for row in await connection.fetch(query("late_matches"), account_id):
        said = ("engine", _CAME_LATE)
        found += await take_back(connection, account_id, row["id"], said, zone=zone, run_id=run_id)
    return found
