"""The import of statements on a real server: killed in the middle, at once, the guards, and the corpora."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from settlement_engine.domain.ledger import AccountKind
from settlement_engine.domain.statement_import import ReceivedFile
from settlement_engine.engine.statement_import import StatementImport
from settlement_engine.errors import InvalidInstruction
from settlement_engine.messages.statements import read_statements
from tests.support.corpora import ROOT, shared_folder
from tests.support.histories import spec
from tests.support.statement_files import chain, file_of
from tests.support.stores import PostgresStores
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from settlement_engine.domain.statement_import import ImportedStatement
    from tests.support.databases import Databases

NUMBER = "0001234567"
STATEMENTS = 300
KILLED_AFTER = 20
TABLES = ("statement_files", "statements", "statement_entries", "entry_details")
KEPT = """
SELECT s.content_hash, s.outcome, s.reason, count(e.number), sum(e.amount_minor), min(e.identity_hash)
FROM statements AS s LEFT JOIN statement_entries AS e ON e.statement_id = s.id
GROUP BY s.id ORDER BY s.content_hash, s.place
"""
PROGRAM = """
import asyncio, sys
from pathlib import Path
from tests.support.stores import PostgresStores
from tests.integration.test_statement_import import take

async def main():
    await take(PostgresStores(sys.argv[1]), Path(sys.argv[2]).read_bytes())

asyncio.run(main())
"""


@pytest.fixture
async def stores(databases: Databases) -> AsyncIterator[PostgresStores]:
    made = PostgresStores(await databases.migrated())
    yield made
    await made.close()


@pytest.fixture
async def connection(stores: PostgresStores) -> AsyncIterator[Any]:
    made = await asyncpg.connect(stores.url)
    yield made
    await made.close()


async def take(
    stores: PostgresStores, content: bytes, name: str = "day.sta"
) -> list[ImportedStatement]:
    """Import a file."""
    file = ReceivedFile(name=name, content=content, who="ada")
    return await StatementImport(stores.statements).import_file(file)


async def open_nostro(stores: PostgresStores, number: str, bank: str, currency: str) -> None:
    fields = {"account_number": number, "currency": currency}
    await stores.accounts.open_account(spec(AccountKind.NOSTRO, bank, **fields))


async def test_an_import_that_was_killed_is_completed_by_the_next_one(
    stores: PostgresStores, connection: Any, databases: Databases, tmp_path: Path
) -> None:
    file = tmp_path / "file.sta"
    content = file_of(*chain(NUMBER, STATEMENTS, entries=5))
    file.write_bytes(content)
    await open_nostro(stores, NUMBER, "HOUSDEFF", "EUR")
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM, stores.url, str(file)), cwd=ROOT
    )
    count = "SELECT count(*) FROM statements"

    async def has_begun() -> bool:
        return bool(await connection.fetchval(count) >= KILLED_AFTER)

    await until(has_begun)
    child.send_signal(signal.SIGKILL)
    await child.wait()
    assert KILLED_AFTER <= await connection.fetchval(count) < STATEMENTS, "killed in the middle"
    results = await take(stores, content)
    assert {each.outcome for each in results} == {"ALREADY_IMPORTED", "IMPORTED"}

    whole = PostgresStores(await databases.migrated())
    await open_nostro(whole, NUMBER, "HOUSDEFF", "EUR")
    await take(whole, content)
    other = await asyncpg.connect(whole.url)
    assert await connection.fetch(KEPT) == await other.fetch(KEPT)
    await other.close()
    await whole.close()


@pytest.mark.parametrize("role", ["origin", "replica"])
async def test_what_was_imported_cannot_be_changed(
    stores: PostgresStores, connection: Any, role: str
) -> None:
    await open_nostro(stores, NUMBER, "HOUSDEFF", "EUR")
    await take(stores, file_of(*chain(NUMBER, 1)))
    await connection.execute(f"SET session_replication_role = {role}")
    for table in TABLES:
        for change in (f"DELETE FROM {table}", f"TRUNCATE {table} CASCADE"):
            with pytest.raises(asyncpg.PostgresError) as refused:
                await connection.execute(change)
            assert refused.value.sqlstate == "SE004", change
    for table, column in (
        ("statement_files", "name"),
        ("statements", "reason"),
        ("statement_entries", "text"),
        ("entry_details", "text"),
    ):
        with pytest.raises(asyncpg.PostgresError) as refused:
            await connection.execute(f"UPDATE {table} SET {column} = 'x'")
        assert refused.value.sqlstate == "SE004", table


def corpus() -> list[Path]:
    folder = shared_folder("corpora")
    files = [*(folder / "camt").glob("*"), *(folder / "mt940").glob("*"), *folder.glob("cbpr/*")]
    assert len(files) > 100, "the corpora are there, and whole"
    return sorted(each for each in files if each.is_file())


async def open_all(stores: PostgresStores, files: list[Path]) -> None:
    """Open an account for each one that a statement names, at one bank for each number."""
    opened: set[tuple[str, str]] = set()
    banks: dict[str, str] = {}
    for file in files:
        for said in read_statements(file.read_bytes()).statements:
            account = said.account
            number = "".join(account.identifier.split()).upper()
            bank = banks.setdefault(number, account.servicer or f"BANK{len(banks):04d}")
            if (number, account.currency) not in opened:
                opened.add((number, account.currency))
                with suppress(InvalidInstruction):  # some currencies are withdrawn
                    await open_nostro(stores, number, bank, account.currency)


async def test_every_statement_of_the_corpora_has_its_outcome_in_any_order(
    stores: PostgresStores, connection: Any, databases: Databases
) -> None:
    files = corpus()
    backwards = PostgresStores(await databases.migrated())
    kept = []
    for each, order in ((stores, files), (backwards, list(reversed(files)))):
        await open_all(each, files)
        for file in order:
            results = await take(each, file.read_bytes(), file.name)
            assert results, file.name
            assert all(result.reason for result in results), file.name
        other = await asyncpg.connect(each.url)
        kept.append(
            await other.fetch("SELECT content_hash FROM statements WHERE is_kept ORDER BY 1")
        )
        await other.close()
    assert kept[0] == kept[1]
    assert len(kept[0]) > 100
    await backwards.close()

    counts = [f"(SELECT count(*) FROM {table})" for table in TABLES]
    before = await connection.fetchrow(f"SELECT {', '.join(counts)}")
    for file in files:
        again = await take(stores, file.read_bytes(), file.name)
        fine = {"ALREADY_IMPORTED", "UNREADABLE", "WRONG_CONTAINER", "UNKNOWN_ACCOUNT"}
        assert {each.outcome for each in again} <= fine | {"WRONG_CURRENCY"}, file.name
    assert await connection.fetchrow(f"SELECT {', '.join(counts)}") == before
