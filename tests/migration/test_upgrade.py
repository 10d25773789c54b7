"""A database of the first version, with data in it, is migrated to this version and used."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import asyncpg

from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.evidence.explanation import as_text, explain
from settlement_engine.store import migrate as migrations_of
from settlement_engine.store.migrate import migrate
from tests.support.histories import Scene
from tests.support.stores import PostgresStores, patient_settings

if TYPE_CHECKING:
    import pytest

    from tests.support.databases import Databases

COPIED = (
    "accounts",
    "transfers",
    "idempotent_calls",
    "settlement_transactions",
    "open_settlements",
    "moves",
    "attempts",
    "answers",
    "fund_locks",
    "engines",
)
COLUMNS = """
SELECT array_agg(column_name::text ORDER BY ordinal_position) FROM information_schema.columns
WHERE table_schema = 'public' AND table_name = $1
"""
OLD_ANSWERS = """
INSERT INTO answers (settlement_id, attempt, state, event, asked, at)
SELECT s.id, 1, 'sent', 'no_answer', n, clock_timestamp()
FROM settlement_transactions AS s, generate_series(1, 3) AS n
"""
NUMBERED = """
SELECT setval(pg_get_serial_sequence(t, 'id'), 1000) FROM unnest($1::text[]) AS q (t)
"""


async def copied(new: asyncpg.Connection, old: asyncpg.Connection) -> None:
    """Copy the data of this version's tables into the first version's tables."""
    await old.execute("SET session_replication_role = replica")
    for table in COPIED:
        known = set(await new.fetchval(COLUMNS, table))
        columns = [name for name in await old.fetchval(COLUMNS, table) if name in known]
        rows = await new.fetch(f"SELECT {', '.join(columns)} FROM {table}")
        places = ", ".join(f"${number}" for number, _ in enumerate(columns, 1))
        await old.executemany(
            f"INSERT INTO {table} ({', '.join(columns)}) OVERRIDING SYSTEM VALUE VALUES ({places})",
            [[_narrow(value) for value in row] for row in rows],
        )
    await old.fetch(NUMBERED, ["accounts", "answers", "engines"])
    position = await new.fetchval("SELECT position FROM stream_head")
    await old.execute("UPDATE stream_head SET position = $1", position)
    await old.execute("SET session_replication_role = origin")


def _narrow(value: object) -> object:
    return int(value) if isinstance(value, Decimal) else value


async def test_data_of_the_first_version_is_continued(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, url = await databases.migrated(), await databases.empty()
    everything = migrations_of.migrations()
    with monkeypatch.context() as patch:
        patch.setattr(migrations_of, "migrations", lambda: everything[:1])
        await migrate(patient_settings(url))
    stores = PostgresStores(now)
    scene = await Scene.open(stores)
    settlement = await scene.bring(State.SENT)
    new, old = await asyncpg.connect(now), await asyncpg.connect(url)
    await copied(new, old)
    await old.execute(OLD_ANSWERS)
    await new.close()
    await stores.close()

    await migrate(patient_settings(url))
    scene.stores = stores = PostgresStores(url)
    settlement = await scene.move(settlement, Event.NO_ANSWER, due_seconds=0.0)
    dossier = await stores.archive.dossier(settlement.id)
    assert dossier is not None
    assert [answer.times for answer in dossier.answers.latest] == [1, 1, 1, 1]
    assert dossier.answers.total == 4
    assert "4 times between" in as_text(explain(dossier))
    ended = await scene.move(settlement, Event.SETTLED)
    assert ended.state is State.COMPLETED
    source = await scene.source()
    assert (source.posted, source.held) == (10**9 - 100, 0)
    assert await stores.differences() == []
    assert await old.fetchval("SELECT balance FROM nostro_accounts") == Decimal("9999999.00")
    await old.close()
    await stores.close()
