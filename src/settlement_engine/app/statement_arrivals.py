"""Connects the arrival of statements with reconciliation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from settlement_engine.engine.statement_arrivals import StatementArrivals
from settlement_engine.store.undecided_evidence import PostgresUndecidedEvidence

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from settlement_engine.store.database import Readers


def arrivals_of(readers: Readers, arrived: Callable[[Collection[int]], None]) -> StatementArrivals:
    """Build what tells ``arrived`` of accounts whose statements were kept and searched."""
    return StatementArrivals(PostgresUndecidedEvidence(readers), arrived)
