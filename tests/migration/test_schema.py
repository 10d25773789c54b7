"""``schema.sql`` equals the result of all migrations: both create the same database."""

from __future__ import annotations

import os
from pathlib import Path

import asyncpg
import pytest

from settlement_engine.store import migrate
from tests.support.schema import fingerprint, write

SCHEMA = Path(migrate.__file__).parent / "sql" / "schema.sql"
WRITTEN_BY_MAJOR = 18
"""The PostgreSQL version whose spelling of constraints and views the file has."""


async def test_schema_and_migrations_make_the_same_database(database_url, empty_database_url):
    migrated = await asyncpg.connect(database_url)
    made = await asyncpg.connect(empty_database_url)
    try:
        if os.environ.get("SETTLEMENT_WRITE_SCHEMA"):
            SCHEMA.write_text(await write(migrated), "utf-8")
        await made.execute(SCHEMA.read_text("utf-8"))
        expected, found = await fingerprint(migrated), await fingerprint(made)
        for name, rows in expected.items():
            assert found[name] == rows, name
            assert rows, f"there are no {name}: the comparison looks past them"
    finally:
        await made.close()
        await migrated.close()


async def test_schema_sql_is_current(database_url):
    connection = await asyncpg.connect(database_url)
    try:
        if connection.get_server_version().major != WRITTEN_BY_MAJOR:
            pytest.skip("another release spells some definitions differently")
        assert SCHEMA.read_text("utf-8") == await write(connection)
    finally:
        await connection.close()
