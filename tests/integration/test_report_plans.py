"""Reports over a long history: a page reads a bounded number of rows, and a report its date only.

Rows are counted with EXPLAIN ANALYZE, and time is never measured.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import asyncpg
import pytest
import pytest_asyncio

from settlement_engine.domain.past_balances import BookingDay
from settlement_engine.domain.settlement_report import (
    MOVES_AT_ONCE,
    ReportedSettlement,
    ReportSpan,
    SettlementReportFilter,
    report_totals,
)
from settlement_engine.store.queries import query
from tests.integration.test_past_balances import nodes, rows_read
from tests.support.stores import PostgresStores

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.databases import Databases

pytestmark = pytest.mark.asyncio(loop_scope="module")

SETTLEMENTS = 60_000
DAYS = 30
A_DAY = SETTLEMENTS // DAYS
BEGINS = datetime(2026, 1, 1, tzinfo=UTC)
ONE = timedelta(days=1)

FILL = """
SET session_replication_role = replica;
CREATE TEMP TABLE made AS
SELECT n, lpad(to_hex(n), 32, '0')::uuid AS id, '2026-01-01Z'::timestamptz + interval '30 days' * n / 60000.0 AS at
FROM generate_series(0, 59999) AS n;
INSERT INTO settlement_transactions (
    id, key_hash, caller, idempotency_key, content_hash, obligation_id, from_bank, to_bank,
    amount_minor, currency, value_date, priority, state, seq, attempt, holds_obligation, created_at, ended_at
)
SELECT id, md5(n::text)::uuid, 'fill', n::text, '\\x00', 'OB-' || n, 'ALPHA' || n % 3, 'BETA' || n % 3, 1 + n % 97,
    CASE n % 3 WHEN 0 THEN 'EUR' WHEN 1 THEN 'USD' ELSE 'JPY' END, '2026-01-01', 1, 'completed', 2, 1, true, at, at
FROM made;
INSERT INTO moves (position, settlement_id, seq, from_state, event, to_state, at, epoch, attempt)
SELECT 2 * n + k, id, k, CASE k WHEN 1 THEN 'pending' ELSE 'sent' END::settlement_state,
    CASE k WHEN 1 THEN 'admitted' ELSE 'settled' END::settlement_event,
    CASE k WHEN 1 THEN 'validating' ELSE 'completed' END::settlement_state, at, 1, 1
FROM made, generate_series(1, 2) AS k ORDER BY n, k;
INSERT INTO transfers (group_id, leg, debit_id, credit_id, amount_minor, currency, at)
SELECT m.id, 1, 1, 2, s.amount_minor, s.currency, m.at FROM made AS m JOIN settlement_transactions AS s ON s.id = m.id
ORDER BY m.n;
SET session_replication_role = origin;
SELECT brin_summarize_new_values('moves_by_time');
ANALYZE
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stores(databases: Databases) -> AsyncIterator[PostgresStores]:
    url = await databases.migrated()
    connection = await asyncpg.connect(url)
    await connection.execute("SET synchronous_commit = off")
    for statement in FILL.split(";\n"):
        await connection.execute(statement)
    await connection.close()
    made = PostgresStores(url)
    yield made
    await made.close()
    await databases.drop(url)


async def test_a_report_has_its_date_and_sums_of_each_currency(stores):
    day = BookingDay(BEGINS + 20 * ONE, BEGINS + 21 * ONE)
    span = ReportSpan(day=day, as_of=day.ends)
    rows: list[ReportedSettlement] = []
    place, pages = await stores.reports.report_place(span), 0
    while place is not None:
        page = await stores.reports.reported(span, SettlementReportFilter(), place)
        assert len(page.rows) <= MOVES_AT_ONCE
        rows, place, pages = [*rows, *page.rows], page.following, pages + 1
    assert (len(rows), len({each.id for each in rows})) == (A_DAY, A_DAY)
    assert pages == 2 * A_DAY // MOVES_AT_ONCE
    connection = await asyncpg.connect(stores.url)
    sums = await connection.fetch(
        "SELECT currency, sum(amount_minor)::bigint AS total FROM transfers WHERE at >= $1 AND at < $2"
        " GROUP BY 1 ORDER BY 1",
        *day,
    )
    await connection.close()
    found = [(each.currency, each.settled_minor) for each in report_totals(rows)]
    assert found == [(each["currency"], each["total"]) for each in sums]
    assert len(found) == 3


@pytest.mark.parametrize("days", [1, 15, 29])
async def test_a_page_reads_its_moves_and_the_place_is_found_without_the_rest(stores, days):
    begins = BEGINS + days * ONE
    connection = await asyncpg.connect(stores.url)
    place = await explain(connection, "report_place", begins, begins + ONE)
    assert place < 4 * A_DAY
    first = 2 * A_DAY * days
    page = (first, first + MOVES_AT_ONCE, begins, begins + ONE, begins + ONE)
    for filters in ((None, None, None), ("failed", None, None), (None, "NOBODY", "CHF")):
        assert (
            await explain(connection, "reported_settlements", *page, *filters) < 8 * MOVES_AT_ONCE
        )
    await connection.close()


async def explain(connection, name, *arguments) -> float:
    """Count the rows that a statement reads."""
    text = await connection.fetchval(
        f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {query(name)}", *arguments
    )
    return sum(rows_read(each) for each in nodes(json.loads(text)[0]["Plan"]))
