"""Real servers for the tests that need them, and a fresh database for each test.

There is one PostgreSQL and one NATS server per pytest process, started on first use; unit tests start neither.
``SETTLEMENT_TEST_DATABASE_URL`` names an existing PostgreSQL server instead, with a superuser's login. Only
databases created by the tests are dropped there.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from settlement_engine.embedded import EmbeddedNats
    from tests.support.databases import Databases, PostgresServer


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A PostgreSQL server with fsync on, as the engine requires."""
    from settlement_engine.embedded import EmbeddedPostgres
    from tests.support.databases import TEST_URL, UsersServer

    if url := os.environ.get(TEST_URL):
        yield UsersServer(url)
        return
    server = EmbeddedPostgres(tmp_path_factory.mktemp("server") / "postgres")
    server.start()
    yield server
    server.stop()
    shutil.rmtree(
        server.data_dir, ignore_errors=True
    )  # Thousands of files, which pytest would keep.


@pytest.fixture(scope="session")
def databases(postgres_server: PostgresServer) -> Iterator[Databases]:
    """Creates databases on the server."""
    from tests.support.databases import Databases

    made = Databases(postgres_server)
    yield made
    asyncio.run(made.drop_template())


@pytest.fixture
async def database_url(databases: Databases) -> AsyncIterator[str]:
    """The URL of a fresh database, migrated to this version."""
    url = await databases.migrated()
    yield url
    await databases.drop(url)


@pytest.fixture
async def empty_database_url(databases: Databases) -> AsyncIterator[str]:
    """The URL of a fresh, empty database."""
    url = await databases.empty()
    yield url
    await databases.drop(url)


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedNats]:
    """A NATS server with JetStream; it keeps what earlier tests have left."""
    from settlement_engine.embedded import EmbeddedNats

    server = EmbeddedNats(tmp_path_factory.mktemp("server") / "nats")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def nats_url(nats_server: EmbeddedNats) -> str:
    """The URL of the NATS server, with user and password."""
    return nats_server.url()
