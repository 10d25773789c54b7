"""Lists and look-ups over a long history read only what they return: with every filter, by every reference.

Rows are counted with EXPLAIN ANALYZE, and time is never measured. The planner has statistics, as autovacuum creates
them long before a history is long.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
import pytest_asyncio

from settlement_engine.domain.lifecycle import ENDS, State
from settlement_engine.ports import NAMED_MAX, SettlementFilter
from settlement_engine.store.queries import query
from settlement_engine.store.settlement_lists import filter_values, list_statement
from tests.support.stores import PostgresStores

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.support.databases import Databases

pytestmark = pytest.mark.asyncio(loop_scope="module")

HISTORY = 300_000
OPEN = 40
PAGE = 51
READ_MAX = 8 * PAGE
"""Both sides of a bank, each with its settlement, and the page itself: independent of HISTORY."""

RANGES_MAX = 12
"""A bank with few payments is searched in the block ranges that may contain it: of about nine hundred."""

BRIN = (
    *("settlements_by_terms", "attempts_by_message_id", "moves_by_rail_reference"),
    *("answers_by_rail_reference", "inbound_reports_by_rail_reference"),
)
"""What autovacuum summarises as the tables grow."""

FILL = """
SET session_replication_role = replica;
ALTER TABLE settlement_transactions DISABLE TRIGGER compensation_is_admitted;
INSERT INTO settlement_transactions (
    id, key_hash, caller, idempotency_key, content_hash, obligation_id, from_bank, to_bank,
    amount_minor, currency, value_date, priority, state, seq, holds_obligation, created_at, ended_at, compensates
)
SELECT lpad(to_hex(n), 32, '0')::uuid, md5(n::text)::uuid, 'fill', n::text, '\\x00', 'OB-' || n,
    CASE WHEN n % 100000 = 7 THEN 'RAREBANK' ELSE 'ALPHA' || n % 3 END, 'beta' || n % 3, 100,
    CASE WHEN n % 100000 = 9 THEN 'CHF' ELSE 'EUR' END, '2026-01-01', 1, e.state, 3,
    e.state = 'completed' OR n > $1, clock_timestamp(), CASE WHEN n <= $1 THEN clock_timestamp() END,
    CASE WHEN n % 100 = 50 THEN lpad(to_hex(n - 1), 32, '0')::uuid
        WHEN n = 4713 OR n = $1 THEN lpad(to_hex(4649), 32, '0')::uuid END
FROM generate_series(1, $1 + $2) AS n
CROSS JOIN LATERAL (SELECT (CASE
    WHEN n > $1 THEN 'sent' WHEN n % 50000 = 11 THEN 'failed' WHEN n % 50000 = 12 THEN 'returned'
    ELSE 'completed'
END)::settlement_state AS state) AS e;
ALTER TABLE settlement_transactions ENABLE ALWAYS TRIGGER compensation_is_admitted;
INSERT INTO open_settlements (settlement_id, owner, epoch, due_at)
SELECT id, 1, 1, clock_timestamp() FROM settlement_transactions WHERE state = 'sent';
INSERT INTO moves (position, settlement_id, seq, from_state, event, to_state, at, epoch, attempt, detail)
SELECT 3 * s.n + k.seq, s.id, k.seq, k.old::settlement_state, k.event::settlement_event, k.new::settlement_state,
    s.created_at, 1, 1,
    CASE WHEN k.seq = 2 THEN jsonb_build_object('rail_reference', 'R' || 3 * s.n + k.seq, 'text', repeat('-', 40))
        ELSE jsonb_build_object('text', repeat('-', 200)) END
FROM (SELECT *, row_number() OVER (ORDER BY id) AS n FROM settlement_transactions) AS s
CROSS JOIN LATERAL (
    VALUES (1, 'pending', 'admitted', 'validating'), (2, 'sent', 'settled', 'completed'),
        (3, 'completed', 'returned', 'returned')
) AS k (seq, old, event, new)
WHERE k.seq = 1 OR (k.seq = 2 AND s.state IN ('completed', 'returned'))
    OR (k.seq = 3 AND s.state = 'returned');
INSERT INTO moves (position, settlement_id, seq, from_state, event, to_state, at, epoch, attempt)
SELECT 10000000 + row_number() OVER (), id, 2, 'validating', 'refused', 'failed', created_at, 1, 0
FROM settlement_transactions WHERE state = 'failed';
INSERT INTO attempts (
    settlement_id, number, rail, source_id, agent_id, clearing_id, target_id, uetr, end_to_end_id, message_id,
    trace, payload, valid_until, recorded_at
)
SELECT id, 1, 'mock', 1, 2, 3, 4, md5('U' || n)::uuid, 'E' || n, 'M' || n,
    CASE WHEN n % 3 = 0 THEN 'T' || n END, decode(repeat('00', 300), 'hex'), created_at, created_at
FROM (SELECT *, row_number() OVER (ORDER BY id) AS n FROM settlement_transactions) AS s;
INSERT INTO payment_details (settlement_id, payment)
SELECT id, jsonb_build_object('version', 1, 'payment', jsonb_build_object('end_to_end_id', 'C' || n))
FROM (SELECT *, row_number() OVER (ORDER BY id) AS n FROM settlement_transactions) AS s;
INSERT INTO answers (settlement_id, attempt, state, event, asked, detail, at)
SELECT id, 1, 'sent', 'acknowledged', 1, jsonb_build_object('rail_reference', 'A' || n), created_at
FROM (SELECT *, row_number() OVER (ORDER BY id) AS n FROM settlement_transactions) AS s;
INSERT INTO inbound_messages (rail, source, sender_reference, sha256, content)
SELECT 'mock', 'callback', '', sha256(content), content
FROM (SELECT convert_to('message ' || n, 'UTF8') AS content FROM generate_series(1, 30) AS n) AS made;
INSERT INTO inbound_reports (message_id, number, report, settlement_id, attempt, outcome, closed_at)
SELECT 1 + n / 10000, 1 + n % 10000,
    jsonb_build_object('references', jsonb_build_object('rail_reference', 'I' || n)),
    lpad(to_hex(n + 1), 32, '0')::uuid, 1, 'applied', clock_timestamp()
FROM generate_series(0, $1 - 1) AS n;
SET session_replication_role = origin;
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def url(databases: Databases) -> AsyncIterator[str]:
    made = await databases.migrated()
    connection = await asyncpg.connect(made)
    await connection.execute("SET synchronous_commit = off")
    for statement in FILL.split(";\n"):
        if statement.strip():
            await connection.execute(statement.replace("$1", str(HISTORY)).replace("$2", str(OPEN)))
    for index in BRIN:
        await connection.execute("SELECT brin_summarize_new_values($1::regclass)", index)
    await connection.execute("ANALYZE")
    await connection.close()
    yield made
    await databases.drop(made)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def connection(url: str) -> AsyncIterator[asyncpg.Connection]:
    made = await asyncpg.connect(url)
    yield made
    await made.close()


def numbered(number: int) -> uuid.UUID:
    return uuid.UUID(int=number)


FILTERS: dict[str, dict[str, Any]] = {
    "everything": {},
    "an open state": {"states": frozenset({State.SENT})},
    "an open state that nobody is in": {"states": frozenset({State.IN_DOUBT})},
    "an end": {"states": frozenset({State.COMPLETED})},
    "a rare end": {"states": frozenset({State.FAILED})},
    "an end that nobody came to": {"states": frozenset({State.ROLLED_BACK})},
    "an end after another": {"states": frozenset({State.RETURNED})},
    "several states": {"states": frozenset({State.FAILED, State.SENT, State.COMPLETED})},
    "a bank": {"bank": "alpha1"},
    "a bank that receives": {"bank": "BETA2"},
    "a rare bank": {"bank": "rarebank"},
    "an unknown bank": {"bank": "NOBODY"},
    "a currency": {"currency": "EUR"},
    "a rare currency": {"currency": "CHF"},
    "a currency without payments": {"currency": "XTS"},
    "an obligation": {"obligation_id": "OB-4711"},
    "an unknown obligation": {"obligation_id": "OB-0"},
    "a rare end of a bank": {"bank": "ALPHA1", "states": frozenset({State.FAILED})},
    "compensations of one": {"compensates": numbered(4649)},
    "compensations of one that has none": {"compensates": numbered(4648)},
    "failed compensations of one": {
        "compensates": numbered(4649),
        "states": frozenset({State.FAILED}),
    },
    "compensations": {"only_compensations": True},
    "compensations of a bank": {"only_compensations": True, "bank": "alpha1"},
    "what is compensated": {"only_compensated": True},
    "what is compensated, of a bank": {"only_compensated": True, "bank": "BETA2"},
    "compensations of an obligation": {"only_compensations": True, "obligation_id": "OB-4650"},
    "what is compensated of an obligation": {"only_compensated": True, "obligation_id": "OB-4649"},
    "what is not compensated of an obligation": {
        "only_compensated": True,
        "obligation_id": "OB-4650",
    },
    "an end of a rare bank": {"bank": "RAREBANK", "states": frozenset({State.COMPLETED})},
}
PAGES: dict[str, dict[str, Any]] = {
    "first": {},
    "in the middle": {"before_id": numbered(HISTORY // 2)},
    "last": {"before_id": numbered(20)},
    "of some hours": {"before_id": numbered(200_000), "from_id": numbered(100_000)},
}


def scans(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "Relation Name" in node:
        yield node
    for child in node.get("Plans", ()):
        yield from scans(child)


async def plan(connection, wanted: SettlementFilter) -> list[dict[str, Any]]:
    """Run the list as the store does; return what was read of each table."""
    literals = ", ".join(literal(value) for value in filter_values(wanted))
    async with connection.transaction():
        await connection.execute(f"PREPARE listed AS {query(list_statement(wanted))}")
        text = await connection.fetchval(
            f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) EXECUTE listed ({literals})"
        )
        await connection.execute("DEALLOCATE listed")
    return list(scans(json.loads(text)[0]["Plan"]))


def literal(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, list):
        return "'{" + ",".join(value) + "}'"
    return str(value) if isinstance(value, int) else f"'{value}'"  # also "True"


def rows_read(node: dict[str, Any]) -> float:
    each = node["Actual Rows"] + sum(node.get(f"Rows Removed by {kind}", 0) for kind in REMOVED)
    return float(each * node["Actual Loops"])


HISTORIES = ("settlement_transactions", "moves")
REMOVED = ("Filter", "Index Recheck", "Join Filter")


async def rows_of_a_range(connection) -> int:
    rows, pages = await connection.fetchrow(
        "SELECT reltuples, relpages FROM pg_class WHERE relname = 'settlement_transactions'"
    )
    return int(16 * rows / pages)


async def test_no_list_reads_the_history(connection):
    too_much = []
    for name, filters in FILTERS.items():
        for page, bounds in PAGES.items():
            wanted = SettlementFilter(**filters, **bounds, limit=PAGE)
            nodes = await plan(connection, wanted)
            read = sum(rows_read(node) for node in nodes)
            kinds = {node["Node Type"] for node in nodes if node["Relation Name"] in HISTORIES}
            limit = READ_MAX
            if "Bitmap Heap Scan" in kinds:
                limit += RANGES_MAX * await rows_of_a_range(connection)
            if read > limit or "Seq Scan" in kinds:
                too_much.append((name, page, read, kinds))
    assert too_much == []


async def test_no_plan_of_a_list_is_kept_for_other_filters(url):
    """After a few calls the server could keep one generic plan, which reads everything."""
    stores = PostgresStores(url)
    for _ in range(10):
        await stores.settlements.list_settlements(SettlementFilter(limit=1))
    kept = "SELECT statement FROM pg_prepared_statements"
    async with stores._readers.line() as line, line.session() as session:
        statements = [row["statement"] for row in await session.fetch(kept)]
    assert query("load") in statements
    assert query("list_settlements") not in statements
    await stores.close()


async def test_lists_by_index_equal_a_full_scan(url, connection):
    rows = await connection.fetch(
        "SELECT id, state::text, upper(from_bank) AS sender, upper(to_bank) AS receiver, currency,"
        " obligation_id, compensates FROM settlement_transactions ORDER BY id DESC"
    )
    compensated = {row["compensates"] for row in rows} - {None}
    assert len(compensated) > PAGE
    stores = PostgresStores(url)
    for name, filters in FILTERS.items():
        states, bank = filters.get("states"), filters.get("bank", "").upper()
        expected = [
            row["id"]
            for row in rows
            if (not states or row["state"] in states)
            and (not bank or bank in (row["sender"], row["receiver"]))
            and filters.get("currency", row["currency"]) == row["currency"]
            and filters.get("obligation_id", row["obligation_id"]) == row["obligation_id"]
            and filters.get("compensates", row["compensates"]) == row["compensates"]
            and (not filters.get("only_compensations") or row["compensates"] is not None)
            and (not filters.get("only_compensated") or row["id"] in compensated)
        ]
        for page, bounds in PAGES.items():
            wanted = SettlementFilter(**filters, **bounds, limit=PAGE)
            within = [
                each
                for each in expected
                if bounds.get("from_id", numbered(0))
                <= each
                < bounds.get("before_id", numbered(HISTORY * 2))
            ][:PAGE]
            found = [each.id for each in await stores.settlements.list_settlements(wanted)]
            assert found == within, (name, page)
            assert await stores.settlements.count_settlements(wanted) == len(within)
            assert all(newer > older for newer, older in pairwise(found))
    await stores.close()


async def test_the_index_of_ends_knows_every_end_of_the_state_machine(connection):
    """Whoever adds a final state must rebuild this index, and add the state to the lists."""
    definition = await connection.fetchval("SELECT pg_get_indexdef('moves_by_end'::regclass)")
    known = {state for state in State if f"'{state.value}'::settlement_state" in definition}
    rare = [state for state in State if state in ENDS and state is not State.COMPLETED]
    assert known == set(rare)
    statement = query("list_settlements_in_states")
    assert "'{" + ",".join(state.value for state in rare) + "}'" in statement
    assert "(" + ", ".join(f"'{state.value}'" for state in rare) + ")" in statement


async def test_columns_that_change_before_completion_are_not_indexed(connection):
    """An index on a column that changes in progress would prevent heap-only updates."""
    indexed = await connection.fetch(
        "SELECT DISTINCT a.attname FROM pg_index AS i CROSS JOIN LATERAL ("
        " SELECT pg_get_indexdef(i.indexrelid) AS text) AS d JOIN pg_attribute AS a"
        " ON a.attrelid = i.indrelid AND a.attnum > 0 AND d.text ~ ('\\m' || a.attname || '\\M')"
        " WHERE i.indrelid = 'settlement_transactions'::regclass"
    )
    changing = {
        "state",
        "seq",
        "attempt",
        "ended_at",
        "is_frozen",
        "rail_reference",
        "confirmation",
    }
    assert not changing & {row["attname"] for row in indexed}


# --- by a reference -----------------------------------------------------------------------------------

NUMBER = 9_999
REFERENCES = {
    "uetr": str(uuid.UUID(hashlib.md5(f"U{NUMBER}".encode()).hexdigest())),
    "end_to_end_id": f"E{NUMBER}",
    "message_id": f"M{NUMBER}",
    "trace": f"T{NUMBER}",
    "rail_reference of a move": f"R{3 * NUMBER + 2}",
    "rail_reference of an answer": f"A{NUMBER}",
    "rail_reference of a report": f"I{NUMBER - 1}",
}
BESIDE = {
    "trace that is unknown": "T1",
    "transaction_id": f"E{NUMBER}",
    "instruction_id": str(numbered(NUMBER)),
}
COLUMNS = ("uetr", "end_to_end_id", "message_id", "trace", "rail_reference")
REFERRED = {"attempts": 1, "moves": 2, "answers": 1, "inbound_reports": 1}
"""The tables with references, and how many rows each has for one settlement."""

SHARE_MAX = 0.1
"""A Bloom filter also lets a search into a few ranges of pages in a hundred for nothing."""

PLANS = ("force_custom_plan", "force_generic_plan")
"""The server begins with plans for the parameters, and later keeps one for all if it looks as cheap."""


async def read_by_reference(connection, statement: str, literals: str, mode: str) -> Any:
    """Run a statement and undo it; return the whole plan, with what it has read."""
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute(f"SET LOCAL plan_cache_mode = {mode}")
    await connection.execute(f"PREPARE looked AS {query(statement)}")
    text = await connection.fetchval(
        f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) EXECUTE looked ({literals})"
    )
    await connection.execute("DEALLOCATE looked")
    await transaction.rollback()
    return json.loads(text)[0]["Plan"]


def report_literals(name: str, value: str) -> str:
    """Return the parameters of a message with one report, which gives one reference."""
    column = name.split(" ", maxsplit=1)[0]
    names = ["NULL" if each != column else f"'{value}'" for each in COLUMNS]
    kinds = ["uuid[]", *["text[]"] * 4]
    more = [
        f"ARRAY[{literal(value if column == 'transaction_id' else None)}]::text[]",
        f"ARRAY[{literal(value if column == 'instruction_id' else None)}]::uuid[]",
    ]
    given = [f"ARRAY[{each}]::{kind}" for each, kind in zip(names, kinds, strict=True)]
    report = f"""ARRAY['{{"references": {{"{column}": "{value}"}}}}']"""
    message = ["ARRAY['mock']", "ARRAY['callback']", "ARRAY['']", "ARRAY['new'::bytea]"]
    return ", ".join(
        [*message, "ARRAY[1::bigint]", "ARRAY[1]", report, *given, *more, "ARRAY['']", "ARRAY['']"]
    )


def any_id_literals(name: str, value: str) -> str:
    return f"'{value}', {literal(value if name == 'uetr' else None)}, {NAMED_MAX}"


@pytest.mark.parametrize("mode", PLANS)
@pytest.mark.parametrize(
    ("statement", "literals"),
    [("record_inbound", report_literals), ("find_by_any_id", any_id_literals)],
)
async def test_no_look_up_by_a_reference_reads_the_history(connection, statement, literals, mode):
    too_much = []
    for name, value in {**REFERENCES, **BESIDE}.items():
        whole = await read_by_reference(connection, statement, literals(name, value), mode)
        for node in scans(whole):
            table, kind = node["Relation Name"], node["Node Type"]
            rows = HISTORY * REFERRED.get(table, 1)
            limit = rows * SHARE_MAX if kind == "Bitmap Heap Scan" else READ_MAX
            if table in REFERRED and (rows_read(node) > limit or kind == "Seq Scan"):
                too_much.append((name, table, kind, rows_read(node)))
    assert too_much == []


async def test_each_reference_finds_its_payment_in_a_long_history(url):
    stores = PostgresStores(url)
    for name, value in REFERENCES.items():
        [named] = await stores.settlements.find_by_any_id(value)
        assert (named.settlement_id, named.named_by) == (numbered(NUMBER), name.split(" ")[0])
    assert await stores.settlements.find_by_any_id("T1") == []
    await stores.close()


@pytest.mark.parametrize("mode", PLANS)
async def test_a_callers_own_reference_is_found_by_its_index(url, connection, mode):
    stores = PostgresStores(url)
    [named] = await stores.settlements.find_by_any_id(f"C{NUMBER}")
    assert named == (numbered(NUMBER), "callers_end_to_end_id")
    await stores.close()
    literals = any_id_literals("callers_end_to_end_id", f"C{NUMBER}")
    whole = await read_by_reference(connection, "find_by_any_id", literals, mode)
    [node] = [each for each in scans(whole) if each["Relation Name"] == "payment_details"]
    assert node["Node Type"] != "Seq Scan"
    assert rows_read(node) <= READ_MAX


async def test_a_payment_without_a_trace_is_not_in_the_index_of_traces(connection):
    """The hot path pays nothing for it: the index has no entry for what has no trace."""
    definition = await connection.fetchval("SELECT pg_get_indexdef('attempts_by_trace'::regclass)")
    assert definition.endswith("USING hash (trace) WHERE (trace IS NOT NULL)")
