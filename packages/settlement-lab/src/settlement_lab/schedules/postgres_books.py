"""The store of one engine in a schedule: the real store, with scheduling points at each statement.

There is a point before a statement, after it inside its open transaction, before the commit and after the
commit. At each of them the seed may let another engine run, freeze or kill this one (its connection is
dropped, and what was not committed is rolled back), or lose the answer. While one engine is paused inside
its transaction, the others meet its row locks.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from typing_extensions import override

from settlement_engine.errors import Contention, Unavailable
from settlement_engine.store.accounts import PostgresAccounts
from settlement_engine.store.announcement_cache import AnnouncementCache
from settlement_engine.store.inbound import PostgresInbound
from settlement_engine.store.queries import queries, query
from settlement_engine.store.settlements import APPLYING_MAX, PostgresSettlements
from settlement_engine.store.stream import PostgresRegistry, PostgresStream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from settlement_engine.ports import Ids
    from settlement_lab.schedules.postgres_ground import GroundConnection, PostgresGround
    from settlement_lab.worlds.faults import Faults

STEP_SECONDS: Final = (0.0, 0.0, 0.01, 0.1)
SLOW_SECONDS: Final = (0.5, 3.0, 15.0)
"""The slowest call takes longer than a lease lasts: it commits after the engine has lost its lease."""

LOST_SECONDS: Final = (0.1, 0.5)
_CONNECTIONS: Final = {"_admitting": 1, "_applying": APPLYING_MAX, "_claiming": 1}


class SchedulePoints:
    """The scheduling points of one engine: its calls pass here, and faults may occur."""

    def __init__(self, ground: PostgresGround, faults: Faults) -> None:
        self.ground = ground
        self._faults = faults
        self._open: list[GroundConnection] = []
        self.points = 0
        self.is_closed = False
        self.dies: Callable[[], None] = lambda: None
        self.wrote: Callable[[str, list[Any]], None] = lambda _name, _rows: None

    def drop(self) -> None:
        """Drop the connections of this engine, as the server sees its crash."""
        for wire in self._open:
            wire.is_dropped = True
            wire.roll_back()

    async def point(self) -> None:
        """Let other engines run; perhaps die here."""
        self.points += 1
        faults = self._faults
        if faults.happens("crash_in_a_call", 0.05):
            self.dies()
        seconds = faults.seconds(STEP_SECONDS)
        if faults.happens("database_slow", 0.15):
            seconds += faults.seconds(SLOW_SECONDS)
        await asyncio.sleep(seconds)
        if self.is_closed:
            raise Unavailable("simulated: the schedule is over")

    async def read(self, name: str, arguments: tuple[object, ...]) -> list[Any]:
        """Run a statement that takes no locks."""
        await self.point()
        if self._faults.happens("commit_never_came", 0.1):
            await self._fail("simulated: lost on the way")
        return self.ground.look(name, *arguments)

    async def write(self, name: str, arguments: tuple[object, ...]) -> list[Any]:
        """Run a statement in a transaction, with a scheduling point at each place where it can fail."""
        async with self.transaction() as transaction:
            return await transaction.fetch(query(name), *arguments)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[_Transaction]:
        """Run the statements of the block in one transaction; an error rolls it back."""
        await self.point()
        if self._faults.happens("commit_never_came", 0.2):
            await self._fail("simulated: lost before the statement")
        wire = self.ground.take()
        self._open.append(wire)
        transaction = _Transaction(self, wire)
        try:
            yield transaction
            transaction.commit()
        except Contention:
            self._faults.note("contention")
            raise
        finally:
            self._open.remove(wire)
            wire.is_dropped = False
            self.ground.give_back(wire)
        for name, rows in transaction.done:
            self.wrote(name, rows)
        await self.point()
        if self._faults.happens("commit_answer_lost", 0.3):
            await self._fail("simulated: lost after the commit")

    async def _fail(self, why: str) -> None:
        await asyncio.sleep(self._faults.seconds(LOST_SECONDS))
        raise Unavailable(why)


class _Transaction:
    """A transaction with its statements; there are scheduling points after each of them."""

    def __init__(self, points: SchedulePoints, wire: GroundConnection) -> None:
        self._points = points
        self._wire = wire
        self.done: list[tuple[str, list[Any]]] = []

    async def fetch(self, sql: str, *arguments: object) -> list[Any]:
        """Run a statement and return its rows. Raises Contention, and Unavailable without a connection."""
        rows = self._run(sql, arguments)
        if rows:  # a statement that has found nothing holds no locks
            await self._pause()
        return rows

    async def execute(self, sql: str, *arguments: object) -> None:
        """Run a statement for its effect."""
        self._run(sql, arguments)
        await self._pause()

    def _run(self, sql: str, arguments: tuple[object, ...]) -> list[Any]:
        self._require_connection()
        run = self._wire.go_on if self._wire.is_begun else self._wire.begin
        rows = run(self._points.ground.now(), sql, arguments)
        self.done.append((_names().get(sql, "a statement of a mutant"), rows))
        return rows

    async def _pause(self) -> None:
        await self._points.point()
        await self._points.point()

    async def fetchrow(self, sql: str, *arguments: object) -> Any:
        """Run a statement and return its first row."""
        rows = await self.fetch(sql, *arguments)
        return rows[0] if rows else None

    async def fetchval(self, sql: str, *arguments: object) -> Any:
        """Run a statement and return its first value."""
        row = await self.fetchrow(sql, *arguments)
        return row[0] if row is not None else None

    def commit(self) -> None:
        """Commit what the statements have done."""
        self._require_connection()
        if self._wire.is_begun:
            self._wire.commit()

    def _require_connection(self) -> None:
        if self._wire.is_dropped:
            raise Unavailable("simulated: the connection was lost before the commit")


@cache
def _names() -> dict[str, str]:
    """Return the names of the engine's statements by their text."""
    return {text: name for name, text in queries().items()}


class _SessionStatements:
    """The connection inside a session that is one transaction."""

    def __init__(self, transaction: _Transaction) -> None:
        self.fetch = transaction.fetch
        self.fetchrow = transaction.fetchrow
        self.fetchval = transaction.fetchval
        self.execute = transaction.execute

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """Do nothing: the session is the transaction."""
        yield


class GatedConnection:
    """Replaces ``store.database.DatabaseConnections`` for writing: one statement is one transaction."""

    def __init__(self, points: SchedulePoints, count: int) -> None:
        self._points = points
        self._free = asyncio.Semaphore(count)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[_Transaction]:
        """Run the block in one transaction."""
        async with self._free, self._points.transaction() as transaction:
            yield transaction

    @asynccontextmanager
    async def session(self) -> AsyncIterator[_SessionStatements]:
        """Hold a connection for a transaction, which is begun at once."""
        async with self.transaction() as transaction:
            yield _SessionStatements(transaction)

    async def close(self) -> None:
        """Do nothing: between its transactions it holds no connection."""

    async def fetch(self, name: str, *arguments: object) -> list[Any]:
        """Run a named statement and return its rows."""
        async with self._free:
            if name in ("load", "owned", "open_inbound_reports"):
                return await self._points.read(name, arguments)
            return await self._points.write(name, arguments)

    async def fetchrow(self, name: str, *arguments: object) -> Any:
        """Run a named statement and return its first row."""
        rows = await self.fetch(name, *arguments)
        return rows[0] if rows else None


class GatedReaders:
    """Replaces ``store.database.Readers``."""

    def __init__(self, points: SchedulePoints) -> None:
        self._points = points

    async def fetch(self, name: str, *arguments: object) -> list[Any]:
        """Run a named statement and return its rows."""
        return await self._points.read(name, arguments)

    async def fetchrow(self, name: str, *arguments: object) -> Any:
        """Run a named statement and return its first row."""
        rows = await self.fetch(name, *arguments)
        return rows[0] if rows else None


class _Statements:
    """A connection inside a session: each statement is its own transaction."""

    def __init__(
        self, ground: PostgresGround, wire: GroundConnection, *, is_timeless: bool
    ) -> None:
        self._ground = ground
        self._wire = wire
        self._is_timeless = is_timeless

    async def fetch(self, sql: str, *arguments: object) -> list[Any]:
        """Run a statement and return its rows."""
        has_no_time = self._is_timeless or sql == query("hold_session")
        return self._wire.fetch("" if has_no_time else self._ground.now(), sql, *arguments)

    execute = fetch

    async def fetchrow(self, sql: str, *arguments: object) -> Any:
        """Run a statement and return its first row."""
        rows = await self.fetch(sql, *arguments)
        return rows[0] if rows else None

    async def fetchval(self, sql: str, *arguments: object) -> Any:
        """Run a statement and return its first value."""
        row = await self.fetchrow(sql, *arguments)
        return row[0] if row is not None else None

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """Do nothing: the accounts of a schedule are opened before it begins."""
        yield


class SessionConnection:
    """A connection that is kept: its session shows that an engine is running.

    ``is_timeless`` says that no statement on it reads the time or takes locks of the session.
    """

    def __init__(self, points: SchedulePoints, *, is_timeless: bool = False) -> None:
        self._points = points
        self._is_timeless = is_timeless
        self._wire: GroundConnection | None = None

    @asynccontextmanager
    async def session(self) -> AsyncIterator[_Statements]:
        """Hold the connection for a few statements."""
        await self._points.point()
        if self._wire is None:
            self._wire = self._points.ground.take()
        yield _Statements(self._points.ground, self._wire, is_timeless=self._is_timeless)

    async def fetch(self, name: str, *arguments: object) -> list[Any]:
        """Run a named statement and return its rows."""
        async with self.session() as connection:
            return await connection.fetch(query(name), *arguments)

    async def fetchrow(self, name: str, *arguments: object) -> Any:
        """Run a named statement and return its first row."""
        rows = await self.fetch(name, *arguments)
        return rows[0] if rows else None

    @property
    def is_open(self) -> bool:
        """Say whether there is a session."""
        return self._wire is not None

    def end(self) -> None:
        """End the session, as a crash of the engine would."""
        if self._wire is not None:
            wire, self._wire = self._wire, None
            give_up = (
                self._points.ground.give_back
                if self._is_timeless
                else self._points.ground.end_session
            )
            give_up(wire)

    async def close(self) -> None:
        """End the session."""
        self.end()


class _Registry(PostgresRegistry):
    """Joins without checking the server's durability settings: here no data has to survive."""

    def __init__(self, ground: PostgresGround, line: SessionConnection) -> None:
        super().__init__(ground.settings)
        self._lease: Any = line

    @override
    async def join(self, lease_seconds: float) -> int:
        """Register the engine; the session lock is taken first."""
        async with self._lease.session() as connection:
            engine_id = int(await connection.fetchval(query("next_engine")))
            await connection.fetchval(query("hold_session"), engine_id)
            arguments = (engine_id, "a schedule", 1, lease_seconds)
            await connection.execute(query("join_engine"), *arguments)
        return engine_id


def replaced(store: object, name: str, connection: object) -> None:
    """Replace a connection of a store; it is known by its name."""
    assert hasattr(store, name), "the store has the connections that are replaced"
    setattr(store, name, connection)


class PostgresBooks:
    """The ports of the store for one engine."""

    def __init__(self, ground: PostgresGround, ids: Ids, faults: Faults) -> None:
        self.points = SchedulePoints(ground, faults)
        readers: Any = GatedReaders(self.points)
        cache = AnnouncementCache()
        self.settlements = PostgresSettlements(ground.settings, readers, cache)
        for name, count in _CONNECTIONS.items():
            replaced(self.settlements, name, GatedConnection(self.points, count))
        self.session = SessionConnection(self.points)
        self.accounts = PostgresAccounts(ground.settings, readers, ids)
        self.accounts._writing = self._for_itself = SessionConnection(self.points, is_timeless=True)  # type: ignore[assignment]  # noqa: SLF001 - a schedule has no connections of its own
        self.stream = PostgresStream(ground.settings, readers, cache)
        self.registry = _Registry(ground, self.session)
        self.inbound = PostgresInbound(ground.settings, readers)
        for name in ("_writing", "_working"):
            replaced(self.inbound, name, GatedConnection(self.points, 1))

    def end_session(self) -> None:
        """End the session of this engine, and nothing else of it."""
        self.session.end()

    def close(self) -> None:
        """Drop all connections, as the server sees the engine's crash."""
        self.points.drop()
        self.session.end()
        self._for_itself.end()
