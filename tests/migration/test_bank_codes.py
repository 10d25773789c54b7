"""Accounts that were opened before bank codes were normalised are found, and no second one is opened."""

from __future__ import annotations

import asyncpg
import pytest

from settlement_engine.domain.bank_codes import folded_bank
from settlement_engine.domain.ledger import AccountKind
from settlement_engine.errors import IdempotencyConflict
from settlement_engine.ports import AccountFilter
from settlement_engine.store import migrate as module
from settlement_engine.store.database import DatabaseSettings
from settlement_engine.store.migrate import migrate, migrations
from tests.support.histories import spec
from tests.support.stores import PostgresStores

NOSTRO, CLEARING = AccountKind.NOSTRO, AccountKind.CLEARING
OLD_ACCOUNT = (
    "INSERT INTO accounts (kind, bank, currency, account_number)"
    " VALUES ($1::text::account_kind, $2, 'EUR', $3) RETURNING id"
)
OLD_SETTLEMENT = (
    "INSERT INTO settlement_transactions (id, key_hash, caller, idempotency_key, content_hash,"
    " obligation_id, from_bank, to_bank, amount_minor, currency, value_date, priority, state, seq,"
    " created_at) VALUES (gen_random_uuid(), gen_random_uuid(), 'a', 'k', '', $3, $1, $2, 1, 'EUR',"
    " '2026-01-01', 0, 'validating', 1, now())"
)


@pytest.fixture
async def old(empty_database_url, monkeypatch):
    """A database of the first version; the test applies the later migrations."""
    first, *_ = migrations()
    with monkeypatch.context() as patched:
        patched.setattr(module, "migrations", lambda: [first])
        await migrate(DatabaseSettings(url=empty_database_url))
    connection = await asyncpg.connect(empty_database_url)
    yield connection
    await connection.close()


@pytest.fixture
async def stores(old, empty_database_url):
    made = PostgresStores(empty_database_url)
    yield made
    await made.close()


async def test_an_account_with_an_old_spelling_is_found_and_not_duplicated(
    old, stores, empty_database_url
):
    number = await old.fetchval(OLD_ACCOUNT, "nostro", "deutdeff", "nostro-deutdeff-EUR")
    control = await old.fetchval(OLD_ACCOUNT, "clearing", "deutdeff", "control")
    await migrate(DatabaseSettings(url=empty_database_url))
    for spelling in ("deutdeff", "DEUTDEFF", "DeutDeffXXX"):
        [found] = await stores.accounts.accounts(AccountFilter(kind=NOSTRO, bank=spelling))
        assert (found.id, found.bank) == (number, "deutdeff")
        [clearing] = await stores.accounts.ensure_controls([(CLEARING, spelling, "EUR")])
        assert clearing.id == control
        with pytest.raises(IdempotencyConflict):
            await stores.accounts.open_account(spec(NOSTRO, spelling))


async def test_one_account_under_two_spellings_does_not_stop_the_migration(
    old, stores, empty_database_url
):
    older = await old.fetchval(OLD_ACCOUNT, "clearing", "deutdeff", "control")
    newer = await old.fetchval(OLD_ACCOUNT, "clearing", "DEUTDEFF", "control")
    heard: list[str] = []
    await migrate(DatabaseSettings(url=empty_database_url), warn=heard.append)
    assert heard == [f"accounts of one bank under two spellings: {older} and {newer}"]
    controls = [(CLEARING, spelling, "EUR") for spelling in ("DEUTDEFFXXX", "deutdeff", "Deutdeff")]
    assert [each.id for each in await stores.accounts.ensure_controls(controls)] == [older]
    assert await old.fetchval("SELECT count(*) FROM accounts") == 2


async def test_an_old_settlement_between_two_spellings_of_a_bank_can_still_end(
    old, empty_database_url
):
    await old.execute(OLD_SETTLEMENT, "sbzazajj", "SBZAZAJJ", "OB-1")
    await migrate(DatabaseSettings(url=empty_database_url))
    await old.execute("UPDATE settlement_transactions SET seq = seq + 1")
    for number, spelling in enumerate(("SBZAZAJJ", "sbzazajj", "SbzaZajjXXX")):
        with pytest.raises(asyncpg.CheckViolationError):
            await old.execute(OLD_SETTLEMENT, "SBZAZAJJXXX", spelling, f"OB-2{number}")
    await old.execute(OLD_SETTLEMENT, "SBZAZAJJ", "SBZAZAJJ001", "OB-3")


async def test_the_database_normalises_bank_codes_as_the_domain_does(old, empty_database_url):
    await migrate(DatabaseSettings(url=empty_database_url))
    codes = ["SBZAZAJJ", "sbzazajjxxx", "SBZAZAJJ001", "bank0001", "12345678XXX", "1xyzabcdXXX"]
    codes += ["A.SBZAZAXXX", "SBZAZAJJXX", "....", "abcdefghxxx", "ABCDEF-HXXX", "a_b", "i" * 20]
    folded = await old.fetch(
        "SELECT folded_bank(u.code) FROM unnest($1::text[]) AS u (code)", codes
    )
    assert [row[0] for row in folded] == [folded_bank(code) for code in codes]
