"""Migrations: numbered folders of SQL, applied once each, in order, under a lock.

A folder ``NNNN_name`` holds ``*.sql`` files, all run in one transaction: first those that ``ORDER`` names, in its
order, then the others by name. The hash of an applied migration is stored: a folder that was edited afterwards
is refused.

A line ``-- compatible-from: N`` in a migration promises that engines which know no migration after N work with
it; N is the migration's own number, the default, or the one before. So an engine runs on its own schema and on
the next one, and refuses later ones (docs/operating/upgrades.md).
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import time
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

import asyncpg

from settlement_engine.domain.money import currencies
from settlement_engine.errors import CorruptRecord, Misconfigured
from settlement_engine.store.database import connect
from settlement_engine.store.failures import translated
from settlement_engine.store.queries import query

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.resources.abc import Traversable

    from settlement_engine.store.database import Connection, DatabaseSettings

ORDER: Final = (
    "up.sql",
    "page.sql",
    "exceptions.sql",
    "functions.sql",
    "openings.sql",
    "views.sql",
)
LOCK_KEY: Final = 8088
LOCK_TRIES_MAX: Final = 30
LOCK_WAIT_MILLISECONDS: Final = 1_000
"""How long a migration waits for a table's lock; statements behind it wait as long. It is shorter than the
engines' time limit, so that they only retry; then the migration pauses and tries again."""
LOCK_PAUSE_SECONDS: Final = 0.5
_COMPATIBLE: Final = re.compile(r"^-- compatible-from: (\d+)$", re.MULTILINE)
SESSION: Final = {"lock_timeout": "10000", "statement_timeout": "0", "transaction_timeout": "0"}

WINDOWS: Final = (
    # The five rows of the specification, which names no time zones: each has the zone of its market.
    ("USD", "America/New_York", time(9), time(17)),
    ("EUR", "Europe/Berlin", time(8), time(16)),
    ("GBP", "Europe/London", time(8), time(16)),
    ("AED", "Asia/Dubai", time(8), time(16)),
    ("INR", "Asia/Kolkata", time(9), time(17)),
)


@dataclass(frozen=True, slots=True)
class Migration:
    """One migration of the schema."""

    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """The SHA-256 of its text."""
        return hashlib.sha256(self.sql.encode()).hexdigest()

    @property
    def compatible_from(self) -> int:
        """The last migration that an engine must know to work with this one applied."""
        said = _COMPATIBLE.search(self.sql)
        number = int(said[1]) if said else self.number
        assert number in (self.number, self.number - 1), (
            "engines are tested with one later migration only"
        )
        return number


def migrations() -> list[Migration]:
    """Return every migration of this version, in order."""
    folder = resources.files(__package__) / "sql" / "migrations"
    found = []
    for entry in sorted(folder.iterdir(), key=lambda item: item.name):
        number, _, name = entry.name.partition("_")
        if not number.isdigit():
            continue
        texts = [part.read_text("utf-8") for part in sorted(entry.iterdir(), key=_turn)]
        found.append(Migration(int(number), name, "\n".join(texts)))
    return found


def _turn(part: Traversable) -> tuple[int, str]:
    """Return the sort key of a file within its migration: every file runs, whatever its name."""
    return (ORDER.index(part.name) if part.name in ORDER else len(ORDER), part.name)


async def migrate(
    settings: DatabaseSettings,
    *,
    is_dry_run: bool = False,
    warn: Callable[[str], None] | None = None,
) -> list[str]:
    """Migrate the database to this version; return the names of what was (or would be) applied.

    ``warn`` receives what a migration has found that a person should know.
    """

    def on_message(_connection: object, message: Any) -> None:  # noqa: ANN401 - the driver's own
        if warn is not None and message.severity_en == "WARNING":
            warn(message.message)

    with translated():
        connection = await connect(settings, SESSION)
        try:
            connection.add_log_listener(on_message)
            await connection.execute(query("lock_migrations"), LOCK_KEY)
            if not is_dry_run:
                await connection.execute(query("create_migrations"))
                if not await connection.fetchval(query("is_widened")):
                    await connection.execute(query("widen_migrations"))
            missing = await _missing(connection)
            if not is_dry_run:
                for migration in missing:
                    await _apply(connection, migration)
                await _load_reference_data(connection)
        finally:
            connection.remove_log_listener(on_message)
            await connection.close()
    return [f"{migration.number:04d}_{migration.name}" for migration in missing]


async def require_head(settings: DatabaseSettings) -> None:
    """Raise Misconfigured unless the database is at this version, or at the next one if that is compatible."""
    missing = await migrate(settings, is_dry_run=True)
    if missing:
        what = "the database is not at this version"
        raise Misconfigured(
            what, why=f"missing: {', '.join(missing)}", todo="Run: settlement-engine migrate"
        )


async def _missing(connection: Connection) -> list[Migration]:
    is_new = not await connection.fetchval(query("has_migrations"))
    rows = [] if is_new else await connection.fetch(query("migrations"))
    applied = {row["number"]: row["checksum"] for row in rows}
    known = migrations()
    for migration in known:
        checksum = applied.get(migration.number)
        if checksum is not None and checksum != migration.checksum:
            what = f"migration {migration.number:04d}_{migration.name} was edited after it ran"
            raise CorruptRecord(what, todo="Restore the file; write a new migration instead.")
    missing = [migration for migration in known if migration.number not in applied]
    _require_compatible(rows, known[-1].number, missing)
    return missing


def _require_compatible(
    rows: Sequence[asyncpg.Record], newest: int, missing: Sequence[Migration]
) -> None:
    """Refuse a database with later migrations that are not compatible with an engine of this version."""
    ahead = [row for row in rows if row["number"] > newest]
    refusing = ahead if missing else [row for row in ahead if row["compatible_from"] > newest]
    if refusing:
        what = "the database is ahead of this version"
        names = ", ".join(f"{row['number']:04d}_{row['name']}" for row in refusing)
        todo = "Run the version that migrated it, or its predecessor."
        raise Misconfigured(what, why=f"made for newer engines: {names}", todo=todo)


async def _apply(connection: Connection, migration: Migration) -> None:
    for _ in range(LOCK_TRIES_MAX - 1):
        with suppress(asyncpg.LockNotAvailableError):
            await _apply_once(connection, migration)
            return
        await asyncio.sleep(LOCK_PAUSE_SECONDS)
    await _apply_once(connection, migration)


async def _apply_once(connection: Connection, migration: Migration) -> None:
    async with connection.transaction():
        await connection.execute(query("limit_lock_wait"), str(LOCK_WAIT_MILLISECONDS))
        await connection.execute(migration.sql)
        await connection.execute(
            query("remember_migration"),
            migration.number,
            migration.name,
            migration.checksum,
            migration.compatible_from,
        )


async def _load_reference_data(connection: Connection) -> None:
    table = currencies()
    async with connection.transaction():
        await connection.execute(
            query("load_currencies"), list(table), [table[code] for code in table]
        )
        await connection.execute(query("load_windows"), *map(list, zip(*WINDOWS, strict=True)))
