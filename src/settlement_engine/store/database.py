"""Connections to PostgreSQL, and what their failures mean.

Promises: nothing outside is awaited while a connection is held; a COMMIT is never cancelled by us; a
commit that the server itself cut short (a synchronous standby that did not answer) counts as not
committed. Every session carries time limits, so that a frozen process cannot hold a row.

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
from settlement_engine.store.queries import query

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from settlement_engine.store.watch import ServerWatch

    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]

WIRE_OPTIONS: Final = {
    "TCP_KEEPIDLE": 5,  # seconds of quiet before the first probe
    "TCP_KEEPINTVL": 2,  # seconds between probes
    "TCP_KEEPCNT": 3,  # probes without an answer
    "TCP_USER_TIMEOUT": 10_000,  # milliseconds for what was sent and is not acknowledged
}
NOT_REPLICATED: Final = frozenset({"01000", "57P01"})
"""What the server warns with when it stops waiting for the synchronous standby: because somebody has
cancelled the wait, or ended the session. The words are of the server's language, the codes are not."""

TRANSACTION_LIMIT_RELEASE: Final = 17
"""The release that introduced the setting."""

MEANINGS: Final = {
    # What our statements mean must not depend on what somebody has set for a role, a database or the
    # server: a setting of the session stands above all of these, also after a reload.
    "array_nulls": "on",
    "default_transaction_isolation": "read committed",
    "standard_conforming_strings": "on",
    "transform_null_equals": "off",
}

WRITERS_PLAN: Final = {
    # The hot path touches few rows by key in tables that grow from nothing: a plan that was made
    # while a table was empty must not scan it when it holds millions.
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "plan_cache_mode": "force_generic_plan",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSettings:
    """Where the server is and how patient a session is."""

    url: str
    connect_timeout_seconds: float = 5.0
    statement_timeout_seconds: float = 5.0
    lock_timeout_seconds: float = 2.0
    idle_in_transaction_timeout_seconds: float = 1.0
    transaction_timeout_seconds: float = 5.0
    readers_max: int = 8
    watch: ServerWatch | None = None  # refuses a server that was not accepted
    may_be_standby: bool = False  # of a single host; of several the primary is taken


def session_limits(
    settings: DatabaseSettings, plan: dict[str, str], release: int
) -> dict[str, str]:
    """Return the settings of a session: its limits, and over them what its kind of work needs.

    PostgreSQL 16 has no transaction time-out yet.
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


class Line:
    """One connection for one kind of work, opened on first use and again after a failure.

    Calls on a line are serialised. A call that fails for want of a connection closes the line, so the
    next call opens a new one.

    A line that ``needs_safety`` (every one that is writing, and whoever else says so) does nothing while the
    server's settings would let acknowledged commits be lost (``ServerWatch.unsafe``).

    What is found written may be lost all the same, with a primary that no longer waits for its synchronous
    standby: it was told to stop, or was killed and came back. A line that ``is_writing`` therefore begins
    each connection with a commit that waits, for itself and so for all before it.
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
            row = await connection.fetchrow(query(name), *arguments)
            await learn_currencies(connection, (row,))
            return row

    async def fetch(self, name: str, *arguments: object) -> list[asyncpg.Record]:
        """Run a named statement and return its rows."""
        async with self.session() as connection:
            rows = await connection.fetch(query(name), *arguments)
            await learn_currencies(connection, rows)
            return rows

    async def fetch_as_planned(self, name: str, *arguments: object) -> list[asyncpg.Record]:
        """Run a named statement by a plan that is made for these arguments, and return its rows.

        A plan for any arguments does not know which filters are set, and may read everything.
        """
        async with self.session() as connection:
            statement = await connection.prepare(query(name))
            return await statement.fetch(*arguments)

    def session(self) -> _Session:
        """Hold the connection for a few statements; raises Unavailable or Contention."""
        return _Session(self)

    async def take(self) -> Connection:
        """Wait for the connection, opened if need be; ``give_back`` must follow."""
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
        """Let the next one have the connection, if it may still be used after what went wrong."""
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
        """Note a write that the server did not take, for readiness; a broken step is no such write."""
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
        """Wait until the standby has everything that can be seen here."""
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
        """Close the line; it may be used again."""
        connection, self._connection = self._connection, None
        if connection is not None and not connection.is_closed():
            connection.terminate()


class _Session:
    """A line's connection for the length of a block. By hand: it stands around every statement."""

    __slots__ = ("_line",)

    def __init__(self, line: Line) -> None:
        self._line = line

    async def __aenter__(self) -> Connection:
        """Wait for the connection."""
        return await self._line.take()

    async def __aexit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        """Give it back, and say in our words what went wrong."""
        self._line.give_back(error)
        if error is not None:
            self._line.failed(error)
            with translated():
                raise error


async def connect(settings: DatabaseSettings, plan: dict[str, str] | None = None) -> Connection:
    """Open a connection with the limits of a session, to the first host that takes our writes."""
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
    """Let the kernel end a connection whose other side has vanished without a word.

    A time-out of the driver's would cancel the statement, and with it perhaps a COMMIT.
    """
    transport: asyncio.Transport = connection._transport  # type: ignore[attr-defined]  # noqa: SLF001 - the driver offers no other way
    wire = transport.get_extra_info("socket")
    if wire is None or wire.family not in (socket.AF_INET, socket.AF_INET6):
        return
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in WIRE_OPTIONS.items():
        if hasattr(socket, option):
            wire.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


class Lines:
    """A few connections for one kind of work: whoever comes takes a free one, or waits for the first.

    The one used last is used next, so that a quiet time needs but one.
    """

    def __init__(
        self,
        settings: DatabaseSettings,
        count: int,
        plan: dict[str, str] | None = None,
        *,
        is_writing: bool = False,
    ) -> None:
        self._lines = [Line(settings, plan, is_writing=is_writing) for _ in range(count)]
        self._free: asyncio.LifoQueue[Line] = asyncio.LifoQueue()
        for line in self._lines:
            self._free.put_nowait(line)

    @asynccontextmanager
    async def line(self) -> AsyncIterator[Line]:
        """Borrow a line."""
        line = await self._free.get()
        try:
            yield line
        finally:
            self._free.put_nowait(line)

    async def fetch(self, name: str, *arguments: object) -> list[asyncpg.Record]:
        """Run a named statement and return its rows."""
        async with self.line() as line:
            return await line.fetch(name, *arguments)

    async def fetchrow(self, name: str, *arguments: object) -> asyncpg.Record | None:
        """Run a named statement and return its first row."""
        rows = await self.fetch(name, *arguments)
        return rows[0] if rows else None

    async def close(self) -> None:
        """Close every line."""
        for line in self._lines:
            await line.close()


class Readers(Lines):
    """A small pool of connections for reading. Decisions about money are not made from what it says."""

    def __init__(self, settings: DatabaseSettings) -> None:
        super().__init__(settings, settings.readers_max)

    @override
    async def fetch(self, name: str, *arguments: object) -> list[asyncpg.Record]:
        """Run a named statement and return its rows; a connection that had died is tried anew once."""
        async with self.line() as line:
            try:
                return await line.fetch(name, *arguments)
            except Unavailable:
                return await line.fetch(name, *arguments)

    async def fetch_as_planned(self, name: str, *arguments: object) -> list[asyncpg.Record]:
        """Run a named statement by a plan for these arguments, as ``fetch`` runs it by any plan."""
        async with self.line() as line:
            try:
                return await line.fetch_as_planned(name, *arguments)
            except Unavailable:
                return await line.fetch_as_planned(name, *arguments)
