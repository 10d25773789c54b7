"""The bank directory in PostgreSQL (``ports.BankStore``).

Versions are appended, one writer at a time: so a reader who asks for what is behind a position misses nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.domain.bank_directory import (
    BANKS_MAX,
    VERSIONS_MAX,
    BankChange,
    BankVersion,
    CorrespondentRoute,
    ListedBank,
)
from settlement_engine.errors import CorruptRecord, WrongState
from settlement_engine.store.database import DatabaseConnection
from settlement_engine.store.queries import query

if TYPE_CHECKING:
    import asyncpg

    from settlement_engine.ports import BankFilter, BankPut
    from settlement_engine.store.database import DatabaseSettings, Readers

PRESENT: Final = 0
"""The number that asks for the present version."""

_BANK: Final = msgspec.json.Decoder(ListedBank)
_ACCOUNTS: Final = msgspec.json.Decoder(dict[str, str])
_ROUTES: Final = msgspec.json.Decoder(dict[str, CorrespondentRoute])


class PostgresBanks:
    """See ``ports.BankStore``."""

    def __init__(self, settings: DatabaseSettings, readers: Readers) -> None:
        self._readers = readers
        self._writing = DatabaseConnection(settings, is_writing=True)

    async def close(self) -> None:
        """Close the connection."""
        await self._writing.close()

    async def put_bank(self, put: BankPut) -> BankVersion:
        """Append a version; see the port."""
        bank = put.bank
        async with self._writing.session() as connection, connection.transaction():
            await connection.execute(query("lock_banks"))
            row = await connection.fetchrow(query("bank_version"), bank.code, PRESENT)
            present = _to_version(row) if row else None
            count = 0
            if present is None:
                count = await connection.fetchval(query("count_banks"), BANKS_MAX)
            if not require_putting(put, present, count):
                assert present is not None, "only a present version says the same"
                return present
            version = present.version + 1 if present else 1
            added = await connection.fetchrow(
                query("add_bank_version"),
                bank.code,
                version,
                list(bank.rails),
                [each.currency for each in bank.instructions],
                bank.is_withdrawn,
                msgspec.json.encode(bank).decode(),
                put.who,
            )
        assert added is not None, "an INSERT returns its row"
        return BankVersion(
            bank=bank,
            version=version,
            changed_by=put.who,
            changed_at=added["changed_at"],
            is_new=True,
        )

    async def bank(self, code: str, version: int = PRESENT) -> BankVersion | None:
        """Return a version of a bank's entry."""
        row = await self._readers.fetchrow("bank_version", code, version)
        return _to_version(row) if row else None

    async def banks(self, wanted: BankFilter) -> list[BankVersion]:
        """Return the present versions, by code."""
        rows = await self._readers.fetch(
            "list_banks",
            wanted.after_code,
            wanted.currency or None,
            wanted.rail or None,
            wanted.has_withdrawn,
            wanted.limit,
        )
        return [_to_version(row) for row in rows]

    async def bank_changes(self, after: int, limit: int) -> list[BankChange]:
        """Return the last change of each bank behind a position, in order."""
        rows = await self._readers.fetch("bank_changes", after, limit)
        return [
            BankChange(
                position=row["id"],
                code=row["code"],
                rails=frozenset(row["rails"]),
                is_withdrawn=row["is_withdrawn"],
                accounts=_ACCOUNTS.decode(row["accounts"]) if row["accounts"] else {},
                routes=_ROUTES.decode(row["routes"]) if row["routes"] else {},
                covers=_ROUTES.decode(row["covers"]) if row["covers"] else {},
            )
            for row in rows
        ]


def require_putting(put: BankPut, present: BankVersion | None, count: int) -> bool:
    """Say whether a version has to be appended; False where the present one says the same.

    Raises WrongState if the entry was changed meanwhile, or at a bound.
    """
    version = present.version if present else 0
    if present is not None and present.bank == put.bank:
        return False
    if put.after_version and put.after_version != version:
        what = f"bank {put.bank.code} is at version {version}, not {put.after_version}"
        why = f"{present.changed_by} has changed it" if present else "there is no such entry"
        todo = f"Look at it, and change it again: settlement-engine banks show {put.bank.code}."
        raise WrongState(what, why=why, todo=todo)
    if present is None and count >= BANKS_MAX:
        what = f"the bank directory has {BANKS_MAX} banks, and takes no more"
        raise WrongState(what)
    if version >= VERSIONS_MAX:
        what = f"bank {put.bank.code} has {VERSIONS_MAX} versions, and takes no more"
        raise WrongState(what)
    return True


def _to_version(row: asyncpg.Record) -> BankVersion:
    try:
        bank = _BANK.decode(row["content"])
    except msgspec.MsgspecError as error:
        what = "an entry of the bank directory cannot be read"
        raise CorruptRecord(what, why=str(error)) from None
    return BankVersion(
        bank=bank,
        version=row["version"],
        changed_by=row["changed_by"],
        changed_at=row["changed_at"],
    )
