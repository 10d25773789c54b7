"""Whether a server is safe for money, and whether a connection is a session of its own.

Session locks (which show that an engine is alive), limits and settings belong to a session of the server. A pooler
in transaction mode gives each transaction another session: that is detected before anything is set or written.

Promises: it reports everything that is wrong at once, and changes nothing. While an engine runs, ``ServerWatch``
checks the same settings with each heartbeat.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import asyncpg

from settlement_engine.errors import Misconfigured
from settlement_engine.store.database import connect
from settlement_engine.store.failures import DRIVER_ERRORS, translated
from settlement_engine.store.hosts import addresses
from settlement_engine.store.queries import query

if TYPE_CHECKING:
    from settlement_engine.store.database import Connection, DatabaseSettings

WANTED: Final = {
    "fsync": ("on",),
    "full_page_writes": ("on",),
    # Our sessions never turn it off themselves; a plan for one kind of work still may.
    "synchronous_commit": ("on", "remote_apply", "local", "remote_write"),
}
RELEASE_MIN: Final = 160_000
"""PostgreSQL 16, as server_version_num."""


POOLER_LOOKS: Final = 3
"""Enough queries to notice: a pool hands out its connections in turn, or the last used one first."""

POOLER_SECONDS: Final = 2.0
"""A query that takes longer than this while another client has a transaction open shares its connection."""

STATEMENT_POOL: Final = "statement pooling mode"
"""PgBouncer's error for a transaction in statement pooling mode."""


async def check_safety(settings: DatabaseSettings) -> list[str]:
    """List what makes this server unsafe for money; an empty list means that it is safe."""
    with translated():
        connection = await connect(settings)
        try:
            rows = await connection.fetch(query("safety_settings"))
        finally:
            connection.terminate()
    found = {row["name"]: row["setting"] for row in rows}
    problems = [
        f"{name} is {found.get(name)}, must be {allowed[0]}"
        for name, allowed in WANTED.items()
        if found.get(name) not in allowed
    ]
    if int(found["server_version_num"]) < RELEASE_MIN:
        problems.append("the server is older than PostgreSQL 16")
    return problems


async def require_safety(settings: DatabaseSettings) -> None:
    """Raise Misconfigured when the server is unsafe for money."""
    await require_sessions(settings)
    problems = await check_safety(settings)
    if problems:
        what = "this PostgreSQL server is not safe for money"
        raise Misconfigured(
            what, why="; ".join(problems), todo="Correct its settings, then restart."
        )


async def require_sessions(settings: DatabaseSettings) -> None:
    """Raise Misconfigured if a connection is not one session of the server for as long as it lasts.

    A host that cannot be reached, or is lost during the check, is skipped: whoever uses it reports that.
    """
    for url in addresses(settings.url):
        try:
            is_shared = await _is_shared(url, settings.connect_timeout_seconds)
        except DRIVER_ERRORS as error:
            is_shared = STATEMENT_POOL in str(error)
        if is_shared:
            what = "database.url leads to a connection pooler in transaction mode"
            why = (
                "each transaction may reach another session of PostgreSQL: the locks and settings that"
                " the engine relies on would be somebody else's (PgBouncer: pool_mode = transaction)"
            )
            todo = (
                "Use the address of PostgreSQL in database.url, or a pool with pool_mode = session."
            )
            raise Misconfigured(what, why=why, todo=todo)


async def _is_shared(url: str, seconds: float) -> bool:
    """Return whether statements of one connection reach more than one session of the server."""
    first = await _plain(url, seconds)
    try:
        if first.get_server_pid() == await _backend(first):
            return False  # no pooler in between
        second = await _plain(url, seconds)
        try:
            for _ in range(POOLER_LOOKS):
                if await _changes(first, second):
                    return True
            return False
        finally:
            second.terminate()
    finally:
        first.terminate()


async def _plain(url: str, seconds: float) -> Connection:
    # Named prepared statements belong to a session, too.
    found: Connection = await asyncpg.connect(url, timeout=seconds, statement_cache_size=0)
    return found


async def _changes(first: Connection, second: Connection) -> bool:
    """Return whether the first connection changes its session while the second one is busy."""
    before = await _backend(first)
    async with second.transaction():
        await second.fetchval(query("backend"))
        try:
            async with asyncio.timeout(POOLER_SECONDS):
                return await _backend(first) != before
        except TimeoutError:
            return True


async def _backend(connection: Connection) -> int:
    async with connection.transaction():
        return int(await connection.fetchval(query("backend")))
