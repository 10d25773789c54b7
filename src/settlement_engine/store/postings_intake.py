"""Reads the moves of settlements for postings on accounts at banks.

The moves are read in parts, two side by side: each part is one transaction, and they are committed in the order of the
moves, because a part's transaction advances the cursor from exactly where the part begins. So a part is never read
twice and never left out, whoever reads it and whatever fails between.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from settlement_engine.domain.reconciliation import MOVES_AT_ONCE
from settlement_engine.errors import Contention, SettlementEngineError
from settlement_engine.store.queries import query

if TYPE_CHECKING:
    from collections.abc import Sequence

    import asyncpg

    from settlement_engine.ports import Zones
    from settlement_engine.store.database import Connection, DatabaseConnections

PARTS_AT_ONCE: Final = 2


@dataclass(frozen=True, slots=True)
class MovesPart:
    """The moves behind a position, up to another one."""

    begins: int
    ends: int


async def take_in_postings(lines: DatabaseConnections, zones: Zones) -> bool:
    """Read the next parts of the moves; True if there may be more.

    Raises Contention if another process has read them in between.
    """
    row = await lines.fetchrow("reconciliation_cursor")
    assert row is not None, "the cursor is a row of the migration"
    parts = parts_of(row["position"], row["head"])
    ended: list[asyncio.Event] = [asyncio.Event() for _ in parts]
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_try(lines, zones, part, ended, place))
            for place, part in enumerate(parts)
        ]
    for task in tasks:  # the first part that failed is the reason why those behind it did
        if (error := task.result()) is not None:
            raise error
    return bool(parts) and parts[-1].ends < row["head"]


def parts_of(position: int, head: int) -> list[MovesPart]:
    """Return the next parts behind a position: at most ``PARTS_AT_ONCE``, of ``MOVES_AT_ONCE`` moves each."""
    begins = range(position, head, MOVES_AT_ONCE)[:PARTS_AT_ONCE]
    return [MovesPart(begin, min(begin + MOVES_AT_ONCE, head)) for begin in begins]


async def _try(
    lines: DatabaseConnections,
    zones: Zones,
    part: MovesPart,
    ended: Sequence[asyncio.Event],
    place: int,
) -> SettlementEngineError | None:
    """Read a part; a failure is returned, so that the part before it is not cut off."""
    try:
        await _take_in(lines, zones, part, ended, place)
    except SettlementEngineError as error:
        return error
    finally:
        ended[place].set()
    return None


async def _take_in(
    lines: DatabaseConnections,
    zones: Zones,
    part: MovesPart,
    ended: Sequence[asyncio.Event],
    place: int,
) -> None:
    """Read a part; its commit comes after that of the part before it."""
    async with lines.transaction() as connection:
        found = await connection.fetch(
            query("take_in_postings"),
            part.begins,
            part.ends,
            list(zones.by_account),
            list(zones.by_account.values()),
            zones.default,
        )
        # The sums of the days are rows that every part changes: they are locked in turn.
        if place > 0:
            await ended[place - 1].wait()
        await _advance(connection, part, found)


async def _advance(
    connection: Connection, part: MovesPart, found: Sequence[asyncpg.Record]
) -> None:
    """Add a part to the sums of the days, and move the cursor behind it."""
    row = await connection.fetchrow(query("move_reconciliation_cursor"), part.begins, part.ends)
    if row is None:
        what = "the moves before these were not read, or these were read already"
        raise Contention(what)
    await connection.execute(
        query("add_our_days"),
        [each["account_id"] for each in found],
        [each["booked_on"] for each in found],
        [each["minor"] for each in found],
        [each["postings"] for each in found],
    )
