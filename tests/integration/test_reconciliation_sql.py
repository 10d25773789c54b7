"""What the database itself refuses of reconciliation: a second live match, a proof that does not add up, changes."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import asyncpg
import pytest

from settlement_engine.domain.lifecycle import State
from settlement_engine.domain.reconciliation import ReconciliationRun, StartedFor
from settlement_engine.engine.reconciliation import Reconciliation
from tests.support.bank_statements import BankDay, Booked, debit, take
from tests.support.histories import Scene
from tests.support.stores import PostgresStores

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

APPENDED = [
    "reconciliation_runs",
    "reconciliation_run_ends",
    "reconciliation_reports",
    "matches",
    "unmatches",
    "match_postings",
    "match_entries",
    "match_suggestions",
    "breaks",
    "break_items",
    "break_events",
    "proofs",
]


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A reconciled account with a match, a break and a proof, and a connection of the tables' owner."""
    stores = PostgresStores(database_url)
    scene = await Scene.open(stores, funds_minor=1_000)
    paid = await scene.bring(State.COMPLETED, minor=100)
    entries = [debit(paid), Booked(minor=-7)]
    await take(stores, BankDay(account=await scene.source(), opening=0, entries=entries))
    run = ReconciliationRun(
        id=uuid.uuid4(), started_for=StartedFor.DEMAND, who="ada", rules_version=""
    )
    await Reconciliation(stores.reconciliation).reconcile(run)
    await stores.close()
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.mark.parametrize("role", ["origin", "replica"])
async def test_what_is_appended_is_never_changed(connection, role):
    await connection.execute(f"SET session_replication_role = {role}")
    for table in APPENDED:
        for change in (f"DELETE FROM {table}", f"TRUNCATE {table} CASCADE"):
            with pytest.raises(asyncpg.PostgresError) as refused:
                await connection.execute(change)
            assert refused.value.sqlstate == "SE004", change


@pytest.mark.parametrize("table", ["match_postings", "match_entries"])
async def test_an_item_is_in_one_live_match(connection, table):
    same = f"INSERT INTO {table} SELECT * FROM {table}"
    with pytest.raises(asyncpg.UniqueViolationError):
        await connection.execute(same)
    columns = await connection.fetchval(
        "SELECT string_agg(CASE column_name WHEN 'turn' THEN 'turn + 1' ELSE column_name END, ', '"
        " ORDER BY ordinal_position) FROM information_schema.columns WHERE table_name = $1",
        table,
    )
    again = f"INSERT INTO {table} SELECT {columns} FROM {table} WHERE turn = 1"
    with pytest.raises(asyncpg.UniqueViolationError, match="is in another match"):
        await connection.execute(again)
    await connection.execute(
        "INSERT INTO unmatches (match_id, who, reason) SELECT id, 'ada', 'wrong' FROM matches"
    )
    assert await connection.execute(again) != "INSERT 0 0"


async def test_a_proof_that_does_not_add_up_is_refused(connection):
    kept = await connection.fetchval("SELECT count(*) FROM proofs")
    assert kept == 1
    wrong = (
        "INSERT INTO proofs (account_id, booking_date, run_id, currency, our_closing_minor,"
        " unmatched_theirs_minor, unmatched_ours_minor, opening_difference_minor, difference_minor,"
        " their_closing_minor, unmatched_theirs, unmatched_ours, held_back_by, is_zero)"
        " SELECT account_id, booking_date, run_id, currency, our_closing_minor + {more},"
        " unmatched_theirs_minor, unmatched_ours_minor, opening_difference_minor,"
        " difference_minor - {less}, their_closing_minor, 0, 0, '', {zero} FROM proofs"
    )
    for more, less, zero in ((1, 0, "true"), (1, 1, "true"), (0, 0, "false")):
        with pytest.raises(asyncpg.CheckViolationError):
            await connection.execute(wrong.format(more=more, less=less, zero=zero))
