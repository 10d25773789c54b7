"""What was open for some days before the upgrade is known after it, as far as its match is live."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import asyncpg

from settlement_engine.store import migrate as migrations_of
from settlement_engine.store.migrate import migrate
from tests.support.stores import patient_settings

if TYPE_CHECKING:
    import pytest

MATCHED = """
SET session_replication_role = replica;
ALTER TABLE matches DISABLE TRIGGER ALL;
ALTER TABLE match_postings DISABLE TRIGGER ALL;
ALTER TABLE match_entries DISABLE TRIGGER ALL;
INSERT INTO matches (account_id, run_id, matched_by, rules_version, explanation, is_automatic, settled_on)
OVERRIDING SYSTEM VALUE
SELECT 7, gen_random_uuid(), 'person', '', '', true, '2026-01-31' FROM generate_series(1, 3);
INSERT INTO match_postings (group_id, posting, leg, account_id, turn, match_id, amount_minor, booked_on)
SELECT lpad(to_hex(n), 32, '0')::uuid, 1, 2, 7, 1, n, -100, '2026-01-31'::date - (n - 1) * 5
FROM generate_series(1, 3) AS n;
INSERT INTO match_entries (statement_id, entry_number, turn, match_id, amount_minor, booked_on)
SELECT n, 4, 1, n, -100, CASE WHEN n = 1 THEN '2026-01-30'::date ELSE '2026-01-31' END
FROM generate_series(1, 3) AS n;
INSERT INTO unmatches (match_id, who, reason) VALUES (3, 'ada', 'another one');
ALTER TABLE matches ENABLE TRIGGER ALL;
ALTER TABLE match_postings ENABLE TRIGGER ALL;
ALTER TABLE match_entries ENABLE TRIGGER ALL;
SET session_replication_role = origin
"""


async def test_items_of_matches_before_the_upgrade_are_known(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = migrations_of.migrations()
    before = next(
        place for place, each in enumerate(everything) if each.name.endswith("timing_items")
    )
    with monkeypatch.context() as patch:
        patch.setattr(migrations_of, "migrations", lambda: everything[:before])
        await migrate(patient_settings(empty_database_url))
    connection = await asyncpg.connect(empty_database_url)
    try:
        for statement in MATCHED.split(";\n"):
            await connection.execute(statement)
        await migrate(patient_settings(empty_database_url))
        postings = await connection.fetch(
            "SELECT account_id, span, settled_on::text, match_id, group_id, posting, leg, booked_on::text"
            " FROM timing_postings"
        )
        entries = await connection.fetch(
            "SELECT account_id, span, settled_on::text, match_id, statement_id, entry_number, booked_on::text"
            " FROM timing_entries"
        )
    finally:
        await connection.close()
    assert [tuple(each) for each in postings] == [
        (7, 2, "2026-01-31", 2, UUID(int=2), 1, 2, "2026-01-26")
    ]
    assert [tuple(each) for each in entries] == [(7, 0, "2026-01-31", 1, 1, 4, "2026-01-30")]
