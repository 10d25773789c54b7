"""A payment's identifying columns are written once: the database refuses to change them for any user."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg
import pytest

from settlement_engine.domain.lifecycle import Event, State
from tests.support.histories import Scene
from tests.support.stores import PostgresStores

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

REWRITTEN = {
    "attempts": {
        "number": "number + 1",
        "rail": "'another'",
        "source_id": "source_id + 1",
        "agent_id": "agent_id + 1",
        "clearing_id": "clearing_id + 1",
        "target_id": "target_id + 1",
        "uetr": "gen_random_uuid()",
        "end_to_end_id": "'E2'",
        "message_id": "'M2'",
        "trace": "'091000010000001'",
        "payload": r"'\x00'",
        "valid_until": "valid_until + interval '1 day'",
        "delivery": "'book'",
        "recorded_at": "now()",
        "settlement_id": "gen_random_uuid()",
    },
    "settlement_transactions": {
        "compensates": "gen_random_uuid()",
        "id": "gen_random_uuid()",
        "key_hash": "gen_random_uuid()",
        "caller": "'another'",
        "idempotency_key": "'another'",
        "content_hash": r"'\x00'",
        "obligation_id": "'another'",
        "from_bank": "'OTHER'",
        "to_bank": "'OTHER'",
        "amount_minor": "amount_minor + 1",
        "currency": "'USD'",
        "requested_value_date": "'2020-01-01'",
        "value_date": "'2020-01-01'",
        "priority": "2",
        "metadata": "'{}'",
        "created_at": "now()",
    },
    "fund_locks": {
        "settlement_id": "gen_random_uuid()",
        "account_id": "account_id + 1",
        "amount_minor": "amount_minor + 1",
        "currency": "'USD'",
        "locked_at": "now()",
    },
    "accounts": {
        "kind": "'fees'",
        "bank": "'OTHER'",
        "currency": "'USD'",
        "account_number": "'1'",
        "opened_at": "now()",
    },
    "idempotent_calls": {
        "key_hash": "gen_random_uuid()",
        "caller": "'another'",
        "idempotency_key": "'another'",
        "call": "'another'",
        "content": "'{}'",
        "account_id": "account_id + 1",
        "at": "now()",
    },
}
COUNTED = {
    "attempts": "sends = sends + 1",
    "settlement_transactions": "is_frozen = true",
    "fund_locks": "resolved_at = now(), outcome = 'posted'",
    "accounts": "last_reconciled_at = now()",
}


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """One payment in progress, and a connection of the tables' owner."""
    stores = PostgresStores(database_url)
    scene = await Scene.open(stores)
    sent = await scene.bring(State.SENT)
    await scene.move(sent, Event.NO_ANSWER, due_seconds=0.0)
    await stores.close()
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.mark.parametrize("role", ["origin", "replica"])
async def test_a_payments_identifiers_are_never_rewritten(connection, role):
    """Also for a session in replica mode, because the triggers fire always."""
    await connection.execute(f"SET session_replication_role = {role}")
    for table, columns in REWRITTEN.items():
        for column, value in columns.items():
            with pytest.raises(asyncpg.PostgresError) as refused:
                await connection.execute(f"UPDATE {table} SET {column} = {value}")
            assert refused.value.sqlstate == "SE004", (table, column)
        for change in (f"DELETE FROM {table}", f"TRUNCATE {table} CASCADE"):
            with pytest.raises(asyncpg.PostgresError) as refused:
                await connection.execute(change)
            assert refused.value.sqlstate == "SE004", change


async def test_no_column_of_a_payment_is_left_out(connection):
    """A new column must be guarded, or listed here as mutable."""
    changing = {
        "attempts": {"sends", "undelivered"},
        "settlement_transactions": {
            *("state", "seq", "attempt", "holds_obligation", "is_frozen", "attestation"),
            *("refusal_code", "refusal_detail", "rail_reference", "confirmation", "ended_at"),
        },
        "fund_locks": {"resolved_at", "outcome"},
        "accounts": {
            *("debits_posted", "credits_posted", "held", "credit_limit", "is_active"),
            *("id", "last_reconciled_at"),  # an identity column takes no value in an UPDATE
        },
        "idempotent_calls": set(),
    }
    for table, columns in REWRITTEN.items():
        rows = await connection.fetch(
            "SELECT column_name AS name FROM information_schema.columns"
            " WHERE table_schema = 'public' AND table_name = $1",
            table,
        )
        assert {row["name"] for row in rows} == columns.keys() | changing[table]


async def test_mutable_columns_may_change(connection):
    for table, change in COUNTED.items():
        assert (await connection.execute(f"UPDATE {table} SET {change}")) != "UPDATE 0"
