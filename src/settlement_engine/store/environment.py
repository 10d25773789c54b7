"""Which environment a database belongs to, so that ``dev`` never joins production's (nor the other way).

Promises: whoever uses a database first says what it is, and all others are held to it. It binds ``serve`` and
``dev`` and nobody else: ``migrate``, ``prove`` and ``reopen`` work on any database.
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
    """Name the environment of a configuration's profile."""
    return PRODUCTION if profile == PRODUCTION else DEV


async def find_environment(settings: DatabaseSettings) -> str:
    """Return the environment that a database is marked with; empty when it is not."""
    async with _connected(settings) as connection:
        return await _find(connection)


async def require_environment(
    settings: DatabaseSettings, wanted: str, *, must_be_marked: bool = False
) -> None:
    """Raise Misconfigured if the database is of another environment.

    With ``must_be_marked`` also if it is in use and nobody has said what it is.
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
    """Mark a database that is not marked yet. Raises Misconfigured if it belongs to another one."""
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
