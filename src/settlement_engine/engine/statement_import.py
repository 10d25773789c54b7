"""Imports a file of statements: keeps its bytes, reads it, and lets each statement be judged and kept.

Promises: the bytes are durable before anything is read from them. Each statement is one transaction of its own,
so an import that was cut off is completed by the same import again, and one that was complete changes nothing.
Must never: hold up the event loop with the reading of a file, or choose an account by its number alone.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from settlement_engine.domain.continuity import AccountDirectory, ImportOutcome, judge
from settlement_engine.domain.statement_import import (
    FILES_AT_ONCE,
    found_in,
    known_accounts,
    wanted_numbers,
)
from settlement_engine.domain.statements import Statement
from settlement_engine.errors import InvalidInstruction
from settlement_engine.messages.csv_mapping import SHIPPED, read_mapping, shipped_mapping
from settlement_engine.messages.errors import MessageError
from settlement_engine.messages.statements import read_statements

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence

    from settlement_engine.domain.statement_import import (
        AccountNames,
        ImportedStatement,
        ReceivedFile,
    )
    from settlement_engine.domain.statements import StatementFault, StatementFile
    from settlement_engine.messages.csv_mapping import Mapping
    from settlement_engine.ports import StatementStore

    ReadStatements: TypeAlias = Callable[[bytes, Mapping | None, str], Awaitable[StatementFile]]
    """Reads the statements of a file: its bytes, its CSV mapping if it has one, and the mapping's text."""


def _nobody_waits(_: Collection[int]) -> None:
    """Tell nobody that statements have arrived."""


async def _read_beside(content: bytes, mapping: Mapping | None, _text: str) -> StatementFile:
    """Read a file in a thread."""
    return await asyncio.to_thread(read_statements, content, mapping)


def _nobody_counts(_: str) -> None:
    """Count no outcome."""


class StatementImport:
    """See ``ports.StatementImporter``."""

    def __init__(
        self,
        store: StatementStore,
        named: Sequence[AccountNames] = (),
        arrived: Callable[[Collection[int]], None] = _nobody_waits,
        *,
        count: Callable[[str], None] = _nobody_counts,
        read: ReadStatements | None = None,
    ) -> None:
        """``count`` is called with the outcome of each statement; ``read`` reads a file."""
        self._store = store
        self._named = named
        self._arrived = arrived
        self._count = count
        self._read = read or _read_beside
        self._importing = asyncio.Semaphore(FILES_AT_ONCE)
        self._reading = asyncio.Semaphore(1)  # one file is read at a time: a large one takes memory

    async def import_file(self, file: ReceivedFile) -> list[ImportedStatement]:
        """Keep, read and import a file; see the port."""
        mapping = _mapping_of(file.csv_mapping)
        await self._store.keep_file(file)
        async with self._importing:
            async with self._reading:
                read = await self._read(file.content, mapping, file.csv_mapping)
            directory = await self._directory(read)
            found = _in_order(read)
            imported: list[ImportedStatement] = []
            try:
                for each in found:
                    imported.append(await self._import(file, each, directory))  # noqa: PERF401
            finally:  # what is kept has arrived, also when the rest of the file fails
                kept = {each.account_id for each in imported if each.id}
                self._arrived({each for each in kept if each is not None})
        return imported

    async def _directory(self, read: StatementFile) -> AccountDirectory:
        said = {each.account.identifier: None for each in read.statements}
        numbers = wanted_numbers(said, self._named)
        accounts = await self._store.accounts_by_numbers(numbers) if numbers else []
        return AccountDirectory(known_accounts(accounts, self._named))

    async def _import(
        self,
        file: ReceivedFile,
        said: Statement | StatementFault,
        directory: AccountDirectory,
    ) -> ImportedStatement:
        account_id: int | None = None
        if isinstance(said, Statement):
            account = directory.find(said.account)
            account_id = None if isinstance(account, ImportOutcome) else int(account.key)
        found = await asyncio.to_thread(found_in, file, said)
        by_kept = partial(judge, said, directory, head=found.head)
        imported = await self._store.import_found(found, account_id, by_kept)
        self._count(imported.outcome)
        return imported


def _in_order(read: StatementFile) -> list[Statement | StatementFault]:
    """Return the statements of a file, and then what could not be read in it."""
    return [*read.statements, *read.faults]


def _mapping_of(text: str) -> Mapping | None:
    if not text:
        return None
    try:
        return shipped_mapping(text) if text in SHIPPED else read_mapping(text.encode())
    except MessageError as error:
        raise InvalidInstruction([("csv_mapping", f"{error.place} {error.reason}")]) from None
