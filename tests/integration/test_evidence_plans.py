"""The search of statements reads what its step is about, in tables that have grown just now and were never analysed.

What a step reads is counted with EXPLAIN ANALYZE: rows, and pages of the tables. Time is never measured.
"""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, NamedTuple

import asyncpg
import pytest
import pytest_asyncio

from settlement_engine.store.database import connect
from settlement_engine.store.queries import query
from settlement_engine.store.statement_evidence import EVIDENCE_PLAN
from tests.integration.test_past_balances import nodes, rows_read
from tests.support.stores import patient_settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from settlement_engine.store.database import Connection
    from tests.support.databases import Databases

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAYMENTS = 60_000
AT_ONCE = 500

FILL = """
SET session_replication_role = replica;
ALTER TABLE statement_entries DISABLE TRIGGER no_orphans;
ALTER TABLE entry_details DISABLE TRIGGER no_orphans;
ALTER TABLE statement_evidence DISABLE TRIGGER no_orphans;
ALTER TABLE attempts SET (autovacuum_enabled = off);
DROP INDEX attempts_by_message_id;
CREATE INDEX attempts_by_message_id ON attempts USING brin (message_id text_bloom_ops) WITH (pages_per_range = 16);
ALTER TABLE settlement_transactions SET (autovacuum_enabled = off);
ALTER TABLE statement_entries SET (autovacuum_enabled = off);
ALTER TABLE entry_details SET (autovacuum_enabled = off);
ALTER TABLE statement_evidence SET (autovacuum_enabled = off);
CREATE TEMP TABLE made AS
SELECT n, lpad(to_hex(n), 32, '0')::uuid AS id, now() AS at FROM generate_series(1, 60000) AS n;
INSERT INTO settlement_transactions (
    id, key_hash, caller, idempotency_key, content_hash, obligation_id, from_bank, to_bank,
    amount_minor, currency, value_date, priority, state, seq, attempt, holds_obligation, created_at, ended_at
)
SELECT id, md5(n::text)::uuid, 'fill', n::text, '\\x00', 'OB-' || n, 'ALPHA', 'BETA', 100, 'EUR', '2026-01-01', 1,
    'completed', 2, 1, true, at, at
FROM made;
INSERT INTO attempts (
    settlement_id, number, rail, source_id, agent_id, clearing_id, target_id, uetr, end_to_end_id, message_id, payload,
    valid_until, recorded_at
)
SELECT id, 1, 'swift', 1, 2, 3, 4, id, 'E' || n, 'M' || n, repeat('p', 300)::bytea, at, at FROM made;
INSERT INTO statement_entries (
    statement_id, number, amount_minor, currency, status, booking_date, value_date, is_reversal, code, text, refs,
    details_differ, identity_hash, occurrence
)
SELECT 10 + n, 1, -100, 'EUR', 'BOOKED', '2026-01-01', '2026-01-01', false, '', '', '{}', false, sha256(n::text::bytea),
    1
FROM generate_series(1, 5000) AS n;
ANALYZE statement_entries;
INSERT INTO statement_entries (
    statement_id, number, amount_minor, currency, status, booking_date, value_date, is_reversal, code, text, refs,
    details_differ, identity_hash, occurrence
)
SELECT s, n, -100, 'EUR', 'BOOKED', '2026-01-01', '2026-01-01', false, '', '', '{}', false, sha256(n::text::bytea), 1
FROM generate_series(1, 3) AS s, generate_series(1, 20000) AS n;
INSERT INTO entry_details (statement_id, entry_number, number, amount_minor, charges_minor, text, refs)
SELECT s, n, 1, -100, 0, '', '{}' FROM generate_series(1, 3) AS s, generate_series(1, 20000) AS n;
INSERT INTO statement_evidence (
    statement_id, entry_number, detail_number, settlement_id, attempt, kind, says, amount_minor, nth, is_counted, is_news
)
SELECT 1, n, 1, id, 1, 'debit', 'debit', 100, 1, true, false FROM made WHERE n <= 20000;
INSERT INTO open_postings (
    account_id, group_id, posting, leg, amount_minor, currency, booked_on, value_date, our_references, end_to_end,
    rail_references, batch, keys
)
SELECT 1 + n % 2, id, 1, 1, -100, 'EUR', '2026-01-31', '2026-01-31', '{}', '', '{}', '', '{}' FROM made;
UPDATE open_postings SET booked_on = '2026-01-02' WHERE id <= 100;
INSERT INTO reconciliation_accounts (account_id) VALUES (1), (2);
INSERT INTO proofs (
    account_id, booking_date, run_id, currency, our_closing_minor, unmatched_theirs_minor, unmatched_ours_minor,
    opening_difference_minor, difference_minor, their_closing_minor, unmatched_theirs, unmatched_ours, held_back_by,
    is_zero
)
SELECT n, '2026-01-31', id, 'EUR', 0, 0, 0, 0, 0, 0, 0, 0, '', true FROM made WHERE n <= 2;
INSERT INTO statements (
    file_sha256, place, outcome, reason, is_kept, account_id, source, identifier, servicer, currency, bank_statement_id,
    created, begins, ends, opening_is_final, closing_is_final, booked_minor, totals_differ, entries, content_hash,
    identity_hash, period_hash, content, imported_by
)
SELECT sha256(n::text::bytea), '', 'IMPORTED', '', true, n, 'camt.053', '', '', 'EUR', '', '', '2026-01-01',
    '2026-01-31', true, true, 0, false, 0, sha256(n::text::bytea), sha256(n::text::bytea), sha256(n::text::bytea), '{}',
    'fill'
FROM made WHERE n <= 2;
SET session_replication_role = origin
"""


class Read(NamedTuple):
    """What a statement has read: rows of tables, and pages."""

    rows: float
    pages: int


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def connection(databases: Databases) -> AsyncIterator[Connection]:
    """A connection as the search has it, to a database whose tables have grown just now."""
    url = await databases.migrated()
    filling = await asyncpg.connect(url)
    await filling.execute("SET synchronous_commit = off")
    for statement in FILL.split(";\n"):
        await filling.execute(statement)
    await filling.close()
    made = await connect(patient_settings(url), EVIDENCE_PLAN)
    yield made
    await made.close()
    await databases.drop(url)


async def read(connection: Connection, name: str, *arguments: object) -> Read:
    """Count what a statement reads."""
    text = await connection.fetchval(
        f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) {query(name)}", *arguments
    )
    plan = json.loads(text)[0]["Plan"]
    pages = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
    return Read(sum(rows_read(each) for each in nodes(plan)), pages)


@pytest.mark.parametrize("entry", [0, 10_000, 19_400])
async def test_a_step_reads_its_own_rows_of_a_statement(connection, entry):
    """The statistics are of a time when each statement had one entry."""
    found = await read(connection, "unsearched_rows", 2, entry, 1, AT_ONCE)
    assert AT_ONCE < found.rows < 5 * AT_ONCE
    assert found.pages < 10 * AT_ONCE


NAMES = [f"{30_000 + place}" for place in range(AT_ONCE)]
IDS = [uuid.UUID(int=int(name)) for name in NAMES]
ENDS = [f"E{name}" for name in NAMES]


async def test_the_payments_of_a_step_are_found_without_reading_the_others(connection):
    """The Bloom filters are not made yet, as for the payments of the last minute."""
    places = list(range(AT_ONCE))
    none: tuple[list[int], list[object]] = ([], [])
    columns = [*(places, IDS), *(places, ENDS), *none, *none, *none]
    found = await read(connection, "mentioned_payments", *columns, 1)
    assert 2 * AT_ONCE < found.rows < 5 * AT_ONCE
    assert found.pages < 15 * AT_ONCE


async def test_what_has_no_summary_is_read_once_for_all_names_of_messages(connection):
    none: tuple[list[int], list[object]] = ([], [])
    named = (list(range(AT_ONCE)), [f"M{name}" for name in NAMES])
    found = await read(connection, "mentioned_payments", *none, *none, *named, *none, *none, 1)
    assert PAYMENTS < found.rows < PAYMENTS + 5 * AT_ONCE


async def test_a_report_without_the_name_of_a_message_does_not_look_for_one(connection):
    """The same question for messages that come in: null is no name."""
    void = [None] * AT_ONCE
    reports = (
        *([1] * AT_ONCE, list(range(1, AT_ONCE + 1)), ["{}"] * AT_ONCE, IDS, ENDS),
        *(void, void, void, void, void),
    )
    async with connection.transaction():
        found = await read(
            connection, "record_inbound", ["swift"], ["pushed"], ["R"], [b"x"], *reports, [""], [""]
        )
    assert found.rows < 5 * AT_ONCE
    assert found.pages < 30 * AT_ONCE


async def test_what_was_told_of_payments_is_read_by_payment(connection):
    ids = [uuid.UUID(int=1 + place) for place in range(AT_ONCE)]
    found = await read(connection, "told_of_payments", ids)
    assert AT_ONCE <= found.rows < 2 * AT_ONCE
    assert found.pages < 10 * AT_ONCE


async def test_what_statements_lack_is_looked_for_among_old_open_postings_only(connection):
    found = await read(connection, "absent_payments", 5, AT_ONCE, ["camt.053"])
    assert 100 < found.rows < 1_000
    assert found.pages < 3_000
