"""Real PostgreSQL for a world with virtual time: calls are carried out while the world is stopped.

The connections live in an event loop of their own in a second thread; the world's loop waits for each
answer while its virtual time does not move. The server's clock is the world's (``sql/schedules``), so
that the engine's statements run unchanged. A wait for a row lock is cancelled at once: its holder cannot
release it while the world is stopped. So the same seed gives the same history.

It must never be used on a database that holds real money.
"""

from __future__ import annotations

import asyncio
import threading
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Final, TypeVar

from settlement_engine.domain.identifiers import key_hash
from settlement_engine.store.audit import PostgresAuditor
from settlement_engine.store.database import WRITERS_PLAN, DatabaseSettings, connect
from settlement_engine.store.failures import translated
from settlement_engine.store.queries import query, statements
from settlement_engine.store.rows import to_moved, to_settlement

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Mapping
    from uuid import UUID

    from settlement_engine.domain.settlement import Moved, Settlement
    from settlement_engine.ports import Clock
    from settlement_engine.store.database import Connection

T = TypeVar("T")

LOCK_TIMEOUT_SECONDS: Final = 0.002
EXTERNAL_TIMEOUT_SECONDS: Final = 300.0
"""How long a session may be idle: as long as the world needs for everything else."""

MOVES_MAX: Final = 10_000
_OF_TIME: Final = frozenset({"database_time"})
"""Statements that only read need no clock, except these."""

_SESSION: Final = {
    **WRITERS_PLAN,
    "search_path": "virtual, pg_catalog, public",
    "virtual.now": "2026-01-01T00:00:00+00:00",
    "synchronous_commit": "off",  # no data here has to survive the server
}


@cache
def calls() -> Mapping[str, str]:
    """Return the SQL statements of the schedules by name; the engine uses none of them."""
    return statements(_file("statements.sql"))


def _keys(group: object) -> list[UUID]:
    """Return the key hashes of the calls that open and fund the schedule's accounts."""
    opened = [key_hash("schedule", f"{group}/{number}", "open_account") for number in range(1, 5)]
    return [*opened, key_hash("schedule", f"{group}/5", "fund_account")]


def _file(name: str) -> str:
    return (resources.files(__package__) / "sql" / name).read_text(encoding="utf-8")


class OtherSessions:
    """The thread in which the connections live.

    Its loop is asyncio's own: uvloop ends the process with a segmentation fault when a failed schedule's
    traceback, collected in another thread, holds the last reference to one of its objects.
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the thread, and wait for its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def close(self) -> None:
        """End the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class GroundConnection:
    """One connection, as its user sees it: every call is over when it returns."""

    def __init__(self, room: OtherSessions, connection: Connection) -> None:
        self._room = room
        self._connection = connection
        self.is_begun = False
        self.is_dropped = False
        self._now = ""

    def begin(self, now: str, sql: str, arguments: tuple[object, ...]) -> list[Any]:
        """Begin a transaction with a statement; its locks are held. Raises Contention."""
        assert not self.is_begun, "one transaction at a time"
        self.is_begun = True
        self._now = now
        return self._room.run(self._begin(now, sql, arguments))

    def go_on(self, now: str, sql: str, arguments: tuple[object, ...]) -> list[Any]:
        """Run another statement of the transaction, at its own time. Raises Contention."""
        assert self.is_begun, "a transaction is open"
        before, self._now = self._now, now
        return self._room.run(self._fetch("" if now == before else now, sql, arguments))

    async def _begin(self, now: str, sql: str, arguments: tuple[object, ...]) -> list[Any]:
        with translated():
            await self._connection.execute(f"BEGIN; SET LOCAL virtual.now TO '{now}'")
            return await self._connection.fetch(sql, *arguments)

    def commit(self) -> None:
        """Commit the transaction."""
        assert self.is_begun, "a transaction is open"
        self.is_begun = False
        self._room.run(self._execute("COMMIT"))

    def roll_back(self) -> None:
        """Roll the transaction back, if there is one."""
        if self.is_begun:
            self.is_begun = False
            self._room.run(self._execute("ROLLBACK"))

    def fetch(self, now: str, sql: str, *arguments: object) -> list[Any]:
        """Run one statement on its own; ``now`` may be empty if the statement reads no time."""
        return self._room.run(self._fetch(now, sql, arguments))

    async def _fetch(self, now: str, sql: str, arguments: tuple[object, ...]) -> list[Any]:
        with translated():
            if now:
                await self._connection.execute(f"SET virtual.now TO '{now}'")
            return await self._connection.fetch(sql, *arguments)

    async def _execute(self, sql: str) -> None:
        with translated():
            await self._connection.execute(sql)


class PostgresGround:
    """One database, used by one schedule after the other."""

    def __init__(self, url: str) -> None:
        self.settings = DatabaseSettings(
            url=url,
            lock_timeout_seconds=LOCK_TIMEOUT_SECONDS,
            statement_timeout_seconds=EXTERNAL_TIMEOUT_SECONDS,
            idle_in_transaction_timeout_seconds=EXTERNAL_TIMEOUT_SECONDS,
            transaction_timeout_seconds=EXTERNAL_TIMEOUT_SECONDS,
        )
        self._room = OtherSessions()
        self._free: list[GroundConnection] = []
        self._connections: list[Connection] = []
        self._clock: Clock | None = None

    def prepare(self) -> None:
        """Install the clock of schedules in a migrated database."""
        self._room.run(self._prepare(_file("schema.sql")))

    def change(self, sql: str) -> None:
        """Change the database's schema or functions: for mutants."""
        self._room.run(self._prepare(sql))

    async def _prepare(self, sql: str) -> None:
        connection = await connect(self.settings)
        try:
            await connection.execute(sql)
        finally:
            await connection.close()

    def close(self) -> None:
        """Close everything."""
        for connection in self._connections:
            self._room.run(connection.close())
        self._room.close()

    # --- a schedule ------------------------------------------------------------------------------

    def begin(self, clock: Clock, accounts: tuple[object, ...]) -> None:
        """Begin a schedule: no engine is alive, no settlement is open, and the accounts are open.

        ``accounts`` are the arguments of ``open_accounts`` without the last one: the two banks, the rail,
        the currency, the funds in minor units, and the group of the transfer.
        """
        self._clock = clock
        wire = self.take()
        for name in ("mark_engines_gone", "set_aside"):
            wire.fetch(self.now(), calls()[name])
        wire.fetch(self.now(), calls()["open_accounts"], *accounts, _keys(accounts[-1]))
        self.give_back(wire)

    def begin_statements(self) -> None:
        """Read what earlier schedules have posted, so that a reconciliation finds only this one's."""
        wire = self.take()
        wire.fetch(self.now(), calls()["set_statements_aside"])
        [at] = wire.fetch(self.now(), query("reconciliation_cursor"))
        part = (at["position"], at["head"])
        rows = wire.fetch(self.now(), query("take_in_postings"), *part, [], [], "UTC")
        wire.fetch(self.now(), query("move_reconciliation_cursor"), *part)
        names = ("account_id", "booked_on", "minor", "postings")
        wire.fetch(
            self.now(), query("add_our_days"), *([row[name] for row in rows] for name in names)
        )
        self.give_back(wire)

    def now(self) -> str:
        """Return the virtual time, as text for the server."""
        assert self._clock is not None, "a schedule has begun"
        return self._clock.now().isoformat()

    def take(self) -> GroundConnection:
        """Take a free connection."""
        if self._free:
            return self._free.pop()
        connection = self._room.run(connect(self.settings, _SESSION))
        self._connections.append(connection)
        return GroundConnection(self._room, connection)

    def give_back(self, wire: GroundConnection) -> None:
        """Give a connection back; an open transaction is rolled back."""
        wire.roll_back()
        self._free.append(wire)

    def end_session(self, wire: GroundConnection) -> None:
        """End a session: its locks are released, and its connection is free."""
        wire.roll_back()
        wire.fetch("", calls()["end_session"])
        self._free.append(wire)

    # --- reading ---------------------------------------------------------------------------------

    def look(self, name: str, *arguments: object) -> list[Any]:
        """Read with a statement of the engine."""
        wire = self.take()
        try:
            now = self.now() if name in _OF_TIME else ""
            return wire.fetch(now, query(name), *arguments)
        finally:
            self.give_back(wire)

    def ask(self, name: str, *arguments: object) -> list[Any]:
        """Read with a statement of the schedules."""
        wire = self.take()
        try:
            return wire.fetch("", calls()[name], *arguments)
        finally:
            self.give_back(wire)

    def histories(self, ids: Iterable[UUID]) -> dict[UUID, Settlement]:
        """Return settlements as they are committed."""
        return {row["id"]: to_settlement(row) for row in self.look("load", list(ids))}

    def head(self) -> int:
        """Return the last position of the stream."""
        return int(self.look("stream_head")[0]["position"])

    def moves(self, after: int) -> list[Moved]:
        """Return all moves after a position."""
        rows = self.look("read_stream", after, MOVES_MAX)
        return [to_moved(row) for row in rows]

    def differences(self) -> list[str]:
        """Prove the books of all schedules so far; return the differences."""
        proof = self._room.run(PostgresAuditor(self.settings).prove())
        return [f"{each.check}: {each.subject}" for each in proof.differences]
