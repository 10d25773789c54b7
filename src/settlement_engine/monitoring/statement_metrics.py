"""Metrics of the banks' statements: imports by outcome, accounts whose statement is late, compared balances.

Promises: outcomes are a fixed set, and at most ``BANKS_SHOWN_MAX`` banks have a series of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from settlement_engine.domain.continuity import StatementOutcome
from settlement_engine.monitoring.families import OTHER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from settlement_engine.monitoring.families import Families

BANKS_SHOWN_MAX: Final = 100


class StatementMetrics:
    """The counters and gauges, registered at zero."""

    def __init__(self, families: Families) -> None:
        self._imports = families.counter(
            "statement_imports_total", "Statements that were imported, by outcome.", "outcome"
        )
        for outcome in StatementOutcome:
            self._imports(outcome.value.lower())
        self._files = families.counter(
            "statement_inbox_files_total",
            "Files that were taken from the watched folder: archived, or moved to the problems.",
            "result",
        )
        for result in ("archived", "problem"):
            self._files(result)
        self._missing = families.table(
            "statements_missing", "Accounts whose bank's statement is late.", "bank"
        )
        self.missing({})
        self._unread = families.gauge(
            "statement_entries_unread",
            "Entries of statements that the search for our payments cannot read; must be 0.",
        )()
        self.unread(0)
        self._compared = families.counter(
            "reconciliation_balances_compared_total",
            "Accounts without statements whose balances were compared: that is no proof.",
            "outcome",
        )
        self.compared(equal=0, differing=0)

    def imported(self, outcome: str) -> None:
        """Count an imported statement; ``outcome`` is one of ``StatementOutcome``."""
        self._imports(outcome.lower()).inc()

    def taken_from_inbox(self, result: str) -> None:
        """Count a file of the watched folder: ``archived`` or ``problem``."""
        self._files(result).inc()

    def compared(self, *, equal: int, differing: int) -> None:
        """Count the accounts of a run of which only balances were compared."""
        self._compared("equal").inc(equal)
        self._compared("differing").inc(differing)

    def unread(self, count: int) -> None:
        """Show how many entries of statements cannot be read."""
        self._unread.set(count)

    def missing(self, counts: Mapping[str, int]) -> None:
        """Show how many accounts' statements are late, by bank; those of many banks are summed as ``other``."""
        shown = dict(sorted(counts.items())[:BANKS_SHOWN_MAX])
        left_out = sum(counts.values()) - sum(shown.values())
        self._missing.show(
            {(OTHER,): left_out, **{(bank,): count for bank, count in shown.items()}}
        )
