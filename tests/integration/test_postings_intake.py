"""Moves are read in two parts side by side; whatever fails between, no posting is read twice or left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg
import pytest

from settlement_engine.domain.lifecycle import State
from settlement_engine.domain.reconciliation import MOVES_AT_ONCE
from settlement_engine.errors import Contention, Unavailable
from settlement_engine.ports import Zones
from settlement_engine.store import postings_intake
from settlement_engine.store.database import DatabaseConnections
from settlement_engine.store.postings_intake import MovesPart, parts_of, take_in_postings
from settlement_engine.store.reconciliation import RECONCILING_PLAN
from tests.support.histories import Scene
from tests.support.stores import PostgresStores, patient_settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from settlement_engine.store.database import Connection

ZONES = Zones(default="UTC", by_account={})
BOOKED = """
SELECT p.day, p.ours, p.ours_minor, q.postings, q.minor
FROM (SELECT day, sum(ours) AS ours, sum(ours_minor) AS ours_minor FROM reconciliation_days GROUP BY day) AS p
FULL JOIN (
    SELECT booked_on AS day, count(*) AS postings, sum(amount_minor) AS minor FROM open_postings GROUP BY booked_on
) AS q ON q.day = p.day
"""


@pytest.fixture
async def lines(database_url: str, monkeypatch) -> AsyncIterator[DatabaseConnections]:
    """Nine completed payments, and connections that read their moves in many parts."""
    monkeypatch.setattr(postings_intake, "MOVES_AT_ONCE", 7)
    stores = PostgresStores(database_url)
    scene = await Scene.open(stores)
    for minor in range(1, 10):
        await scene.bring(State.COMPLETED, minor=minor)
    await stores.close()
    settings = patient_settings(database_url)
    made = DatabaseConnections(settings, 2, RECONCILING_PLAN, is_writing=True)
    yield made
    await made.close()


async def taken_in(lines: DatabaseConnections, url: str) -> tuple[int, int, int]:
    """Read everything; returns the postings that are open, those that the days count, and the cursor."""
    while await take_in_postings(lines, ZONES):
        pass
    connection = await asyncpg.connect(url)
    row = await connection.fetchrow(BOOKED)
    position = await connection.fetchval("SELECT position FROM reconciliation_cursor")
    head = await connection.fetchval("SELECT position FROM stream_head")
    await connection.close()
    assert row is not None
    assert (row["ours"], row["ours_minor"]) == (row["postings"], row["minor"])
    assert position == head
    return row["postings"], row["ours"], position


@pytest.mark.parametrize("failing", [0, 1], ids=["the-first-part", "the-second-part"])
@pytest.mark.parametrize("at", ["before", "after"])
async def test_a_part_that_fails_is_read_again_and_those_behind_it_are_not_kept(
    lines, database_url, monkeypatch, failing, at
):
    advance = postings_intake._advance
    calls: list[int] = []

    async def unlucky(
        connection: Connection, part: MovesPart, found: Sequence[asyncpg.Record]
    ) -> None:
        place = (part.begins // 7) % 2
        calls.append(place)
        if place == failing and len(calls) <= 2:
            if at == "after":
                await advance(connection, part, found)
            raise Unavailable("the database is gone", why="the test says so")
        await advance(connection, part, found)

    monkeypatch.setattr(postings_intake, "_advance", unlucky)
    with pytest.raises(Unavailable, match="the database is gone"):
        await take_in_postings(lines, ZONES)
    postings, counted, _ = await taken_in(lines, database_url)
    assert postings == counted == 18


async def test_what_another_process_has_read_is_not_read_again(lines, database_url, monkeypatch):
    """The session's lock of a run was lost, and another run has begun: the cursor decides."""
    advance = postings_intake._advance
    is_first = True

    async def overtaken(
        connection: Connection, part: MovesPart, found: Sequence[asyncpg.Record]
    ) -> None:
        nonlocal is_first
        if is_first:
            is_first = False
            other = await asyncpg.connect(database_url)
            await other.execute("UPDATE reconciliation_cursor SET position = position + 7")
            await other.close()
        await advance(connection, part, found)

    monkeypatch.setattr(postings_intake, "_advance", overtaken)
    with pytest.raises(Contention, match="were read already"):
        await take_in_postings(lines, ZONES)
    connection = await asyncpg.connect(database_url)
    assert await connection.fetchval("SELECT count(*) FROM open_postings") <= 14
    assert await connection.fetchval("SELECT position FROM reconciliation_cursor") in (7, 14)
    await connection.close()


def test_the_parts_follow_each_other_and_end_at_the_head():
    most = MOVES_AT_ONCE
    assert parts_of(5, 5) == []
    assert parts_of(5, 6) == [MovesPart(5, 6)]
    assert parts_of(0, most + 1) == [MovesPart(0, most), MovesPart(most, most + 1)]
    assert parts_of(3, 9 * most) == [MovesPart(3, 3 + most), MovesPart(3 + most, 3 + 2 * most)]


async def test_each_posting_is_read_once(lines, database_url):
    first = await taken_in(lines, database_url)
    assert first[0] == 18
    assert await taken_in(lines, database_url) == first
    connection = await asyncpg.connect(database_url)
    keys = await connection.fetchval(
        "SELECT bool_and(keys.n = named.n) FROM open_postings AS p"
        " CROSS JOIN LATERAL (SELECT count(*) AS n FROM open_posting_keys AS k WHERE k.posting_id = p.id) AS keys"
        " CROSS JOIN LATERAL (SELECT count(DISTINCT k) AS n FROM unnest(p.keys) AS k) AS named"
    )
    await connection.close()
    assert keys
