"""Migrations run once, in order, under a lock; edited or unknown ones are refused."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from settlement_engine.errors import CorruptRecord, Misconfigured, Unavailable
from settlement_engine.store import migrate as module
from settlement_engine.store.database import DatabaseSettings
from settlement_engine.store.migrate import Migration, migrate, migrations, require_head
from tests.support.schema import fingerprint

RUNNERS = 4


@pytest.fixture
def settings(empty_database_url):
    return DatabaseSettings(url=empty_database_url)


@pytest.fixture
async def connection(empty_database_url):
    made = await asyncpg.connect(empty_database_url)
    yield made
    await made.close()


def names():
    return [f"{each.number:04d}_{each.name}" for each in migrations()]


def pretend(monkeypatch, *found):
    monkeypatch.setattr(module, "migrations", lambda: list(found))


NUMBER = len(migrations()) + 1
NEXT = Migration(number=NUMBER, name="next", sql="CREATE TABLE next_one (id integer); SELECT 1;")
NAME_OF_NEXT = f"{NUMBER:04d}_next"


def test_migrations_are_numbered_without_a_gap():
    assert [each.number for each in migrations()] == list(range(1, len(migrations()) + 1))


async def test_migrating_twice_changes_nothing(settings, connection):
    assert await migrate(settings) == names()
    before = await fingerprint(connection)
    assert await migrate(settings) == []
    assert await fingerprint(connection) == before
    await require_head(settings)


async def test_of_concurrent_migration_runs_one_applies_everything(settings):
    applied = await asyncio.gather(*(migrate(settings) for _ in range(RUNNERS)))
    assert sorted(applied) == [[]] * (RUNNERS - 1) + [names()]


async def test_a_dry_run_lists_migrations_and_applies_none(settings, connection):
    assert await migrate(settings, is_dry_run=True) == names()
    relations = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
    assert await connection.fetchval(relations) == 0
    await migrate(settings)
    assert await migrate(settings, is_dry_run=True) == []


async def test_a_database_that_is_behind_is_refused_by_the_engine(settings):
    with pytest.raises(Misconfigured) as refused:
        await require_head(settings)
    assert names()[0] in refused.value.why
    assert "settlement-engine migrate" in refused.value.todo


async def test_missing_migrations_are_applied_after_the_existing_ones(
    settings, connection, monkeypatch
):
    await migrate(settings)
    pretend(monkeypatch, *migrations(), NEXT)
    assert await migrate(settings, is_dry_run=True) == [NAME_OF_NEXT]
    assert await migrate(settings) == [NAME_OF_NEXT]
    assert await connection.fetchval("SELECT count(*) FROM next_one") == 0
    rows = await connection.fetch("SELECT number, name, checksum FROM schema_migrations")
    assert {row["number"] for row in rows} == set(range(1, NUMBER + 1))
    assert all(len(row["checksum"]) == 64 for row in rows)


async def test_an_edited_migration_is_refused(settings, monkeypatch):
    await migrate(settings)
    first, *rest = migrations()
    edited = Migration(number=first.number, name=first.name, sql=first.sql + "\n-- edited")
    pretend(monkeypatch, edited, *rest, NEXT)
    for is_dry_run in (True, False):
        with pytest.raises(CorruptRecord):
            await migrate(settings, is_dry_run=is_dry_run)


async def test_a_database_of_a_newer_version_is_refused(settings, monkeypatch):
    known = migrations()
    pretend(monkeypatch, *known, NEXT)
    await migrate(settings)
    pretend(monkeypatch, *known)
    for is_dry_run in (True, False):
        with pytest.raises(Misconfigured, match="ahead"):
            await migrate(settings, is_dry_run=is_dry_run)


async def test_a_migration_that_fails_leaves_nothing_behind(settings, connection, monkeypatch):
    await migrate(settings)
    before = await fingerprint(connection)
    broken = Migration(
        number=NUMBER, name="broken", sql="CREATE TABLE half (id integer); SELECT 1 / 0;"
    )
    pretend(monkeypatch, *migrations(), broken)
    with pytest.raises(CorruptRecord, match="statement"):
        await migrate(settings)
    assert await fingerprint(connection) == before
    pretend(monkeypatch, *migrations(), NEXT)
    assert await migrate(settings) == [NAME_OF_NEXT]


async def test_reference_data_is_loaded_once_and_not_overwritten(settings, connection):
    await migrate(settings)
    await connection.execute("UPDATE settlement_windows SET is_active = false")
    await migrate(settings)
    assert await connection.fetchval("SELECT count(*) FROM settlement_windows") == 5
    assert await connection.fetchval("SELECT bool_or(is_active) FROM settlement_windows") is False


async def test_an_unreachable_server_is_reported(settings):
    nowhere = DatabaseSettings(url="postgresql://nobody:nothing@127.0.0.1:1/none")
    with pytest.raises(Unavailable):
        await migrate(nowhere)


PROPOSED_AND_APPROVED = """
    ALTER TABLE resolutions DROP CONSTRAINT resolutions_settlement_id_fkey;
    INSERT INTO resolutions (settlement_id, finding, reason, evidence_name, evidence, evidence_sha256,
        content_sha256, proposed_by, proposed_at, expires_at, state, sends, decision, decided_by,
        decided_at, finished_at, ending)
    SELECT gen_random_uuid(), 'settled', 'x', 'x', 'x', sha256('x'), sha256('x'),
        'spiffe://bank/alice', now(), now() + '1 day', 'in_doubt', 1, 'approved', who, now(),
        CASE WHEN is_finished THEN now() END, CASE WHEN is_finished THEN 'attested' END
    FROM (VALUES ('spiffe://bank/alice/', false), ('SPIFFE://bank/%61lice', true),
        ('spiffe://bank/bob', false)) AS given (who, is_finished)
"""


async def test_an_approval_by_the_proposer_under_another_spelling_is_not_carried_out(
    settings, connection, monkeypatch
):
    """A database with such rows can be migrated, and those that have ended stay for the proof to report."""
    first, *others = migrations()
    pretend(monkeypatch, first)
    await migrate(settings)
    await connection.execute(PROPOSED_AND_APPROVED)
    pretend(monkeypatch, first, *others)
    await migrate(settings)
    found = await connection.fetch("SELECT decided_by, ending FROM resolutions ORDER BY id")
    assert [tuple(row) for row in found] == [
        ("spiffe://bank/alice/", "overtaken"),
        ("SPIFFE://bank/%61lice", "attested"),
        ("spiffe://bank/bob", None),
    ]
    await connection.execute("UPDATE resolutions SET taken_up_at = now() WHERE ending IS NULL")
