"""A new database for each test: a copy of one that was migrated once."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from settlement_engine.store.migrate import migrate
from tests.support.stores import patient_settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

TEST_URL = "SETTLEMENT_TEST_DATABASE_URL"
MAINTENANCE = "postgres"


class PostgresServer(Protocol):
    """A server on which tests may create databases."""

    def url(self, database: str) -> str:
        """Return the URL of one of its databases."""
        ...


class UsersServer:
    """The server that the environment names; the user starts and stops it."""

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)

    def url(self, database: str) -> str:
        return urlunsplit(self._parts._replace(path=f"/{database}"))


class Databases:
    """Creates and drops databases on one server."""

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        self._prefix = f"settlement_test_{uuid.uuid4().hex[:8]}"
        self._made = 0
        self._template: str | None = None

    def _new_name(self) -> str:
        self._made += 1
        return f"{self._prefix}_{self._made}"

    async def _administer(self, work: Callable[[asyncpg.Connection], Awaitable[object]]) -> None:
        connection = await asyncpg.connect(self.server.url(MAINTENANCE))
        try:
            await work(connection)
        finally:
            await connection.close()

    async def empty(self) -> str:
        """Create an empty database and return its URL."""
        name = self._new_name()
        await self._administer(lambda c: c.execute(f"CREATE DATABASE {name}"))
        return self.server.url(name)

    async def migrated(self) -> str:
        """Create a database with the current schema and return its URL."""
        if self._template is None:
            url = await self.empty()
            await migrate(patient_settings(url))
            self._template = urlsplit(url).path.removeprefix("/")
        name, template = self._new_name(), self._template
        await self._administer(
            lambda c: c.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        )
        return self.server.url(name)

    async def drop(self, url: str) -> None:
        """Drop a database, even if it has connections."""
        name = urlsplit(url).path.removeprefix("/")
        assert name.startswith(self._prefix), "only databases created here are dropped"
        await self._administer(lambda c: c.execute(f"DROP DATABASE {name} WITH (FORCE)"))

    async def drop_template(self) -> None:
        if self._template is not None:
            await self.drop(self.server.url(self._template))
            self._template = None
