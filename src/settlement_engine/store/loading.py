"""Reading settlements whose records somebody may have altered.

Promises: a record that cannot be read does not affect the others of the same call, and is reported with the reason.
Must never: leave one out silently; the caller gets it as unreadable, or the error CorruptRecord.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from settlement_engine.errors import CorruptRecord
from settlement_engine.store.currencies import learn_currencies
from settlement_engine.store.queries import query
from settlement_engine.store.rows import UNREADABLE, corrupt, to_settlement

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from uuid import UUID

    import asyncpg

    from settlement_engine.domain.settlement import Settlement
    from settlement_engine.store.database import Connection

    Fetch: TypeAlias = Callable[[list[UUID]], Awaitable[Sequence[asyncpg.Record]]]
    Loaded: TypeAlias = tuple[dict[UUID, Settlement], dict[UUID, CorruptRecord]]

ALONE: Final = 1


async def load_each(fetch: Fetch, keys: list[UUID]) -> Loaded:
    """Read settlements; where the driver cannot read an answer, they are fetched one by one.

    Returns those that exist and can be read, and an error for each one that cannot.
    """
    try:
        rows = await fetch(keys)
    except UNREADABLE as error:
        if len(keys) == ALONE:
            return {}, {keys[0]: corrupt(keys[0], error)}
    else:
        return _decoded(rows)
    found: dict[UUID, Settlement] = {}
    unreadable: dict[UUID, CorruptRecord] = {}
    for key in keys:
        one, none = await load_each(fetch, [key])
        found |= one
        unreadable |= none
    return found, unreadable


def _decoded(rows: Sequence[asyncpg.Record]) -> Loaded:
    found: dict[UUID, Settlement] = {}
    unreadable: dict[UUID, CorruptRecord] = {}
    for row in rows:
        try:
            found[row["id"]] = to_settlement(row)
        except CorruptRecord as error:
            unreadable[row["id"]] = error
    return found, unreadable


async def load_all(fetch: Fetch, keys: list[UUID]) -> dict[UUID, Settlement]:
    """Read settlements that exist. Raises CorruptRecord if one of them cannot be read."""
    found, unreadable = await load_each(fetch, keys)
    for error in unreadable.values():
        raise error
    return found


async def load_one(connection: Connection, key: UUID) -> Settlement | None:
    """Read a settlement in a transaction of the caller. Raises CorruptRecord if it cannot be read."""

    async def fetch(keys: list[UUID]) -> Sequence[asyncpg.Record]:
        rows = await connection.fetch(query("load"), keys)
        await learn_currencies(connection, rows)
        return rows

    return (await load_all(fetch, [key])).get(key)
