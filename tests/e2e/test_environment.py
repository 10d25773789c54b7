"""``dev`` refuses production's database, and ``serve`` refuses a ``dev``'s; a copy can be marked as such."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import asyncpg
import pytest

from settlement_engine.cli.failures import ExitCode
from settlement_engine.errors import Misconfigured
from settlement_engine.store.database import DatabaseSettings
from settlement_engine.store.environment import (
    DEV,
    PRODUCTION,
    find_environment,
    mark_environment,
    require_environment,
)
from tests.e2e.test_start import REHEARSAL, run

if TYPE_CHECKING:
    from pathlib import Path

DATABASE = "SETTLEMENT_DATABASE__URL"
DEV_ALONE = ("dev", "--set", "nats.enabled=false")


async def test_the_first_user_of_a_database_marks_its_environment(database_url: str) -> None:
    settings = DatabaseSettings(url=database_url)
    assert await find_environment(settings) == ""
    await asyncio.gather(*(mark_environment(settings, PRODUCTION) for _ in range(3)))
    assert await find_environment(settings) == PRODUCTION
    with pytest.raises(Misconfigured, match="belongs to the environment production"):
        await mark_environment(settings, DEV)
    with pytest.raises(Misconfigured, match="belongs to the environment production"):
        await require_environment(settings, DEV)
    await mark_environment(settings, DEV, is_replacing=True)
    assert await find_environment(settings) == DEV


@pytest.mark.parametrize(
    "change", ["UPDATE environments SET name = 'dev'", "DELETE FROM environments"]
)
async def test_an_environment_mark_cannot_be_changed_or_deleted(
    database_url: str, change: str
) -> None:
    await mark_environment(DatabaseSettings(url=database_url), PRODUCTION)
    connection = await asyncpg.connect(database_url)
    try:
        with pytest.raises(asyncpg.PostgresError, match="append-only"):
            await connection.execute(change)
    finally:
        await connection.close()


def test_dev_refuses_productions_database_before_it_changes_anything(
    tmp_path: Path, empty_database_url: str
) -> None:
    migrated = run(
        tmp_path,
        *("migrate", "--environment", "production"),
        variables={DATABASE: empty_database_url},
    )
    assert migrated.returncode == ExitCode.OK, migrated.stderr
    ended = run(tmp_path, *DEV_ALONE, variables={DATABASE: empty_database_url})
    assert ended.returncode == ExitCode.MISCONFIGURED, ended.stderr
    assert "belongs to the environment production" in ended.stderr


def test_dev_refuses_a_database_in_use_without_a_mark(tmp_path: Path, database_url: str) -> None:
    insert = (
        "INSERT INTO openings (era, incarnation, step, why, system_identifier, timeline, database_id,"
        " detail, at) VALUES (0, gen_random_uuid(), 'opened', 'first', 's', 1, 1, '{}', now())"
    )
    asyncio.run(_execute(database_url, insert))
    ended = run(tmp_path, *DEV_ALONE, variables={DATABASE: database_url})
    assert ended.returncode == ExitCode.MISCONFIGURED, ended.stderr
    assert "settlement-engine migrate --environment dev" in ended.stderr


def test_serve_names_unsafe_settings_first_and_then_the_environment(
    tmp_path: Path, database_url: str
) -> None:
    asyncio.run(mark_environment(DatabaseSettings(url=database_url), DEV))
    variables = {DATABASE: database_url, "SETTLEMENT_NATS__ENABLED": "false"}
    unsafe = run(tmp_path, "serve", variables=variables)
    assert "unsafe settings" in unsafe.stderr
    book = ("--set", f"banks.mock_book_file={tmp_path}/book")
    refused = run(tmp_path, "serve", *REHEARSAL, *book, variables=variables)
    assert refused.returncode == ExitCode.MISCONFIGURED, refused.stderr
    assert "belongs to the environment dev" in refused.stderr


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
