"""The SQL of the mock bank's ledger. The ledger belongs to the bank: the engine's store never reads it.

A batch is one JSON document: a list of references, or an object of references and messages. Promises: the triggers
keep final states and forbid deleting.
"""

from __future__ import annotations

from typing import Final

from settlement_engine.rails.scripts import FINAL

VERSION: Final = 2

_FINAL_STATES: Final = ", ".join(f"'{state}'" for state in sorted(FINAL))
SCHEMA: Final = f"""
CREATE TABLE IF NOT EXISTS payments (
    id             INTEGER PRIMARY KEY,
    end_to_end_id  TEXT    NOT NULL UNIQUE,
    message        TEXT    NOT NULL,
    script         TEXT    NOT NULL,
    state          TEXT    NOT NULL,
    ends_as        TEXT    NOT NULL,
    due_at_ms      INTEGER,
    received_at_ms INTEGER NOT NULL,
    code           TEXT    NOT NULL,
    text           TEXT    NOT NULL,
    times_received INTEGER NOT NULL,
    times_debited  INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS payments_due ON payments (due_at_ms) WHERE due_at_ms IS NOT NULL;
CREATE TRIGGER IF NOT EXISTS final_is_final BEFORE UPDATE OF state ON payments
    WHEN OLD.state IN ({_FINAL_STATES}) AND NEW.state <> OLD.state
    BEGIN SELECT RAISE(ABORT, 'a final state never changes'); END;
CREATE TRIGGER IF NOT EXISTS nothing_is_forgotten BEFORE DELETE ON payments
    BEGIN SELECT RAISE(ABORT, 'the ledger keeps every payment'); END;
CREATE TABLE IF NOT EXISTS sendings (
    end_to_end_id TEXT    PRIMARY KEY,
    times         INTEGER NOT NULL
) WITHOUT ROWID;
PRAGMA user_version = {VERSION};
"""

FIND: Final = """
SELECT end_to_end_id, state, ends_as, due_at_ms, code, text, script
  FROM payments WHERE end_to_end_id IN (SELECT value FROM json_each(?))
"""
ENTER: Final = """
INSERT INTO payments (end_to_end_id, message, script, state, ends_as, due_at_ms, code, text,
                      times_received, times_debited, received_at_ms)
SELECT key, value, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM json_each(?)
"""
RECEIVED_AGAIN: Final = """
UPDATE payments SET times_received = times_received + ?
 WHERE end_to_end_id IN (SELECT value FROM json_each(?))
"""
DEBIT: Final = """
UPDATE payments SET times_debited = times_debited + 1
 WHERE end_to_end_id IN (SELECT value FROM json_each(?))
"""
DUE: Final = """
SELECT end_to_end_id, ends_as FROM payments WHERE due_at_ms <= ? ORDER BY due_at_ms LIMIT ?
"""
RIPEN: Final = """
UPDATE payments SET state = ends_as, due_at_ms = NULL
 WHERE end_to_end_id IN (SELECT value FROM json_each(?))
"""
BAR: Final = """
UPDATE payments SET state = ?, ends_as = ?, due_at_ms = NULL
 WHERE end_to_end_id IN (SELECT value FROM json_each(?))
"""
SENDING: Final = """
INSERT INTO sendings (end_to_end_id, times) SELECT value, 1 FROM json_each(?) WHERE true
    ON CONFLICT (end_to_end_id) DO UPDATE SET times = times + 1
"""
SENDINGS: Final = """
SELECT end_to_end_id, times FROM sendings
 WHERE end_to_end_id IN (SELECT value FROM json_each(?))
"""
PAGE: Final = """
SELECT id, end_to_end_id, message, state, times_received, times_debited
  FROM payments WHERE id > ? ORDER BY id LIMIT ?
"""
LIST: Final = """
SELECT id, end_to_end_id, message, state, received_at_ms
  FROM payments WHERE id > ? AND received_at_ms >= ? ORDER BY id LIMIT ?
"""
