"""The stores of statements of one engine in a schedule: the real ones, with scheduling points at each statement.

A reconciliation holds its run by a lock of a session. That session is a connection of its own here, too: it ends with
the engine, or is lost while the engine goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typing_extensions import override

from settlement_engine.store.reconciliation import PostgresReconciliation
from settlement_engine.store.statement_evidence import PostgresEvidence
from settlement_engine.store.statements import PostgresStatements
from settlement_engine.store.undecided_evidence import PostgresUndecidedEvidence
from settlement_lab.schedules.postgres_books import (
    GatedConnection,
    GatedReaders,
    SessionConnection,
    replaced,
)

if TYPE_CHECKING:
    from settlement_lab.schedules.postgres_books import SchedulePoints


class RunLocks:
    """Which sessions hold the lock of the reconciliation run: at most one may."""

    def __init__(self) -> None:
        self.held: set[RunLockConnection] = set()
        self.violations: list[str] = []

    def take(self, line: RunLockConnection) -> None:
        """Note that a session was told that the run is its own."""
        if self.held - {line}:
            self.violations.append("two engines carry out a reconciliation at once")
        self.held.add(line)


class RunLockConnection(SessionConnection):
    """The connection whose session holds the run."""

    def __init__(self, points: SchedulePoints, locks: RunLocks) -> None:
        super().__init__(points)
        self._locks = locks

    @override
    async def fetchrow(self, name: str, *arguments: object) -> Any:
        """Run a named statement and return its first row."""
        row = await super().fetchrow(name, *arguments)
        if name == "try_reconciliation" and row["is_ours"] and self.is_open:
            self._locks.take(self)
        return row

    @override
    def end(self) -> None:
        """End the session, as a crash of the engine would."""
        self._locks.held.discard(self)
        super().end()


class StatementStores:
    """The ports of the store that know statements, for one engine."""

    def __init__(self, points: SchedulePoints, locks: RunLocks) -> None:
        settings = points.ground.settings
        readers: Any = GatedReaders(points)
        self.statements = PostgresStatements(settings, readers)
        self.evidence = PostgresEvidence(settings)
        self.undecided = PostgresUndecidedEvidence(readers)
        self.reconciliation = PostgresReconciliation(settings, readers)
        self.run_lock = RunLockConnection(points, locks)
        for store, count in ((self.statements, 1), (self.evidence, 1), (self.reconciliation, 2)):
            replaced(store, "_writing", GatedConnection(points, count))
        replaced(self.reconciliation, "_holding", self.run_lock)

    def end_session(self) -> None:
        """End the session that holds the run."""
        self.run_lock.end()
