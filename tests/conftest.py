"""Real servers for whoever asks for them, and a fresh database for each test.

One PostgreSQL and one NATS server per pytest process, started on first use; unit tests start neither.
``SETTLEMENT_TEST_DATABASE_URL`` names a server of the user's own instead: a superuser's address. Only
databases that the tests have made are ever dropped there.
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
    """A PostgreSQL server with fsync on, as the engine demands it."""
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
    """Makes databases on the server."""
    from tests.support.databases import Databases

    made = Databases(postgres_server)
    yield made
    asyncio.run(made.drop_template())


@pytest.fixture
async def database_url(databases: Databases) -> AsyncIterator[str]:
    """The address of a fresh database of this version."""
    url = await databases.migrated()
    yield url
    await databases.drop(url)


@pytest.fixture
async def empty_database_url(databases: Databases) -> AsyncIterator[str]:
    """The address of a fresh database with nothing in it."""
    url = await databases.empty()
    yield url
    await databases.drop(url)


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedNats]:
    """A NATS server with JetStream; what a test leaves in it, the next one finds."""
    from settlement_engine.embedded import EmbeddedNats

    server = EmbeddedNats(tmp_path_factory.mktemp("server") / "nats")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def nats_url(nats_server: EmbeddedNats) -> str:
    """The address of the NATS server, with user and password."""
    return nats_server.url()
