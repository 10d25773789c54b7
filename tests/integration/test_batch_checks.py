"""What refers to appended rows is checked for a whole batch: no entry, match or member of one is an orphan."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import asyncpg
import pytest

from settlement_engine.store.database import WRITERS_PLAN, connect
from settlement_engine.store.queries import query
from tests.integration.test_past_balances import nodes, rows_read
from tests.support.stores import patient_settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

RUN = "00000000-0000-0000-0000-000000000001"
STATEMENT = """
INSERT INTO statements (
    file_sha256, place, outcome, reason, is_kept, account_id, source, identifier, servicer, currency, bank_statement_id,
    created, begins, ends, opening_is_final, closing_is_final, booked_minor, totals_differ, entries, content_hash,
    identity_hash, period_hash, content, imported_by
)
SELECT f.sha256, '', 'IMPORTED', '', true, 1, 'camt.053', '', '', 'EUR', '', '', '2026-01-01', '2026-01-01', true, true,
    0, false, 1, f.sha256, f.sha256, f.sha256, '{}', 'ada'
FROM statement_files AS f
"""
PARENTS = [
    (
        "INSERT INTO statement_files (sha256, name, csv_mapping, content, received_by)"
        " VALUES (sha256('x'), 'x', '', 'x', 'ada')"
    ),
    STATEMENT,
]
ENTRY = (
    "INSERT INTO statement_entries (statement_id, number, amount_minor, currency, status, is_reversal, code, text, refs,"
    " details_differ, identity_hash, occurrence)"
    " SELECT {0}, 1, -1, 'EUR', 'BOOKED', false, '', '', '{{}}', false, sha256('x'), 1"
)
MATCH = (
    "INSERT INTO matches (account_id, run_id, matched_by, rules_version, explanation, is_automatic, settled_on)"
    " VALUES (1, '{0}', 'a', '1', '', true, '2026-01-01')"
)
DETAIL = (
    "INSERT INTO entry_details (statement_id, entry_number, number, charges_minor, text, refs)"
    " SELECT 1, n, 1, 0, '', '{{}}' FROM generate_series(1, {0}) AS n"
)
EVIDENCE = (
    "INSERT INTO statement_evidence (statement_id, entry_number, detail_number, settlement_id, attempt, kind, says,"
    " amount_minor, nth, is_counted, is_news)"
    f" SELECT 1, n, 0, '{RUN}', 1, 'debit', 'debit', 1, n, true, false FROM generate_series(1, {{0}}) AS n"
)
POSTING = (
    "INSERT INTO match_postings (group_id, posting, leg, account_id, turn, match_id, amount_minor, booked_on)"
    f" SELECT '{RUN}', n, 1, 1, 1, n, 1, '2026-01-01' FROM generate_series(1, {{0}}) AS n"
)
MEMBER = (
    "INSERT INTO match_entries (statement_id, entry_number, turn, match_id, amount_minor, booked_on)"
    " VALUES (1, {0}, 1, {1}, 1, '2026-01-01')"
)
BEGIN_RUN = (
    "INSERT INTO reconciliation_runs (id, started_for, who, rules_version)"
    f" VALUES ('{RUN}', 'demand', 'ada', '1')"
)


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database_url)
    for each in PARENTS:
        await connection.execute(each)
    yield connection
    await connection.close()


async def test_a_batch_with_an_orphan_is_refused(connection):
    async def refused(statement: str) -> None:
        with pytest.raises(asyncpg.ForeignKeyViolationError, match="which is not there"):
            await connection.execute(statement)

    await refused(ENTRY.format(2))
    await connection.execute(ENTRY.format(1))
    for each in (DETAIL, EVIDENCE):
        await refused(each.format(2))
        await connection.execute(each.format(1))
    await refused(MATCH.format(RUN))
    await connection.execute(BEGIN_RUN)
    [match_id] = await connection.fetch(f"{MATCH.format(RUN)} RETURNING id")
    here = match_id["id"]
    posting = POSTING.replace(", 1, n, 1, '2026", f", 1, {here} - 1 + n, 1, '2026")
    await refused(posting.format(2))
    await connection.execute(posting.format(1))
    await refused(MEMBER.format(1, here + 1))
    await refused(MEMBER.format(2, here))
    await connection.execute(MEMBER.format(1, here))


MATCHES = """
INSERT INTO matches (account_id, run_id, matched_by, rules_version, explanation, is_automatic, settled_on)
SELECT 1, '{run}', 'a', '1', '', true, '2026-01-05' FROM generate_series(1, {matches});
INSERT INTO match_postings (group_id, posting, leg, account_id, turn, match_id, amount_minor, booked_on)
SELECT lpad(to_hex(n), 32, '0')::uuid, 1, 2, 1, 1, n, 1, '2026-01-01'
FROM generate_series({first}, {first} + {matches}) AS n;
INSERT INTO match_entries (statement_id, entry_number, turn, match_id, amount_minor, booked_on)
VALUES (1, 1, 1, {first}, 1, '2026-01-01');
INSERT INTO unmatches (match_id, who, reason)
SELECT n, 'ada', 'another one' FROM generate_series({first}, {first} + {matches}) AS n
"""
SCANNED = """
SELECT relname, seq_scan FROM pg_stat_xact_user_tables
WHERE relname IN ('match_postings', 'match_entries', 'timing_postings', 'timing_entries', 'matches')
"""


async def test_what_keeps_the_days_of_matched_items_reads_no_table_whatever_its_size(connection):
    """The plan of the first, large batch stays in the session when the tables have grown."""
    await connection.execute(ENTRY.format(1))
    await connection.execute(BEGIN_RUN)
    await connection.execute("ALTER TABLE match_postings DISABLE TRIGGER one_live_match")
    await connection.execute("ALTER TABLE match_entries DISABLE TRIGGER one_live_match")
    transaction = connection.transaction()
    await transaction.start()
    first = await connection.fetchval(f"{MATCH.format(RUN)} RETURNING id")
    for statement in MATCHES.format(run=RUN, matches=5_000, first=first).split(";\n"):
        await connection.execute(statement)
    scanned = await connection.fetch(SCANNED)
    assert len(scanned) == 5
    assert [each for each in scanned if each["seq_scan"]] == []
    left = "SELECT (SELECT count(*) FROM timing_postings) + (SELECT count(*) FROM timing_entries)"
    assert await connection.fetchval(left) == 0
    await transaction.rollback()


QUEUE = """
SET session_replication_role = replica;
CREATE TEMP TABLE made AS
SELECT n, lpad(to_hex(n), 32, '0')::uuid AS id, now() AS at FROM generate_series(1, 30000) AS n;
INSERT INTO settlement_transactions (
    id, key_hash, caller, idempotency_key, content_hash, obligation_id, from_bank, to_bank,
    amount_minor, currency, value_date, priority, state, seq, attempt, holds_obligation, created_at, ended_at
)
SELECT id, md5(n::text)::uuid, 'fill', n::text, '\\x00', 'OB-' || n, 'ALPHA', 'BETA', 100, 'EUR', '2026-01-01', 1,
    'completed', 2, 1, true, at, at
FROM made;
INSERT INTO moves (position, settlement_id, seq, from_state, event, to_state, at, epoch, attempt)
SELECT n, id, 2, 'sent', 'settled', 'completed', at, 1, 1 FROM made;
INSERT INTO open_settlements (settlement_id, owner, epoch, asked, due_at)
SELECT id, 0, 1, 0, 'infinity' FROM made;
ANALYZE;
DELETE FROM open_settlements;
VACUUM open_settlements;
SET session_replication_role = origin
"""


async def test_cases_are_looked_for_among_what_is_open_even_if_much_was_open_just_now(database_url):
    """Once a second every engine asks this; the statistics are those of the busiest moment."""
    filling = await asyncpg.connect(database_url)
    for statement in QUEUE.split(";\n"):
        await filling.execute(statement)
    await filling.close()
    asking = await connect(patient_settings(database_url), WRITERS_PLAN)
    for name, arguments in (
        ("open_held", [100]),
        ("open_doubts", [[""], [1.0], [1.0], 100]),
    ):
        text = await asking.fetchval(
            f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) {query(name)}", *arguments
        )
        plan = json.loads(text)[0]["Plan"]
        assert sum(rows_read(each) for each in nodes(plan)) < 1_000, name
        assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 1_000, name
    await asking.close()
