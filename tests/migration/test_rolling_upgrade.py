"""Engines are replaced one after the other while all of them settle: expand first, contract later.

The previous engine is this version, with its statements and its list of migrations; the next version is invented
here: a migration with a new column, a new index and a second version of a function next to the first.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

import asyncpg
import pytest

from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.errors import Misconfigured
from settlement_engine.store import migrate as module
from settlement_engine.store.migrate import Migration, migrate, migrations, require_head
from settlement_engine.store.queries import queries
from tests.support.histories import Scene
from tests.support.stores import PostgresStores, patient_settings

KNOWN = migrations()
NUMBER = len(KNOWN) + 1
EXPAND = """
ALTER TABLE settlement_transactions ADD COLUMN ended_by text;
CREATE INDEX settlements_by_priority ON settlement_transactions (priority, id);
DO $$
DECLARE
    v_text text := pg_get_functiondef('apply_steps_2'::regproc);
BEGIN
    v_text := replace(v_text, 'apply_steps_2', 'apply_steps_3');
    v_text := replace(v_text, 'seq = s.seq + 1,', 'seq = s.seq + 1, ended_by = p_event[g.i],');
    EXECUTE v_text;
END $$;
"""


def following(number: int, sql: str = EXPAND, *, is_compatible: bool = True) -> Migration:
    promise = f"-- compatible-from: {number - 1}\n" if is_compatible else ""
    return Migration(number=number, name="next", sql=promise + sql)


def pretend(monkeypatch: pytest.MonkeyPatch, *added: Migration) -> None:
    monkeypatch.setattr(module, "migrations", lambda: [*KNOWN, *added])


async def settle(scene: Scene, count: int) -> None:
    for _ in range(count):
        sent = await scene.bring(State.SENT)
        assert (await scene.move(sent, Event.SETTLED)).state is State.COMPLETED


async def test_the_previous_engine_settles_on_the_next_schema(database_url, monkeypatch):
    settings = patient_settings(database_url)
    old, new = PostgresStores(database_url), PostgresStores(database_url)
    scene = await Scene.open(old)
    begun = [await scene.bring(State.SENT) for _ in range(2)]

    settling = asyncio.create_task(settle(scene, 20))
    pretend(monkeypatch, following(NUMBER))
    assert await migrate(settings) == [f"{NUMBER:04d}_next"]
    await settling

    pretend(monkeypatch)
    await require_head(settings)
    assert await migrate(settings) == []
    await settle(scene, 2)
    for settlement in begun:
        assert (await scene.move(settlement, Event.SETTLED)).state is State.COMPLETED

    begun_by_old = await scene.bring(State.SENT)
    pretend(monkeypatch, following(NUMBER))
    with monkeypatch.context() as upgraded:
        second = queries()["apply"].replace("apply_steps_2(", "apply_steps_3(")
        upgraded.setitem(queries(), "apply", second)
        await require_head(settings)
        scene.stores = new
        await settle(scene, 2)
        begun_by_new = await scene.bring(State.SENT)
        assert (await scene.move(begun_by_old, Event.SETTLED)).state is State.COMPLETED
    scene.stores = old
    assert (await scene.move(begun_by_new, Event.SETTLED)).state is State.COMPLETED

    connection = await asyncpg.connect(database_url)
    ended = "SELECT count(*) FROM settlement_transactions WHERE ended_by = 'settled'"
    assert await connection.fetchval(ended) == 3
    await connection.close()
    assert await old.differences() == []
    await old.close()
    await new.close()


@pytest.mark.parametrize(
    ("added", "is_accepted"),
    [
        ([following(NUMBER)], True),
        ([following(NUMBER, is_compatible=False)], False),
        ([following(NUMBER), following(NUMBER + 1, "SELECT 1;")], False),
    ],
)
async def test_an_engine_runs_on_its_own_schema_and_on_the_next_one(
    database_url, monkeypatch, added, is_accepted
):
    settings = patient_settings(database_url)
    pretend(monkeypatch, *added)
    await migrate(settings)
    pretend(monkeypatch)
    if is_accepted:
        await require_head(settings)
        return
    with pytest.raises(Misconfigured, match="ahead") as refused:
        await require_head(settings)
    assert f"{added[-1].number:04d}_next" in refused.value.why


async def test_a_missing_migration_below_a_later_one_is_not_applied(database_url, monkeypatch):
    settings = patient_settings(database_url)
    pretend(monkeypatch, following(NUMBER, "SELECT 1;"), following(NUMBER + 1, "SELECT 1;"))
    await migrate(settings)
    connection = await asyncpg.connect(database_url)
    await connection.execute("DELETE FROM schema_migrations WHERE number = $1", NUMBER)
    await connection.close()
    pretend(monkeypatch, following(NUMBER, "SELECT 1;"))
    with pytest.raises(Misconfigured, match="ahead"):
        await migrate(settings)


@pytest.mark.parametrize("promised", [NUMBER - 2, NUMBER + 1])
def test_a_migration_is_compatible_with_one_earlier_version_at_most(promised):
    text = f"-- compatible-from: {promised}\nSELECT 1;"
    with pytest.raises(AssertionError):
        _ = Migration(number=NUMBER, name="next", sql=text).compatible_from


async def test_an_old_migrations_table_is_read_and_extended(database_url):
    connection = await asyncpg.connect(database_url)
    await connection.execute("ALTER TABLE schema_migrations DROP COLUMN compatible_from")
    await require_head(patient_settings(database_url))
    assert await migrate(patient_settings(database_url)) == []
    told = "SELECT count(compatible_from) FROM schema_migrations"
    assert await connection.fetchval(told) == 0
    await connection.close()


async def test_a_migration_waits_briefly_for_locks_and_retries(database_url, monkeypatch):
    """It gives up when a table is locked for long, and tries again."""
    settings = patient_settings(database_url)
    monkeypatch.setattr(module, "LOCK_WAIT_MILLISECONDS", 20)
    monkeypatch.setattr(module, "LOCK_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(module, "LOCK_TRIES_MAX", 100_000)
    came_again, tries = asyncio.Event(), 0
    apply_once = module._apply_once

    async def counted(*arguments: Any) -> None:
        nonlocal tries
        tries += 1
        if tries > 2:
            came_again.set()
        await apply_once(*arguments)

    monkeypatch.setattr(module, "_apply_once", counted)
    pretend(monkeypatch, following(NUMBER))
    reader = await asyncpg.connect(database_url)
    async with reader.transaction():
        await reader.fetch("SELECT 1 FROM settlement_transactions")
        migrating = asyncio.create_task(migrate(settings))
        await came_again.wait()
        assert not migrating.done()
    assert await migrating == [f"{NUMBER:04d}_next"]
    await reader.close()


CONTRACTS = re.compile(
    r"\b(DROP (TABLE|COLUMN|FUNCTION|TYPE|VIEW|DOMAIN)|RENAME|SET NOT NULL|ALTER COLUMN)\b"
)
REPLACED = re.compile(r"CREATE OR REPLACE FUNCTION (\w+)")


def test_a_compatible_migration_removes_nothing_that_the_previous_engine_uses():
    """The functions that engine calls are not changed: a new meaning is a new function."""
    called = set(re.findall(r"\b(\w+)\(", "\n".join(queries().values())))
    for migration in KNOWN:
        if migration.compatible_from == migration.number:
            continue
        assert CONTRACTS.search(migration.sql) is None, migration.name
        assert not called & set(REPLACED.findall(migration.sql)), migration.name
