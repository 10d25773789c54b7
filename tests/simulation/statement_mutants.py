"""Safeguards of statements and reconciliation, removed one at a time: each has a schedule that detects the removal.

They are changes of the engine's own statements and functions, and of the constraints behind them: where two safeguards
stand behind each other, both are removed.

That a run which has lost its session writes nothing more is held by ``tests/integration/test_reconciliation_run_lost.py``:
hardly any schedule needs it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from settlement_engine.domain.decisions import after_the_end
from settlement_engine.store.queries import queries

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pytest


@dataclass(frozen=True, kw_only=True)
class StatementMutant:
    """Pieces of named statements that are replaced, with SQL and replaced functions.

    ``seed`` is of a schedule that detects it; ``emphasis`` raises the rates of faults there.
    """

    name: str
    seed: int
    pieces: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    statement: str = ""
    functions: tuple[tuple[object, str, Any], ...] = ()
    emphasis: Mapping[str, float] = field(default_factory=dict)

    def apply(self, patching: pytest.MonkeyPatch) -> None:
        """Replace the statements and functions until the end of ``patching``."""
        for name, (old, new) in self.pieces.items():
            text = queries()[name]
            assert text.count(old) == 1, "the piece occurs exactly once"
            patching.setitem(queries(), name, text.replace(old, new))
        for owner, name, new in self.functions:
            patching.setattr(owner, name, new)


STATEMENTS = {"statements": 1.0}

IMPORT_LOCK = {
    "lock_statements": (
        "SELECT pg_advisory_xact_lock(hashtextextended('statements of account ' || $1::bigint, 0))",
        "SELECT $1::bigint",
    )
}
RUN_LOCK = {
    "try_reconciliation": (
        "pg_try_advisory_lock(hashtextextended('reconciliation run', 0))",
        "true",
    )
}
MUTANTS = (
    StatementMutant(
        name="a statement may be kept twice",
        seed=9,
        pieces=IMPORT_LOCK,
        statement="DROP INDEX statements_kept_once",
        emphasis=STATEMENTS,
    ),
    StatementMutant(
        name="a run holds no lock",
        seed=0,
        pieces=RUN_LOCK,
        emphasis=STATEMENTS,
    ),
    StatementMutant(
        name="a statement may be searched by two engines",
        seed=2,
        pieces={"unsearched_statement": ("FOR UPDATE OF q SKIP LOCKED", "")},
        statement="""
            ALTER TABLE statement_evidence DROP CONSTRAINT statement_evidence_pkey;
            DROP INDEX bookings_are_counted_once;
            ALTER TABLE inbound_messages DROP CONSTRAINT inbound_messages_rail_sha256_key
        """,
        emphasis=STATEMENTS,
    ),
    StatementMutant(
        name="an earlier entry is forgotten",
        seed=14,
        pieces={"told_of_payments": ("= ANY ($1::uuid[])", "= ANY ($1::uuid[]) AND false")},
        statement="DROP INDEX bookings_are_counted_once",
        emphasis=STATEMENTS,
    ),
    StatementMutant(
        name="a return is booked by each road",
        seed=0,
        functions=((after_the_end, "is_told_otherwise", lambda *_: False),),
        emphasis={**STATEMENTS, "bank_returns": 0.5},
    ),
)
