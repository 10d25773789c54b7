"""Connections to PostgreSQL, and the meaning of their failures.

Promises: while a connection is held, nothing outside the database is awaited; a COMMIT is never cancelled by
us; a commit whose wait for the synchronous standby was ended by the server counts as not committed. Every
session has time limits, so that a frozen process cannot hold a row lock.

``Unavailable`` means that the outcome is unknown. ``Contention`` means that nothing was written.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import asyncpg
from asyncpg.connect_utils import SessionAttribute
from typing_extensions import override

from settlement_engine.errors import Unavailable
from settlement_engine.ports import Server
from settlement_engine.store.currencies import learn_currencies
from settlement_engine.store.failures import DRIVER_ERRORS, is_of_the_server, translated
from settlement_engine.store.hosts import addresses
from settlement_engine.store.queries import queries, query

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from settlement_engine.store.watch import ServerWatch

    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]

WIRE_OPTIONS: Final = {
    "TCP_KEEPIDLE": 5,  # seconds without traffic before the first probe
    "TCP_KEEPINTVL": 2,  # seconds between probes
    "TCP_KEEPCNT": 3,  # probes without an answer
    "TCP_USER_TIMEOUT": 10_000,  # milliseconds until unacknowledged data ends the connection
}
NOT_REPLICATED: Final = frozenset({"01000", "57P01"})
"""The server's warnings when it stops waiting for the synchronous standby because the wait was cancelled or the
session ended. They are recognised by code, because the text depends on the server's language."""

CURRENCY: Final = "currency"
"""The column of rows that may be in a currency that is unknown here."""

TRANSACTION_LIMIT_RELEASE: Final = 17
"""The major version that introduced transaction_timeout."""

MEANINGS: Final = {
    # The meaning of our statements must not depend on settings of a role, a database or the server: a
    # setting of the session overrides all of these, also after a reload.
    "array_nulls": "on",
    "default_transaction_isolation": "read committed",
    "standard_conforming_strings": "on",
    "transform_null_equals": "off",
}

WRITERS_PLAN: Final = {
    # The hot path reads few rows by key, in tables that start empty: a plan made while a table was empty
    # must not scan it when it holds millions of rows.
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "max_parallel_workers_per_gather": "0",  # starting workers takes longer than reading by key
    "plan_cache_mode": "force_generic_plan",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSettings:
    """The server's address and the time limits of a session, in seconds."""

    url: str
    connect_timeout_seconds: float = 5.0
    statement_timeout_seconds: float = 5.0
    lock_timeout_seconds: float = 2.0
    idle_in_transaction_timeout_seconds: float = 1.0
    transaction_timeout_seconds: float = 5.0
    readers_max: int = 8
    watch: ServerWatch | None = None  # refuses servers other than the accepted one
    may_be_standby: bool = False  # for a single host; among several the primary is chosen


def session_limits(
    settings: DatabaseSettings, plan: dict[str, str], release: int
) -> dict[str, str]:
    """Return the settings of a session: its limits, overridden by those of its kind of work.

    PostgreSQL 16 does not have transaction_timeout yet.
    """

    def milliseconds(seconds: float) -> str:
        return str(int(seconds * 1000))

    limits = {
        "application_name": "settlement-engine",
        "timezone": "UTC",
        "jit": "off",
        **MEANINGS,
        "statement_timeout": milliseconds(settings.statement_timeout_seconds),
        "lock_timeout": milliseconds(settings.lock_timeout_seconds),
        "idle_in_transaction_session_timeout": milliseconds(
            settings.idle_in_transaction_timeout_seconds
        ),
        "transaction_timeout": milliseconds(settings.transaction_timeout_seconds),
        **plan,
    }
    if release < TRANSACTION_LIMIT_RELEASE:
        del limits["transaction_timeout"]
    return limits


class DatabaseConnection:
    """One connection for one kind of work, opened on first use and again after a failure.

    Calls are serialised. A call that fails because the connection was lost closes it, so that the next call
    opens a new one.

    With ``needs_safety`` (set for everything that writes, and where a caller asks for it) no statement runs
    while the server's settings could lose acknowledged commits (``ServerWatch.unsafe``).

    A primary that no longer waits for its synchronous standby, because it is shutting down or was restarted
    after a crash, may still lose rows that can be read there. With ``is_writing`` each connection therefore
    begins with a commit that waits for the standby, and so for all earlier commits.
    """

    def __init__(
        self,
        settings: DatabaseSettings,
        plan: dict[str, str] | None = None,
        *,
        is_writing: bool = False,
        needs_safety: bool = False,
    ) -> None:
        self._settings = settings
        self._plan = plan or {}
        self._is_writing = is_writing
        self._watch = settings.watch if is_writing or needs_safety else None
        self._connection: Connection | None = None
        self._lock = asyncio.Lock()
        self._is_unreplicated = False

    async def fetchrow(self, name: str, *arguments: object) -> asyncpg.Record | None:
        """Run a named statement and return its first row."""
        async with self.session() as connection:
            row = await connection.fetchrow(queries()[name], *arguments)
            if row is not None and CURRENCY in row:
                await learn_currencies(connection, (row,))
            return row

    async def fetch(self, name: str, *arguments: object) -> list[asyncpg.Record]:
        """Run a named statement and return its rows."""
        async with self.session() as connection:
            rows = await connection.fetch(queries()[name], *arguments)
            if rows and CURRENCY in rows[0]:
                await learn_currencies(connection, rows)
            return rows

    async def fetch_as_planned(self, name: str, *arguments: object) -> list[asyncpg.Record]:
        """Run a named statement with a plan made for these arguments, and return its rows.

        A generic plan does not know which filters are set, and may scan the whole table.
        """
        async with self.session() as connection:
            statement = await connection.prepare(query(name))
            return await statement.fetch(*arguments)

    def session(self) -> _Session:
        """Return a context that holds the connection for a few statements; raises Unavailable or Contention."""
        return _Session(self)

    async def take(self) -> Connection:
        """Wait for the connection, and open it if necessary; ``give_back`` must follow."""
        await self._lock.acquire()
        try:
            connection = self._connection
            if connection is None or connection.is_closed():
                with translated():
                    connection = await self._open()
            if self._watch is not None and self._watch.unsafe:
                self._watch.require_safe()
        except BaseException:
            self._lock.release()
            raise
        return connection

    def give_back(self, error: BaseException | None) -> None:
        """Release the connection for the next caller, if it is still usable after ``error``."""
        try:
            if error is None:
                self._require_replicated()
                if self._watch is not None and self._watch.failed_writers:
                    self._watch.wrote(id(self))
                return
            is_elsewhere = isinstance(error, asyncpg.ReadOnlySQLTransactionError)
            is_ours = isinstance(error, asyncpg.PostgresError) and not is_elsewhere
            if not is_ours or self._connection is None or self._connection.is_closed():
                self._drop()
        finally:
            self._lock.release()

    def failed(self, error: BaseException) -> None:
        """Record a failed write for the readiness probe, unless the fault lies in the statement itself."""
        if self._is_writing and self._watch is not None and is_of_the_server(error):
            self._watch.did_not_write(id(self))

    def _require_replicated(self) -> None:
        """Raise Unavailable if the server has stopped waiting for the standby."""
        if self._is_unreplicated:
            self._drop()
            what = "the commit did not reach the synchronous standby"
            raise Unavailable(what, why="the server stopped waiting for it")

    async def _open(self) -> Connection:
        if self._connection is None or self._connection.is_closed():
            self._is_unreplicated = False
            self._connection = await connect(self._settings, self._plan)
            self._connection.add_log_listener(self._heard)
            if self._is_writing:
                await self._confirm(self._connection)
        return self._connection

    async def _confirm(self, connection: Connection) -> None:
        """Wait until the standby has everything that is visible here."""
        try:
            await connection.fetchval(query("confirm_replication"))
        except BaseException:
            self._drop()
            raise
        self._require_replicated()

    def _heard(self, _connection: object, message: Any) -> None:  # noqa: ANN401 - the driver's own
        if message.severity_en == "WARNING" and message.sqlstate in NOT_REPLICATED:
            self._is_unreplicated = True

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def close(self) -> None:
        """Close the connection; it is opened again on the next use."""
        connection, self._connection = self._connection, None
        if connection is not None and not connection.is_closed():
            connection.terminate()


class _Session:
    """A connection held for the length of a block. A class, not a generator: it wraps every statement."""

    __slots__ = ("_line",)

    def __init__(self, line: DatabaseConnection) -> None:
        self._line = line

    async def __aenter__(self) -> Connection:
        """Wait for the connection."""
        return await self._line.take()

    async def __aexit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        """Release it, and translate the driver's error."""
        self._line.give_back(error)
        if error is not None:
            self._line.failed(error)
            with translated():
                raise error


async def connect(settings: DatabaseSettings, plan: dict[str, str] | None = None) -> Connection:
    """Open a connection with a session's limits, to the first host that accepts our writes."""
    failures: list[Exception] = []
    for url in addresses(settings.url):
        try:
            return await _connect(settings, url, plan or {})
        except (*DRIVER_ERRORS, Unavailable) as error:
            failures.append(error)
    refusals = [error for error in failures if isinstance(error, Unavailable)]
    if refusals and settings.watch is not None:
        settings.watch.tell_refusal()
    raise (refusals or failures)[-1]


async def _connect(settings: DatabaseSettings, url: str, plan: dict[str, str]) -> Connection:
    is_any_good = settings.may_be_standby and url == settings.url
    connection: Connection = await asyncpg.connect(
        url,
        timeout=settings.connect_timeout_seconds,
        target_session_attrs=SessionAttribute.any if is_any_good else SessionAttribute.read_write,
    )
    _watch_the_wire(connection)
    limits = session_limits(settings, plan, connection.get_server_version().major)
    try:
        await connection.fetch(query("set_limits"), list(limits), list(limits.values()))
        if settings.watch is not None:
            seen_before = settings.watch.flushed
            row = await connection.fetchrow(query("server"))
            assert row is not None
            settings.watch.require(Server(**dict(row)), seen_before)
    except BaseException:
        connection.terminate()
        raise
    return connection


def _watch_the_wire(connection: Connection) -> None:
    """Let the kernel end a connection whose peer has vanished without closing it.

    A timeout of the driver would cancel the statement instead, and with it perhaps a COMMIT.
    """
    transport: asyncio.Transport = connection._transport  # type: ignore[attr-defined]  # noqa: SLF001 - the driver offers no other way
    wire = transport.get_extra_info("socket")
    if wire is None or wire.family not in (socket.AF_INET, socket.AF_INET6):
        return
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in WIRE_OPTIONS.items():
        if hasattr(socket, option):
            wire.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


class DatabaseConnections:
    """A small pool for one kind of work: a caller takes a free connection or waits, in order.

    The most recently used connection is used next, so that under low load one is enough.
    """

    def __init__(
        self,
        settings: DatabaseSettings,
        count: int,
        plan: dict[str, str] | None = None,
        *,
        is_writing: bool = False,
    ) -> None:
        self._connections = [
            DatabaseConnection(settings, plan, is_writing=is_writing) for _ in range(count)
        ]
        self._free: asyncio.LifoQueue[DatabaseConnection] = asyncio.LifoQueue()
        for line in self._connections:
            self._free.put_nowait(line)

    @asynccontextmanager
    async def line(self) -> AsyncIterator[DatabaseConnection]:
        """Borrow a connection for the block."""
        line = await self._free.get()
        try:
            yield line
        finally:
            self._free.put_nowait(line)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Run the block in one transaction, on a connection that is borrowed for it."""
        async with self.line() as line, line.session() as connection, connection.transaction():
            yield connection

    async def fetch(self, name: str, *arguments: object) -> list[asyncpg.Record]:
        """Run a named statement and return its rows."""
        async with self.line() as line:
            return await line.fetch(name, *arguments)

    async def fetchrow(self, name: str, *arguments: object) -> asyncpg.Record | None:
        """Run a named statement and return its first row."""
        rows = await self.fetch(name, *arguments)
        return rows[0] if rows else None

    async def close(self) -> None:
        """Close every connection."""
        for line in self._connections:
            await line.close()


class Readers(DatabaseConnections):
    """A small pool of connections for reading. Decisions about money must never rely on it."""

    def __init__(self, settings: DatabaseSettings) -> None:
        super().__init__(settings, settings.readers_max)

    @override
    async def fetch(self, name: str, *arguments: object) -> list[asyncpg.Record]:
        """Run a named statement and return its rows; after a lost connection it is retried once."""
        async with self.line() as line:
            try:
                return await line.fetch(name, *arguments)
            except Unavailable:
                return await line.fetch(name, *arguments)

    async def fetch_as_planned(self, name: str, *arguments: object) -> list[asyncpg.Record]:
        """Run a named statement with a plan for these arguments; retried once as ``fetch`` is."""
        async with self.line() as line:
            try:
                return await line.fetch_as_planned(name, *arguments)
            except Unavailable:
                return await line.fetch_as_planned(name, *arguments)
