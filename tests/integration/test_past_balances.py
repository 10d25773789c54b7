"""Balances of the past over a long history: read from the recorded quarters, and equal to the sums in any case."""

from __future__ import annotations

import asyncio
import json
import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
import pytest_asyncio

from settlement_engine.domain.past_balances import QUARTER
from settlement_engine.store.past_balances import QUARTERS_AT_ONCE
from settlement_engine.store.queries import query
from tests.support.stores import PostgresStores

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.support.databases import Databases

pytestmark = pytest.mark.asyncio(loop_scope="module")

HISTORY = 300_000
ACCOUNTS = 20
DAYS = 3
READ_MAX = 20_000
"""A quarter of an hour has about 1,000 transfers; the index finds them by ranges of pages."""

FILL = """
INSERT INTO transfers (group_id, leg, debit_id, credit_id, amount_minor, currency, at)
SELECT lpad(to_hex(n), 32, '0')::uuid, 1, 1 + n % 20, 1 + (n % 20 + 1 + n / 20 % 19) % 20, 1 + n % 997, 'EUR',
    date_trunc('minute', now()) - make_interval(secs => 259200.0 * ($1 - n) / $1 + 600)
FROM generate_series(1, $1::integer) AS n
"""
SUMS = """
SELECT coalesce(sum(amount_minor) FILTER (WHERE debit_id = $1), 0)::bigint AS debits,
    coalesce(sum(amount_minor) FILTER (WHERE credit_id = $1), 0)::bigint AS credits
FROM transfers WHERE at < $2
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stores(databases: Databases) -> AsyncIterator[PostgresStores]:
    url = await databases.migrated()
    connection = await asyncpg.connect(url)
    await connection.execute("SET synchronous_commit = off")
    await connection.execute(FILL, HISTORY)
    await connection.execute("SELECT brin_summarize_new_values('transfers_by_time')")
    await connection.execute("ANALYZE")
    await connection.close()
    made = PostgresStores(url)
    yield made
    await made.close()
    await databases.drop(url)


async def check(stores: PostgresStores, seed: int) -> None:
    """Compare balances at instants of the history with the sums."""
    chance = random.Random(seed)
    connection = await asyncpg.connect(stores.url)
    for _ in range(12):
        at = datetime.now(UTC) - timedelta(seconds=chance.uniform(-60, DAYS * 86_400 + 3_600))
        if chance.random() < 0.4:
            at -= (at - datetime(2000, 1, 1, tzinfo=UTC)) % QUARTER
        account_id = chance.randint(1, ACCOUNTS)
        row = await connection.fetchrow(SUMS, account_id, at)
        assert row is not None
        [found] = await stores.past_balances.balances_at([account_id], at)
        assert (found.debits_posted, found.credits_posted) == (row["debits"], row["credits"]), at
    await connection.close()


async def test_a_balance_is_right_before_anything_is_recorded_while_and_after(stores):
    """Several engines record at once; a part is recorded, then the rest."""
    await check(stores, 1)
    assert await stores.past_balances.record_balances() == QUARTERS_AT_ONCE
    await check(stores, 2)
    others = [stores.beside() for _ in range(2)]
    recorded = QUARTERS_AT_ONCE
    for _ in range(DAYS + 1):
        recorded += sum(
            await asyncio.gather(*(each.past_balances.record_balances() for each in others))
        )
    assert DAYS * 96 - 2 <= recorded <= DAYS * 96 + 2
    assert await stores.past_balances.record_balances() == 0
    await check(stores, 3)
    found = [each.check for each in await stores.differences()]
    assert "past_balances_follow_transfers" not in found


async def test_a_balance_reads_a_quarter_of_an_hour_and_not_the_history(stores):
    while await stores.past_balances.record_balances():
        pass
    connection = await asyncpg.connect(stores.url)
    await connection.execute("ANALYZE")
    for days_ago in (0.02, 1.501, 2.9):
        at = datetime.now(UTC) - timedelta(days=days_ago)
        text = await connection.fetchval(
            f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {query('balances_at')}", [1, 2], at
        )
        read = sum(rows_read(each) for each in nodes(json.loads(text)[0]["Plan"]))
        assert 0 < read < READ_MAX, text
    await connection.close()


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for each in plan.get("Plans", []):
        yield from nodes(each)


def rows_read(node: dict[str, Any]) -> float:
    """Count the rows that a node has read of a table."""
    if "Relation Name" not in node:
        return 0.0
    removed = sum(node.get(f"Rows Removed by {kind}", 0) for kind in ("Filter", "Index Recheck"))
    return float((node["Actual Rows"] + removed) * node["Actual Loops"])


async def test_recorded_balances_are_never_changed(stores):
    connection = await asyncpg.connect(stores.url)
    for table in ("past_balances", "balance_moments"):
        for change in (f"DELETE FROM {table}", f"UPDATE {table} SET at = at", f"TRUNCATE {table}"):
            with pytest.raises(asyncpg.PostgresError, match="append-only"):
                await connection.execute(change)
    await connection.close()
