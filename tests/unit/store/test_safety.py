"""The check for a pooler: a connection that is lost during it proves nothing, and stops no engine."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from settlement_engine.errors import Misconfigured
from settlement_engine.store import safety
from settlement_engine.store.database import DatabaseSettings
from settlement_engine.store.safety import require_sessions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

URL = "postgresql://somebody@127.0.0.1:1/somewhere"


class Breaking:
    """A connection that fails at its first statement, with the driver's error."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def get_server_pid(self) -> int:
        return 1

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        yield

    async def fetchval(self, _statement: str) -> int:
        raise self.error

    def terminate(self) -> None:
        """Nothing to terminate."""


def breaking(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    async def plain(_url: str, _seconds: float) -> Any:
        return Breaking(error)

    monkeypatch.setattr(safety, "_plain", plain)


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.InterfaceError("cannot call Transaction.__aexit__(): the connection is closed"),
        asyncpg.ConnectionDoesNotExistError("closed in the middle of operation"),
        asyncpg.InternalClientError("got result for unknown protocol state"),
        ConnectionResetError(104, "reset by peer"),
        TimeoutError(),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_lost_connection_is_not_taken_for_a_pooler(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    breaking(monkeypatch, error)
    await require_sessions(DatabaseSettings(url=URL))


async def test_statement_pooling_is_recognised_by_its_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = "transaction blocks not allowed in statement pooling mode"
    breaking(monkeypatch, asyncpg.PostgresError(words))
    with pytest.raises(Misconfigured, match="transaction mode"):
        await require_sessions(DatabaseSettings(url=URL))
