"""The SQL files: every statement is used, the generated state machine is current, text is quoted."""

from __future__ import annotations

import math
import re
from datetime import UTC, date, datetime
from pathlib import Path
from uuid import UUID

from settlement_engine.domain.lifecycle import TRANSITIONS
from settlement_engine.store import arrays, state_machine
from settlement_engine.store.audit import checks
from settlement_engine.store.database import DatabaseSettings, session_limits
from settlement_engine.store.queries import queries

STORE = Path(state_machine.__file__).parent


def test_every_statement_is_used_and_every_used_statement_exists():
    """Statements are named where they run; the proof runs all of its checks, and lists are chosen by filter."""
    code = "\n".join(path.read_text() for path in STORE.glob("*.py"))
    named = set(re.findall(r"\b(?:query|fetch|fetchrow)\(\s*\"(\w+)\"", code)) | set(checks())
    assert named <= queries().keys()
    found = {name for name in queries() if f'"{name}"' in code} | set(checks())
    assert found == queries().keys()


def test_the_state_machine_in_the_migrations_is_current():
    latest = max((STORE / "sql" / "migrations").glob("*/page.sql"))
    assert latest.read_text("utf-8") == state_machine.state_machine_sql()


def test_a_transition_is_recorded_as_a_move_or_an_answer_never_both():
    moves = {(state, event) for state, event, _ in state_machine.legal_moves()}
    answers = set(state_machine.legal_answers())
    rows = {(state.value, event.value) for state, events in TRANSITIONS.items() for event in events}
    assert moves | answers == rows
    assert not moves & answers


def test_array_literals_quote_text():
    assert arrays.texts(["a", 'q"', "b\\", "{,}", "NULL", "", None]) == (
        '{"a","q\\"","b\\\\","{,}","NULL","",NULL}'
    )
    assert arrays.words(["locked", None]) == "{locked,NULL}"
    assert arrays.octets([b"", b"\x00\xff"]) == '{"\\\\x","\\\\x00ff"}'


def test_array_literals_of_numbers_and_times():
    assert arrays.integers([1, -2]) == "{1,-2}"
    assert arrays.booleans([True, False]) == "{t,f}"
    assert arrays.uuids([UUID(int=1)]) == "{00000000000000000000000000000001}"
    assert arrays.seconds([None, 0.5, math.inf, 1e-7]) == "{NULL,0.5,Infinity,1e-07}"
    assert arrays.dates([date(2026, 1, 2), None]) == "{2026-01-02,NULL}"
    assert arrays.instants([datetime(2026, 1, 2, tzinfo=UTC)]) == '{"2026-01-02T00:00:00+00:00"}'
    assert arrays.integers([]) == "{}"


def test_postgresql_16_is_not_asked_for_a_limit_that_it_does_not_know():
    settings = DatabaseSettings(url="", transaction_timeout_seconds=5.0)
    for plan, expected in (({}, "5000"), ({"transaction_timeout": "0"}, "0")):
        assert "transaction_timeout" not in session_limits(settings, plan, 16)
        assert session_limits(settings, plan, 17)["transaction_timeout"] == expected
