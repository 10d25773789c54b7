"""Measures what the database server itself can do, and reads its exact counters.

The baseline is the minimum that any durable engine must write for one settlement: three commits for a
whole batch, in a schema of its own. The module also copies settlements many times, to make a long history
quickly. It must never be used on a database that holds real money: the copies are invented settlements.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Final

from settlement_engine.errors import WrongState
from settlement_engine.store import arrays
from settlement_engine.store.database import WRITERS_PLAN, DatabaseConnection, connect
from settlement_engine.store.failures import translated
from settlement_engine.store.queries import statements

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date
    from uuid import UUID

    import asyncpg

    from settlement_engine.store.database import Connection, DatabaseSettings

SCHEMA: Final = "schema.sql"
STATEMENTS: Final = "statements.sql"
PAYLOAD: Final = b"x" * 300
"""The size in bytes of a typical announcement of the engine."""

COPIES_AT_ONCE_MAX: Final = 10
_UNLIMITED: Final = {
    "statement_timeout": "0",
    "transaction_timeout": "0",
    "synchronous_commit": "off",  # copies that are lost in a crash are made again
    "lock_timeout": "0",
    "maintenance_work_mem": "1GB",
    "work_mem": "256MB",
}
_AFTERWARDS: Final = (
    "history_indices_back",
    "history_is_old",
    "history_analyze",
    "history_checkpoint",
)
_COPIED: Final = ("history_settlements", "history_attempts", "history_holds", "history_transfers")


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineRequest:
    """A batch of settlements for the baseline, as columns."""

    ids: Sequence[UUID]
    obligations: Sequence[str]
    sources: Sequence[int]
    targets: Sequence[int]
    amounts: Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerCounters:
    """The server's cumulative counters since it was created."""

    transactions: int
    wal_bytes: int
    position: int
    published: int
    open_settlements: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSize:
    """The database's size; ``bounded_bytes`` belong to tables that must not grow with the history."""

    database_bytes: int
    bounded_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DebitAtBank:
    """What a bank has debited for one settlement, with the references that it knows."""

    amount_minor: int
    value_date: date
    end_to_end_id: str
    uetr: str


def _file(name: str) -> str:
    return (resources.files(__package__) / "sql" / name).read_text(encoding="utf-8")


@cache
def calls() -> Mapping[str, str]:
    """Return the baseline's SQL statements by name; the engine uses none of them."""
    return statements(_file(STATEMENTS))


def _call(name: str) -> str:
    return calls()[name]


class Baseline:
    """One connection that settles batches with the minimum of writes."""

    def __init__(self, settings: DatabaseSettings) -> None:
        self._connection = DatabaseConnection(settings, WRITERS_PLAN)

    async def install(self, accounts: int) -> None:
        """Create the schema again from the start, with ``accounts`` funded accounts."""
        async with self._connection.session() as connection:
            await connection.execute(_file(SCHEMA))
            await connection.execute(_call("fill"), accounts)

    async def settle(self, batch: BaselineRequest) -> None:
        """Settle a batch: three calls, three commits."""
        await self.accept(batch)
        await self.lock(batch)
        await self.finish(batch)

    async def accept(self, batch: BaselineRequest) -> None:
        """Store a batch."""
        ids, amounts = arrays.uuids(batch.ids), arrays.integers(batch.amounts)
        sources, targets = arrays.integers(batch.sources), arrays.integers(batch.targets)
        obligations = arrays.texts(batch.obligations)
        async with self._connection.session() as connection:
            await connection.fetch(_call("accept"), ids, obligations, sources, targets, amounts)

    async def lock(self, batch: BaselineRequest) -> None:
        """Hold the funds of a batch."""
        ids, amounts = arrays.uuids(batch.ids), arrays.integers(batch.amounts)
        sources = arrays.integers(batch.sources)
        async with self._connection.session() as connection:
            await connection.fetch(_call("lock"), ids, sources, amounts)

    async def finish(self, batch: BaselineRequest) -> None:
        """Complete a batch."""
        ids, amounts = arrays.uuids(batch.ids), arrays.integers(batch.amounts)
        sources, targets = arrays.integers(batch.sources), arrays.integers(batch.targets)
        async with self._connection.session() as connection:
            await connection.fetch(_call("finish"), ids, sources, targets, amounts, PAYLOAD)

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()


class ServerMeter:
    """Reads the server's counters and sizes."""

    def __init__(self, settings: DatabaseSettings) -> None:
        self._settings = settings
        self._connection = DatabaseConnection(settings)

    async def read(self) -> ServerCounters:
        """Read the counters."""
        return ServerCounters(**await self._ask("server_counters"))

    async def size(self) -> ServerSize:
        """Measure the database."""
        return ServerSize(**await self._ask("server_size"))

    async def debits_at_bank(self, account_id: int, limit: int) -> list[DebitAtBank]:
        """Return what settlements have moved from an account at a bank, in their order."""
        async with self._connection.session() as connection:
            rows = await connection.fetch(_call("debits_at_bank"), account_id, limit)
        return [DebitAtBank(**row) for row in rows]

    async def _ask(self, name: str) -> asyncpg.Record:
        async with self._connection.session() as connection:
            row = await connection.fetchrow(_call(name))
        assert row is not None
        return row

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()

    async def multiply_history(self, copies: int) -> None:
        """Copy every settlement ``copies`` times, in lots. Raises WrongState while any settlement is open.

        The copies' identifiers sort before those of the originals. If it fails half way, the database is
        no longer usable.
        """
        counters = await self.read()
        if counters.open_settlements:
            what = f"{counters.open_settlements} settlements are open"
            raise WrongState(what, todo="Copy history when everything has ended.")
        with translated():
            connection = await connect(self._settings, _UNLIMITED)
            try:
                await _copy(connection, copies, counters.position)
                await (
                    connection.close()
                )  # otherwise the cost of the copies would be counted with what is measured next
            finally:
                connection.terminate()


async def _copy(connection: Connection, copies: int, position: int) -> None:
    """Copy everything up to this stream position."""
    await connection.execute(_call("history_numbers"))
    stride = await connection.fetchval(_call("history_stride"))
    await connection.execute(_call("history_accounts"), copies)
    await connection.execute(_call("history_indices_away"))
    for first in range(1, copies + 1, COPIES_AT_ONCE_MAX):
        last = min(first + COPIES_AT_ONCE_MAX - 1, copies)
        async with connection.transaction():
            for name in _COPIED:
                await connection.execute(_call(name), first, last, stride)
            await connection.execute(_call("history_moves"), first, last, stride, position)
    await connection.execute(_call("history_head"), copies)
    for name in _AFTERWARDS:
        await connection.execute(_call(name))
