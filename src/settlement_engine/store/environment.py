"""The environment to which a database belongs, so that ``dev`` never uses production's, or the reverse.

Promises: the first user of a database marks it, and later users must have the same environment. The mark binds
``serve`` and ``dev`` only: ``migrate``, ``prove`` and ``recovery`` work on any database.
"""

from __future__ import annotations

import getpass
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from settlement_engine.errors import Misconfigured
from settlement_engine.store.database import connect
from settlement_engine.store.failures import translated
from settlement_engine.store.queries import query

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from settlement_engine.store.database import Connection, DatabaseSettings

PRODUCTION: Final = "production"
DEV: Final = "dev"
NAME_MAX: Final = 256
COPY: Final = "For a copy: `settlement-engine migrate --environment NAME --replace-environment`."


def environment_of(profile: str) -> str:
    """Return the environment of a configuration's profile."""
    return PRODUCTION if profile == PRODUCTION else DEV


async def find_environment(settings: DatabaseSettings) -> str:
    """Return the environment with which a database is marked; empty when it has no mark."""
    async with _connected(settings) as connection:
        return await _find(connection)


async def require_environment(
    settings: DatabaseSettings, wanted: str, *, must_be_marked: bool = False
) -> None:
    """Raise Misconfigured if the database belongs to another environment.

    With ``must_be_marked`` also if it is in use and has no mark.
    """
    async with _connected(settings) as connection:
        found = await _find(connection)
        is_unknown = must_be_marked and not found and await _is_in_use(connection)
    if found not in ("", wanted):
        raise Misconfigured(
            f"this database belongs to the environment {found}, and this is {wanted}",
            why="it was marked by the first program that used it",
            todo=f"Correct database.url. {COPY}",
        )
    if is_unknown:
        raise Misconfigured(
            "this database is in use, and it is not marked as a development database",
            why="it was created by a version without these marks",
            todo=f"If it is: settlement-engine migrate --environment {wanted}",
        )


async def mark_environment(
    settings: DatabaseSettings, name: str, *, is_replacing: bool = False
) -> None:
    """Mark a database that has no mark yet. Raises Misconfigured if it has another environment's."""
    async with _connected(settings) as connection:
        found = await _find(connection)
        if found == name:
            return
        if not found:
            await connection.execute(query("mark_environment"), name, _who())
        elif is_replacing:
            await connection.execute(query("replace_environment"), name, _who())
    await require_environment(settings, name)


async def _find(connection: Connection) -> str:
    if not await connection.fetchval(query("has_environments")):
        return ""
    return str(await connection.fetchval(query("environment")) or "")


async def _is_in_use(connection: Connection) -> bool:
    if not await connection.fetchval(query("has_schema")):
        return False
    return bool(await connection.fetchval(query("is_in_use")))


def _who() -> str:
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = "?"
    return f"{name}@{socket.gethostname()}"[:NAME_MAX]


@asynccontextmanager
async def _connected(settings: DatabaseSettings) -> AsyncIterator[Connection]:
    with translated():
        connection = await connect(settings)
        try:
            yield connection
        finally:
            connection.terminate()
