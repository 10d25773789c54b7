"""Whether a server is fit for money, before it is entrusted with any, and whether a session is one.

Locks that say that an engine lives, limits and settings belong to a session of the server. A pooler in
transaction mode gives each transaction another one: that is found out before anything is set or written.

Promises: it says everything that is wrong at once, and changes nothing. While an engine runs,
``ServerWatch`` hears of the same settings with each heartbeat.
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
    # Each session of ours keeps it from being off; a plan of its own may still say so.
    "synchronous_commit": ("on", "remote_apply", "local", "remote_write"),
}
RELEASE_MIN: Final = 160_000
"""PostgreSQL 16, as the server numbers itself."""


POOLER_LOOKS: Final = 3
"""A pool hands out its connections in turn, or the one used last: by then one has changed."""

POOLER_SECONDS: Final = 2.0
"""Who waits for longer while another client has a transaction open, shares its connection with it."""

STATEMENT_POOL: Final = "statement pooling mode"
"""What PgBouncer says to a transaction when it gives a session for one statement only."""


async def check_safety(settings: DatabaseSettings) -> list[str]:
    """Return what makes this server unfit for money; empty is good."""
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
    """Raise Misconfigured when the server is unfit for money."""
    await require_sessions(settings)
    problems = await check_safety(settings)
    if problems:
        what = "this PostgreSQL server is not safe for money"
        raise Misconfigured(
            what, why="; ".join(problems), todo="Correct its settings, then restart."
        )


async def require_sessions(settings: DatabaseSettings) -> None:
    """Raise Misconfigured if a connection is not to one session of the server for as long as it lasts.

    A host that cannot be reached, or is lost meanwhile, is passed over: whoever needs it says so.
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
    """Say whether statements of one connection reach more than one session of the server."""
    first = await _plain(url, seconds)
    try:
        if first.get_server_pid() == await _backend(first):
            return False  # nobody stands between
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
    # Prepared statements by name are of a session, too.
    found: Connection = await asyncpg.connect(url, timeout=seconds, statement_cache_size=0)
    return found


async def _changes(first: Connection, second: Connection) -> bool:
    """Say whether the first connection has another session while the second one is at work."""
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
