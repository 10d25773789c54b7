"""Connects the decisions of two people about statements with the roles of the configuration, and with their store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from settlement_engine.app.breaks import statement_rules
from settlement_engine.engine.statement_decisions import StatementDecisions
from settlement_engine.store.statement_decisions import PostgresStatementDecisions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from settlement_engine.config import Config
    from settlement_engine.store.database import DatabaseSettings, Readers


def decisions_of(
    config: Config,
    settings: DatabaseSettings,
    readers: Readers,
    decided: Callable[[Collection[int]], None],
) -> tuple[StatementDecisions, Callable[[], Awaitable[None]]]:
    """Build what decides on statements, and return how its store is closed."""
    store = PostgresStatementDecisions(settings, readers)
    return StatementDecisions(store, statement_rules(config), decided), store.close
