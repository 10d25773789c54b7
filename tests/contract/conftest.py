"""Each store test runs on both stores, and leaves a ledger that the proof accepts.

The tests of a module share a store, and each uses banks of its own: on PostgreSQL a database and its connections
take longer than most tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest_asyncio

from tests.support.histories import MADE_UP, Scene
from tests.support.stores import MemoryStores, PostgresStores

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest

    from tests.support.databases import Databases
    from tests.support.stores import Stores


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["memory", "postgres"])
async def module_stores(request: pytest.FixtureRequest) -> AsyncIterator[Stores]:
    """One process's store, shared by the tests of a module."""
    if request.param == "memory":
        yield MemoryStores()
        return
    databases: Databases = request.getfixturevalue("databases")
    url = await databases.migrated()
    made = PostgresStores(url)
    yield made
    await made.close()
    await databases.drop(url)


@pytest_asyncio.fixture(loop_scope="module")
async def stores(module_stores: Stores) -> AsyncIterator[Stores]:
    """The module's store, whose ledger is proved after each test."""
    yield module_stores
    await module_stores.close_beside()
    found = await module_stores.differences()
    assert [each for each in found if MADE_UP not in each.subject] == []


@pytest_asyncio.fixture(loop_scope="module")
async def scene(stores: Stores) -> Scene:
    """Two banks with ten million between them, and one engine."""
    return await Scene.open(stores)
