"""The proof notices whatever is done behind the guards: each check is made to fail, alone or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg
import pytest

from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.errors import InvariantViolated
from settlement_engine.store.audit import DIFFERENCES_MAX, checks
from settlement_engine.store.memory.audit import CHECKS
from tests.support.lives import Scene
from tests.support.stores import PostgresStores

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

GUARDED = (
    "moves",
    "transfers",
    "answers",
    "settlement_transactions",
    "fund_locks",
    "attempts",
    "accounts",
    "idempotent_calls",
)

COMPLETED = "(SELECT id FROM settlement_transactions WHERE state = 'completed')"
SENT = "(SELECT id FROM settlement_transactions WHERE state = 'sent')"
NOSTRO = "(SELECT min(id) FROM accounts WHERE kind = 'nostro')"

TAMPERED = {
    # What is done behind the guards, and every check that must notice it.
    "a balance was raised": (
        f"UPDATE accounts SET debits_posted = debits_posted + 1 WHERE id = {NOSTRO}",
        {"balances", "conservation"},
    ),
    "two balances were raised together": (
        "UPDATE accounts SET debits_posted = debits_posted + 1, credits_posted = credits_posted + 1",
        {"balances"},
    ),
    "a transfer was removed": (
        "DELETE FROM transfers WHERE leg = 1",
        {"balances", "postings_follow_lives"},
    ),
    "a transfer was made larger": (
        "UPDATE transfers SET amount_minor = amount_minor + 1 WHERE leg = 2",
        {"balances", "postings_follow_lives"},
    ),
    "a settlement's money went to another account, and the balances with it": (
        (
            f"UPDATE transfers SET credit_id = {NOSTRO} WHERE leg = 2;"
            f"UPDATE accounts SET credits_posted = credits_posted + 100 WHERE id = {NOSTRO};"
            "UPDATE accounts SET credits_posted = 0 WHERE kind = 'vostro'"
        ),
        {"postings_follow_lives"},
    ),
    "a completed settlement was posted with a third transfer": (
        (
            f"INSERT INTO transfers SELECT s.id, 3, {NOSTRO}, a.id, 1, 'EUR', '', now()"
            f" FROM settlement_transactions AS s, accounts AS a WHERE s.id = {COMPLETED}"
            " AND a.kind = 'clearing'"
        ),
        {"balances", "postings_follow_lives"},
    ),
    "an open settlement was posted": (
        f"UPDATE transfers SET group_id = {SENT} WHERE group_id = {COMPLETED}",
        {"postings_follow_lives"},
    ),
    "a transfer lost its account": (
        "UPDATE transfers SET debit_id = 999 WHERE leg = 3",
        {"balances", "transfers_have_accounts"},
    ),
    "a transfer changed its currency": (
        "UPDATE transfers SET currency = 'USD' WHERE leg = 3",
        {"transfers_have_accounts"},
    ),
    "a hold was forgotten on the account": (
        f"UPDATE accounts SET held = 0 WHERE id = {NOSTRO}",
        {"held"},
    ),
    "a hold was made smaller": (
        f"UPDATE fund_locks SET amount_minor = amount_minor - 1 WHERE settlement_id = {SENT}",
        {"held", "locks_follow_lives"},
    ),
    "a hold was released while the rail may have the payment": (
        (
            f"UPDATE fund_locks SET outcome = 'released', resolved_at = now()"
            f" WHERE settlement_id = {SENT};"
            f"UPDATE accounts SET held = 0 WHERE id = {NOSTRO}"
        ),
        {"locks_follow_lives"},
    ),
    "a hold was removed": (
        f"DELETE FROM fund_locks WHERE settlement_id = {SENT}",
        {"held", "locks_follow_lives"},
    ),
    "a hold stands for nobody": (
        (
            "INSERT INTO fund_locks SELECT gen_random_uuid(), account_id, amount_minor, currency,"
            f" locked_at, now(), 'released' FROM fund_locks WHERE settlement_id = {SENT}"
        ),
        {"locks_have_lives"},
    ),
    "a hold is on an account that does not exist": (
        f"UPDATE fund_locks SET account_id = 999 WHERE settlement_id = {COMPLETED}",
        {"locks_have_accounts"},
    ),
    "a hold is on the account of another bank": (
        (
            "UPDATE fund_locks SET account_id = (SELECT id FROM accounts WHERE kind = 'vostro')"
            f" WHERE settlement_id = {COMPLETED}"
        ),
        {"locks_have_accounts"},
    ),
    "a hold is in another currency": (
        f"UPDATE fund_locks SET currency = 'USD' WHERE settlement_id = {SENT}",
        {"locks_have_accounts"},
    ),
    "an account is below its limit": (
        f"UPDATE accounts SET credits_posted = 10 ^ 10 WHERE id = {NOSTRO}",
        {"balances", "conservation", "no_overdraft"},
    ),
    "a vostro account is below its limit": (
        "UPDATE accounts SET debits_posted = 10 ^ 10 WHERE kind = 'vostro'",
        {"balances", "conservation", "no_overdraft"},
    ),
    "an attempt was removed": (
        f"DELETE FROM attempts WHERE settlement_id = {SENT}",
        {"attempts_follow_lives"},
    ),
    "an attempt names another account": (
        f"UPDATE attempts SET source_id = target_id WHERE settlement_id = {COMPLETED}",
        {"locks_have_accounts", "postings_follow_lives"},
    ),
    "a move was removed from the middle": (
        f"DELETE FROM moves WHERE settlement_id = {SENT} AND seq = 2",
        {"lives_are_whole", "stream_is_whole"},
    ),
    "the last move was removed": (
        "DELETE FROM moves WHERE position = (SELECT max(position) FROM moves)",
        {"lives_are_whole", "stream_is_whole"},
    ),
    "a move was rewritten": (
        (
            f"UPDATE moves SET event = 'refused', to_state = 'failed'"
            f" WHERE settlement_id = {SENT} AND from_state = 'validating'"
        ),
        {"lives_are_whole"},
    ),
    "moves were numbered anew": (
        f"UPDATE moves SET seq = seq + 1 WHERE settlement_id = {SENT} AND seq = 3",
        {"lives_are_whole"},
    ),
    "a state was changed without a move": (
        f"UPDATE settlement_transactions SET state = 'in_doubt' WHERE id = {SENT}",
        {"lives_are_whole"},
    ),
    "a settlement was removed": (
        f"DELETE FROM settlement_transactions WHERE id = {SENT}",
        {"locks_have_lives", "open_are_open"},
    ),
    "an open settlement was forgotten": (
        "DELETE FROM open_settlements",
        {"open_are_open"},
    ),
    "an ended settlement was opened again": (
        f"INSERT INTO open_settlements VALUES ({COMPLETED}, 0, 1, 0, now())",
        {"open_are_open"},
    ),
    "the head of the stream was set back": (
        "UPDATE stream_head SET position = position - 1",
        {"stream_is_whole"},
    ),
    "a position was left out": (
        (
            "UPDATE moves SET position = position + 1"
            " WHERE position = (SELECT max(position) FROM moves)"
        ),
        {"stream_is_whole"},
    ),
}


@pytest.fixture
async def scene(database_url: str) -> AsyncIterator[Scene]:
    """One settlement completed and one on its way."""
    stores = PostgresStores(database_url)
    made = await Scene.open(stores)
    await made.bring(State.COMPLETED)
    sent = await made.bring(State.SENT)
    await made.move(sent, Event.NO_ANSWER, rest_seconds=0.0)
    yield made
    await stores.close()


async def test_each_check_notices_what_is_done_behind_the_guards(scene):
    """One database for all: after each change the rows are put back as they were."""
    assert list((await scene.stores.auditor.prove()).differences) == []
    connection = await asyncpg.connect(scene.stores.url)
    try:
        await without_guards(connection)
        for what, (change, expected) in TAMPERED.items():
            kept = await keep(connection)
            await connection.execute(change)
            proof = await scene.stores.auditor.prove()
            assert {each.check for each in proof.differences} == expected, what
            assert all(each.expected != each.found for each in proof.differences), what
            assert all(each.subject for each in proof.differences), what
            await restore(connection, kept)
            assert list((await scene.stores.auditor.prove()).differences) == [], what
    finally:
        await connection.close()


async def without_guards(connection):
    """Do what only a superuser can who means it."""
    for table in GUARDED:
        await connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL")
    await connection.execute("ALTER TABLE accounts DROP CONSTRAINT no_overdraft")


KEPT = (*GUARDED, "open_settlements", "stream_head")


async def keep(connection):
    return {
        table: await connection.fetch(f"SELECT t.*::text AS row FROM {table} AS t")
        for table in KEPT
    }


async def restore(connection, kept):
    async with connection.transaction():
        for table, rows in kept.items():
            await connection.execute(f"DELETE FROM {table}")
            await connection.execute(
                f"INSERT INTO {table} OVERRIDING SYSTEM VALUE"
                f" SELECT (r::{table}).* FROM unnest($1::text[]) AS r",
                [row["row"] for row in rows],
            )


def test_every_check_is_made_to_fail():
    noticed = {check for _, expected in TAMPERED.values() for check in expected}
    assert noticed == {name.removeprefix("prove_") for name in checks()}


def test_the_store_in_memory_knows_the_same_checks():
    assert list(CHECKS) == [name.removeprefix("prove_") for name in checks()]


@pytest.mark.parametrize("event", [Event.SETTLED, Event.REJECTED])
async def test_a_payment_whose_hold_is_missing_is_not_ended(scene, event):
    """The page alone does not know it: what was locked may have been lost behind the guards."""
    settlement = await scene.bring(State.LOCKED)
    connection = await asyncpg.connect(scene.stores.url)
    try:
        await without_guards(connection)
        await connection.execute("DELETE FROM fund_locks WHERE settlement_id = $1", settlement.id)
    finally:
        await connection.close()
    before = await scene.everything(settlement)
    with pytest.raises(InvariantViolated) as refused:
        await scene.apply(scene.step(settlement, event))
    assert "holds to resolve" in refused.value.why
    assert await scene.everything(settlement) == before


async def test_what_is_wrong_everywhere_is_listed_up_to_a_bound(scene):
    connection = await asyncpg.connect(scene.stores.url)
    try:
        await without_guards(connection)
        await connection.execute(
            "INSERT INTO fund_locks SELECT gen_random_uuid(), 1, 1, 'EUR', now(), now(), 'released'"
            " FROM generate_series(1, $1)",
            DIFFERENCES_MAX + 5,
        )
    finally:
        await connection.close()
    proof = await scene.stores.auditor.prove()
    found = [each for each in proof.differences if each.check == "locks_have_lives"]
    assert len(found) == DIFFERENCES_MAX
