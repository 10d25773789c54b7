"""The proof of the books: everything that can be recomputed is, in one snapshot (``ports.Auditor``).

Each check is a statement of ``sql/queries/proof.sql`` that returns rows only where something is wrong.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from settlement_engine.ports import Difference, Proof
from settlement_engine.store.database import connect
from settlement_engine.store.failures import translated
from settlement_engine.store.queries import queries, query

if TYPE_CHECKING:
    from settlement_engine.store.database import DatabaseSettings

DIFFERENCES_MAX: Final = 1000
"""No more are listed per check; one is enough to be wrong."""

_SUMMARIES: Final = frozenset({"prove_totals", "prove_turnover"})


def checks() -> list[str]:
    """Name the checks."""
    return [name for name in queries() if name.startswith("prove_") and name not in _SUMMARIES]


class PostgresAuditor:
    """See ``ports.Auditor``."""

    def __init__(self, settings: DatabaseSettings) -> None:
        self._settings = replace(settings, may_be_standby=True)  # it decides nothing

    async def prove(self) -> Proof:
        """Recompute balances, holds, conservation, lives and the stream."""
        with translated():
            connection = await connect(
                self._settings, {"statement_timeout": "0", "transaction_timeout": "0"}
            )
            try:
                async with connection.transaction(isolation="repeatable_read", readonly=True):
                    differences = [
                        Difference(
                            check=name.removeprefix("prove_"),
                            subject=row["subject"],
                            expected=row["expected"],
                            found=row["found"],
                        )
                        for name in checks()
                        for row in (await connection.fetch(query(name)))[:DIFFERENCES_MAX]
                    ]
                    totals = await connection.fetchrow(query("prove_totals"))
                    turnover = await connection.fetch(query("prove_turnover"))
            finally:
                connection.terminate()
        assert totals is not None
        return Proof(
            accounts=totals["accounts"],
            transfers=totals["transfers"],
            settlements=totals["settlements"],
            open_settlements=totals["open_settlements"],
            open_holds=totals["open_holds"],
            totals={row["currency"]: int(row["total"]) for row in turnover},
            differences=differences,
        )
