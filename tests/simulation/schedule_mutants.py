"""Safeguards in the database, removed one at a time: each has a schedule that detects the removal.

That a claim counts the send which follows is held by ``tests/contract/test_store_claims.py``: hardly any schedule
needs it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from settlement_engine.store.migrate import migrations

if TYPE_CHECKING:
    from collections.abc import Mapping


FUNCTION = re.compile(
    r"^CREATE (?:OR REPLACE )?FUNCTION (\w+)\(.*?^(?:END )?\$\$;", flags=re.MULTILINE | re.DOTALL
)
VERSION = re.compile(r"_\d+$")


@dataclass(frozen=True, kw_only=True)
class SqlMutant:
    """A piece of a function's text that is replaced, or a statement that removes something.

    ``seed`` is of a schedule that detects it; ``emphasis`` raises the rates of faults there.
    """

    name: str
    seed: int
    emphasis: Mapping[str, float] = field(default_factory=dict)
    old: str = ""
    new: str = ""
    statement: str = ""

    def sql(self) -> str:
        """Return the SQL that makes a mutant of a migrated database."""
        if not self.old:
            return self.statement
        [changed] = [text for text in functions() if self.old in text]
        assert changed.count(self.old) == 1, "the piece occurs exactly once"
        mutated = changed.replace(self.old, self.new)
        return re.sub(r"^CREATE FUNCTION", "CREATE OR REPLACE FUNCTION", mutated)


@cache
def functions() -> list[str]:
    """Return the text of every function of the database, as the newest migration has it.

    Of a function with versions only the newest stands here: no statement calls the older ones any more.
    """
    found: dict[str, str] = {}
    for migration in migrations():
        functions = FUNCTION.finditer(migration.sql)
        found |= {VERSION.sub("", match[1]): match[0] for match in functions}
    return list(found.values())


ZOMBIES = {"freeze": 0.6, "session_lost": 0.6, "database_slow": 0.8, "commit_answer_lost": 0.4}

MUTANTS = (
    SqlMutant(
        name="nothing is compared",
        seed=0,
        emphasis=ZOMBIES,
        old="""WHEN s.state IS DISTINCT FROM p_from[g.i]::settlement_state OR s.seq <> p_seq[g.i] THEN 1
        WHEN w.owner IN (p_owner, 0) AND w.epoch = p_epoch[g.i] THEN 0
        WHEN s.ended_at IS NOT NULL AND w.owner IS NULL THEN 0
        ELSE 1""",
        new="WHEN s.state IS NULL THEN 1 ELSE 0",
    ),
    SqlMutant(
        name="neither state nor sequence is compared",
        seed=0,
        emphasis=ZOMBIES,
        old="WHEN s.state IS DISTINCT FROM p_from[g.i]::settlement_state OR s.seq <> p_seq[g.i] THEN 1",
        new="WHEN s.state IS NULL THEN 1",
    ),
    SqlMutant(
        name="the hold is not checked",
        seed=2,
        old="ELSIF r.amount > v_left + v_limit THEN",
        new="ELSIF false THEN",
    ),
    SqlMutant(
        name="a move is not announced",
        seed=1,
        old="AS g (i, nth);\n    END IF;\nEND",
        new="AS g (i, nth) WHERE p_event[g.i] <> 'settled';\n    END IF;\nEND",
    ),
    SqlMutant(
        name="a proof of not being sent counts whenever it comes",
        seed=8,
        emphasis={"undelivered": 0.7, "commit_answer_lost": 1.0},
        old="IF p_event && '{abandoned,undelivered}' THEN",
        new="IF false THEN",
    ),
    SqlMutant(
        name="what is released stays held",
        seed=0,
        old="UNION ALL SELECT v_held_on[f.i], 0, 0, -v_held[f.i]",
        new="UNION ALL SELECT v_held_on[f.i], 0, 0, 0",
    ),
    SqlMutant(
        name="an obligation may be settled twice",
        seed=114,
        statement="DROP INDEX one_live_settlement_per_obligation",
    ),
    SqlMutant(
        name="a key may stand for two settlements",
        seed=2,
        emphasis={"caller_cancels": 0.3, "caller_repeats": 0.3},
        statement="DROP INDEX one_settlement_per_key",
    ),
)
