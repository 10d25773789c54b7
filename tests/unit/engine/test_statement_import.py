"""The import of a file: its bytes are kept before they are read, and one file is read while another is written."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from typing_extensions import override

from settlement_engine.domain.continuity import StatementOutcome
from settlement_engine.domain.ledger import AccountKind
from settlement_engine.domain.statement_import import FILES_AT_ONCE, ReceivedFile, imported
from settlement_engine.engine import statement_import
from settlement_engine.engine.statement_import import StatementImport
from settlement_engine.errors import InvalidInstruction, Unavailable
from settlement_engine.messages.statements import read_statements
from tests.support.histories import spec
from tests.support.statement_files import chain, file_of
from tests.support.stores import MemoryStores

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from settlement_engine.domain.statement_import import FoundStatement, ImportedStatement
    from settlement_engine.domain.statements import StatementFile
    from settlement_engine.messages.csv_mapping import Mapping

STATEMENTS = 3


class RecordingStore:
    """A store that notes the order of its calls and knows no account; it may refuse to keep a file."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.is_down = False

    async def keep_file(self, file: ReceivedFile) -> None:
        """Note it. Raises Unavailable."""
        if self.is_down:
            raise Unavailable("the database is down")
        self.calls.append(f"keep {file.name}")

    async def accounts_by_numbers(self, _numbers: Sequence[str]) -> list[Any]:
        """Return none."""
        self.calls.append("accounts")
        return []

    async def import_found(
        self, found: FoundStatement, account_id: int | None, judged: Callable[..., Any]
    ) -> ImportedStatement:
        """Return the outcome."""
        assert account_id is None
        self.calls.append("import")
        return imported(found, judged(()))


@pytest.fixture
def store() -> RecordingStore:
    return RecordingStore()


def importer(store: RecordingStore) -> StatementImport:
    return StatementImport(store)  # type: ignore[arg-type]


def received(name: str = "day.sta", **changes: str) -> ReceivedFile:
    content = file_of(*chain("0001", STATEMENTS))
    return ReceivedFile(name=name, content=content, who="ada", **changes)


async def test_a_file_is_kept_first_and_each_statement_imported(store: RecordingStore) -> None:
    results = await importer(store).import_file(received())
    assert store.calls == ["keep day.sta", "accounts", *["import"] * STATEMENTS]
    assert {each.outcome for each in results} == {StatementOutcome.UNKNOWN_ACCOUNT}


async def test_the_accounts_whose_statements_were_kept_are_told_once() -> None:
    stores = MemoryStores()
    wanted = spec(AccountKind.NOSTRO, "HOUSDEFF", account_number="0001")
    account = await stores.accounts.open_account(wanted)
    told: list[Collection[int]] = []
    importer = StatementImport(stores.statements, arrived=told.append)
    for _ in range(2):  # the second import keeps nothing
        await importer.import_file(received())
    assert [set(each) for each in told] == [{account.id}, set()]


async def test_what_was_kept_of_a_file_is_told_though_the_rest_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stores = MemoryStores()
    wanted = spec(AccountKind.NOSTRO, "HOUSDEFF", account_number="0001")
    account = await stores.accounts.open_account(wanted)
    keep = stores.statements.import_found
    kept: list[ImportedStatement] = []

    async def fails_at_the_second(*found: Any) -> ImportedStatement:
        if kept:
            raise Unavailable("the database is down")
        kept.append(await keep(*found))
        return kept[0]

    monkeypatch.setattr(stores.statements, "import_found", fails_at_the_second)
    told: list[Collection[int]] = []
    with pytest.raises(Unavailable):
        await StatementImport(stores.statements, arrived=told.append).import_file(received())
    assert told == [{account.id}]


async def test_a_file_that_cannot_be_kept_is_not_read(
    store: RecordingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statement_import, "read_statements", None)
    store.is_down = True
    with pytest.raises(Unavailable):
        await importer(store).import_file(received())
    assert store.calls == []


async def test_a_wrong_mapping_is_refused_before_anything_is_kept(store: RecordingStore) -> None:
    with pytest.raises(InvalidInstruction, match="csv_mapping"):
        await importer(store).import_file(received(csv_mapping="no = [mapping"))
    assert store.calls == []


async def test_a_file_is_read_while_another_is_written_and_a_third_one_waits() -> None:
    store: Any = SlowStore()
    reading: list[bytes] = []

    async def read(content: bytes, mapping: Mapping | None, _text: str) -> StatementFile:
        reading.append(content)
        assert len(reading) == 1, "one file is read at a time"
        await asyncio.sleep(0)
        reading.remove(content)
        return read_statements(content, mapping)

    each = StatementImport(store, read=read)
    files = asyncio.gather(*(each.import_file(received(name)) for name in "abcd"))
    await store.waiting.acquire()
    await store.waiting.acquire()
    for _ in range(100):
        await asyncio.sleep(0)
    assert store.calls.count("accounts") == FILES_AT_ONCE, "the others are not read yet"
    store.is_free.set()
    assert [len(found) for found in await files] == [STATEMENTS] * 4


class SlowStore(RecordingStore):
    """A store that writes no statement until it is freed."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = asyncio.Semaphore(0)
        self.is_free = asyncio.Event()

    @override
    async def import_found(
        self, found: FoundStatement, account_id: int | None, judged: Callable[..., Any]
    ) -> ImportedStatement:
        self.waiting.release()
        await self.is_free.wait()
        return await super().import_found(found, account_id, judged)
