"""The items of a past day are read by an index: a small multiple of what a page returns, however long the history.

What a statement reads is counted with EXPLAIN ANALYZE, in tables that were never analysed and in analysed ones. Time is
never measured.
"""

from __future__ import annotations

import json
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
import pytest_asyncio

from settlement_engine.domain.open_items import ItemPart, added_up
from settlement_engine.ports import OpenItemFilter
from settlement_engine.store.open_items import behind, statement_of
from settlement_engine.store.queries import query
from tests.integration.test_past_balances import nodes, rows_read
from tests.support.stores import PostgresStores

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from settlement_engine.domain.open_items import ItemPlace
    from tests.support.databases import Databases

pytestmark = pytest.mark.asyncio(loop_scope="module")

BEGINS = date(2024, 1, 1)
DAYS = 600
MATCHES_A_DAY = 100
OPEN = 2_000
PAGE = 50

READ_MAX = 10 * PAGE
"""Of each span at most a page is read, and each item has a few rows in other tables: independent of DAYS."""

FILL = f"""
SET session_replication_role = replica;
ALTER TABLE statement_entries DISABLE TRIGGER ALL;
ALTER TABLE matches DISABLE TRIGGER ALL;
ALTER TABLE match_postings DISABLE TRIGGER one_live_match;
ALTER TABLE match_postings DISABLE TRIGGER no_orphans;
ALTER TABLE match_entries DISABLE TRIGGER one_live_match;
ALTER TABLE match_entries DISABLE TRIGGER no_orphans;
ALTER TABLE transfers DISABLE TRIGGER ALL;
ALTER TABLE accounts DISABLE TRIGGER ALL;
INSERT INTO accounts (id, kind, bank, account_number, currency)
OVERRIDING SYSTEM VALUE
SELECT n, (CASE WHEN n < 3 THEN 'nostro' ELSE 'vostro' END)::account_kind, 'BANK' || n, 'N' || n, 'EUR'
FROM generate_series(1, 3) AS n;
CREATE TEMP TABLE made AS
SELECT n, lpad(to_hex(n), 32, '0')::uuid AS id, 1 + n % 2 AS account_id, '{BEGINS}'::date + n / {MATCHES_A_DAY} AS day,
    CASE n % 20 WHEN 0 THEN n % 90 WHEN 1 THEN n % 6 WHEN 2 THEN 1 ELSE 0 END AS days
FROM generate_series(1, {DAYS * MATCHES_A_DAY}) AS n;
INSERT INTO transfers (group_id, posting, leg, debit_id, credit_id, amount_minor, currency, at, reference)
SELECT id, 1, 2, 3, account_id, 1 + n % 97, 'EUR', day, '' FROM made;
INSERT INTO matches (account_id, run_id, matched_by, rules_version, explanation, is_automatic, settled_on)
SELECT account_id, id, 'our-reference', '', '', true, day + days FROM made ORDER BY n;
INSERT INTO match_postings (group_id, posting, leg, account_id, turn, match_id, amount_minor, booked_on)
SELECT id, 1, 2, account_id, 1, n, -(1 + n % 97), CASE WHEN n % 40 < 20 THEN day ELSE day + days END FROM made;
INSERT INTO match_entries (statement_id, entry_number, turn, match_id, amount_minor, booked_on)
SELECT 1 + n / 1000, n % 1000, 1, n, -(1 + n % 97), CASE WHEN n % 40 < 20 THEN day + days ELSE day END FROM made;
INSERT INTO unmatches (match_id, who, reason) SELECT n, 'ada', 'another one' FROM made WHERE n % 1000 = 0;
INSERT INTO open_postings (
    account_id, group_id, posting, leg, amount_minor, currency, booked_on, value_date, our_references, end_to_end,
    rail_references, batch, keys
)
SELECT account_id, id, 2, 2, -5, 'EUR', day, day, '{{}}', '', '{{}}', '', '{{}}' FROM made
WHERE n % {DAYS * MATCHES_A_DAY // OPEN} = 0;
INSERT INTO open_entries (account_id, statement_id, entry_number, booked_on, amount_minor)
SELECT account_id, 1000 + n, 1, day, 3 FROM made WHERE n % {DAYS * MATCHES_A_DAY // OPEN} = 7;
INSERT INTO statement_entries (
    statement_id, number, amount_minor, currency, status, booking_date, value_date, is_reversal, code, text, refs,
    details_differ, identity_hash, occurrence
)
SELECT q.s, q.e, 1, 'EUR', 'BOOKED', '2026-01-01', '2026-01-01', false, '', '', '{{}}', false,
    sha256(convert_to(q.s || '/' || q.e, 'UTF8')), 1
FROM (
    SELECT statement_id AS s, entry_number AS e FROM match_entries WHERE entry_number > 0
    UNION ALL
    SELECT statement_id, entry_number FROM open_entries
) AS q;
SET session_replication_role = origin
"""

OF_A_DAY = """
SELECT sum(CASE side WHEN 't' THEN minor ELSE 0 END)::bigint, sum(CASE side WHEN 'o' THEN minor ELSE 0 END)::bigint,
    count(*) FILTER (WHERE side = 't'), count(*) FILTER (WHERE side = 'o')
FROM (
    SELECT 't' AS side, e.amount_minor AS minor FROM match_entries AS e JOIN matches AS m ON m.id = e.match_id
    WHERE m.account_id = $1 AND e.booked_on <= $2 AND m.settled_on > $2 AND e.entry_number > 0
        AND NOT EXISTS (SELECT FROM unmatches AS u WHERE u.match_id = m.id)
    UNION ALL
    SELECT 'o', p.amount_minor FROM match_postings AS p JOIN matches AS m ON m.id = p.match_id
    WHERE m.account_id = $1 AND p.booked_on <= $2 AND m.settled_on > $2
        AND NOT EXISTS (SELECT FROM unmatches AS u WHERE u.match_id = m.id)
    UNION ALL
    SELECT 't', amount_minor FROM open_entries WHERE account_id = $1 AND booked_on <= $2
    UNION ALL
    SELECT 'o', amount_minor FROM open_postings WHERE account_id = $1 AND booked_on <= $2
) AS q
"""

TABLES = (
    *("timing_postings", "timing_entries", "open_postings", "open_entries", "matches"),
    *("match_postings", "match_entries", "statement_entries", "transfers"),
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def url(databases: Databases) -> AsyncIterator[str]:
    made = await databases.migrated()
    connection = await asyncpg.connect(made)
    await connection.execute("SET synchronous_commit = off")
    for table in TABLES:
        await connection.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
    for statement in FILL.split(";\n"):
        await connection.execute(statement)
    await connection.close()
    yield made
    await databases.drop(made)


DAYS_ASKED = [BEGINS + timedelta(number) for number in (0, 1, 37, DAYS // 2, DAYS - 1, DAYS + 60)]


def wanted_on(day: date, limit: int, after: ItemPlace | None = None) -> OpenItemFilter:
    return OpenItemFilter(account_id=1, day=day, begins=None, limit=limit, after=after)


async def test_the_items_are_those_of_the_whole_history(url):
    stores = PostgresStores(url)
    connection = await asyncpg.connect(url)
    for day in DAYS_ASKED:
        due = await connection.fetchrow(OF_A_DAY, 1, day)
        assert due is not None
        found, after = [], None
        while page := await stores.reconciled.open_items(wanted_on(day, 700, after)):
            found += page
            after = page[-1].place
        sums = added_up(found)
        assert (sums.theirs_minor, sums.ours_minor, sums.theirs, sums.ours) == tuple(due), day
    await connection.close()
    await stores.close()


@pytest.mark.parametrize("is_analysed", [False, True])
async def test_no_page_reads_the_history(url, is_analysed):
    stores = PostgresStores(url)
    connection = await asyncpg.connect(url)
    if is_analysed:
        await connection.execute("ANALYZE")
    too_much = []
    for day in DAYS_ASKED:
        every = await stores.reconciled.open_items(wanted_on(day, 10_000))
        for part in ItemPart:
            own = [each.place for each in every if each.place.part is part]
            for after in (None, *own[:1], *own[len(own) // 2 :][:1], *own[-1:]):
                read = await read_by(connection, part, wanted_on(day, PAGE, after))
                if read > READ_MAX:
                    too_much.append((day, part, after, read))
    await connection.close()
    await stores.close()
    assert too_much == []


async def read_by(connection: Any, part: ItemPart, wanted: OpenItemFilter) -> float:
    """Return how many rows the statement of a part reads, planned as the store plans it."""
    values = (wanted.account_id, wanted.day, *behind(part, wanted, wanted.after), wanted.limit)
    literals = ", ".join(
        "NULL" if each is None else str(each) if isinstance(each, int) else f"'{each}'"
        for each in values
    )
    await connection.execute(f"PREPARE items AS {query(statement_of(part))}")
    await connection.execute("SET plan_cache_mode = force_custom_plan")
    text = await connection.fetchval(
        f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) EXECUTE items ({literals})"
    )
    await connection.execute("DEALLOCATE items")
    found = [each for each in nodes(json.loads(text)[0]["Plan"]) if "Relation Name" in each]
    return sum(rows_read(each) for each in found)
