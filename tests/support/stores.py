"""The two stores, each with everything that a process uses."""

from __future__ import annotations

import itertools
import uuid
from abc import ABC, abstractmethod
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import asyncpg
from typing_extensions import override

from settlement_engine.ports import Difference
from settlement_engine.store.accounts import PostgresAccounts
from settlement_engine.store.announcement_cache import AnnouncementCache
from settlement_engine.store.archive import PostgresArchive
from settlement_engine.store.audit import PostgresAuditor, checks
from settlement_engine.store.banks import PostgresBanks
from settlement_engine.store.barrier import PostgresBarrierStore
from settlement_engine.store.break_work import PostgresBreakWork
from settlement_engine.store.breaker_orders import PostgresBreakerOrders
from settlement_engine.store.covers import PostgresCovers
from settlement_engine.store.database import DatabaseSettings, Readers
from settlement_engine.store.dead_letters import PostgresDeadLetters
from settlement_engine.store.exceptions import PostgresCases
from settlement_engine.store.inbound import PostgresInbound
from settlement_engine.store.issued_statements import PostgresIssuedStatements
from settlement_engine.store.messages import PostgresMessages
from settlement_engine.store.past_balances import PostgresPastBalances
from settlement_engine.store.queries import query
from settlement_engine.store.rail_files import PostgresRailFiles
from settlement_engine.store.recalls import PostgresRecalls
from settlement_engine.store.reconciliation import PostgresReconciliation
from settlement_engine.store.reconciliation_reads import PostgresReconciliationReader
from settlement_engine.store.regulatory import PostgresRegulatory
from settlement_engine.store.reports import PostgresReports
from settlement_engine.store.resolutions import PostgresResolutions
from settlement_engine.store.settlements import PostgresSettlements
from settlement_engine.store.statement_evidence import PostgresEvidence
from settlement_engine.store.statements import PostgresStatements
from settlement_engine.store.stream import PostgresGauges, PostgresRegistry, PostgresStream
from settlement_engine.store.stuck import PostgresStuckFinder
from settlement_engine.store.undecided_evidence import PostgresUndecidedEvidence
from settlement_engine.store.watch import ServerWatch
from settlement_lab.memory import (
    MemoryAccounts,
    MemoryArchive,
    MemoryAuditor,
    MemoryBanks,
    MemoryBarrierStore,
    MemoryBreakerOrders,
    MemoryBreakWork,
    MemoryCases,
    MemoryCovers,
    MemoryDeadLetters,
    MemoryEvidence,
    MemoryGauges,
    MemoryInbound,
    MemoryIssuedStatements,
    MemoryMessages,
    MemoryPastBalances,
    MemoryRailFiles,
    MemoryRecalls,
    MemoryReconciliation,
    MemoryReconciliationReader,
    MemoryRegistry,
    MemoryRegulatory,
    MemoryReports,
    MemoryResolutions,
    MemorySettlements,
    MemoryStatements,
    MemoryStream,
    MemoryStuckFinder,
    Records,
)
from tests.support.waiting import until

if TYPE_CHECKING:
    from settlement_engine import ports
    from settlement_engine.ports.statement_evidence import EvidenceStore, UndecidedEvidence

TIMEOUT_SECONDS = 10.0
POLL_SECONDS = 0.005
LEASE_SECONDS = 600.0


class WallClock:
    def now(self) -> datetime:
        return datetime.now(UTC)


class CountedIds:
    """Identifiers that increase, and that tests can read."""

    _numbers = itertools.count(1)

    def new(self) -> uuid.UUID:
        return uuid.UUID(int=(0x0190 << 112) + next(self._numbers))


class Stores(ABC):
    """The part of a store that one process uses."""

    name: str
    settlements: ports.SettlementStore
    accounts: ports.AccountStore
    banks: ports.BankStore
    recalls: ports.RecallStore
    dead_letters: ports.DeadLetterStore
    inbound: ports.InboundStore
    messages: ports.MessageStore
    breaker_orders: ports.BreakerStore
    rail_files: ports.RailFileStore
    covers: ports.CoverStore
    statements: ports.StatementStore
    past_balances: ports.PastBalances
    evidence: EvidenceStore
    undecided: UndecidedEvidence
    reconciliation: ports.ReconciliationStore
    reconciled: ports.ReconciliationReader
    issued: ports.IssuedStatementStore
    reports: ports.ReportStore
    break_work: ports.BreakWorkStore
    regulatory: ports.RegulatoryStore
    stream: MemoryStream | PostgresStream
    registry: ports.EngineRegistry
    auditor: ports.Auditor
    gauges: ports.GaugeSource
    archive: ports.Archive
    finder: ports.StuckFinder
    barrier_store: ports.BarrierStore
    cases: ports.CaseStore
    resolutions: ports.ResolutionStore
    _owner = 0

    async def engine_id(self) -> int:
        """Return the engine id of this process."""
        if not self._owner:
            self._owner = await self.registry.join(LEASE_SECONDS)
        return self._owner

    @abstractmethod
    def beside(self) -> Stores:
        """Return the stores of another process on the same data."""

    async def differences(self) -> list[ports.Difference]:
        """Prove the books."""
        return list((await self.auditor.prove()).differences)

    @abstractmethod
    async def end_session(self, engine_id: int) -> None:
        """End the session of an engine as its crash would."""

    async def close_beside(self) -> None:  # noqa: B027 - in memory there is nothing to release
        """Release what the other processes used."""

    @abstractmethod
    async def close(self) -> None:
        """Release everything."""


class MemoryStores(Stores):
    name = "memory"

    def __init__(self, records: Records | None = None) -> None:
        self.records = records or Records(clock=WallClock())
        self.settlements = MemorySettlements(self.records)
        self.accounts = MemoryAccounts(self.records, CountedIds())
        self.banks = MemoryBanks(self.records)
        self.recalls = MemoryRecalls(self.records)
        self.stream = MemoryStream(self.records)
        self.registry = MemoryRegistry(self.records)
        self.auditor = MemoryAuditor(self.records)
        self.gauges = MemoryGauges(self.records)
        self.cases = MemoryCases(self.records)
        self.resolutions = MemoryResolutions(self.records)
        self.archive = MemoryArchive(self.records)
        self.dead_letters = MemoryDeadLetters(self.records)
        self.inbound = MemoryInbound(self.records)
        self.messages = MemoryMessages(self.records)
        self.breaker_orders = MemoryBreakerOrders(self.records)
        self.rail_files = MemoryRailFiles(self.records)
        self.covers = MemoryCovers(self.records)
        self.statements = MemoryStatements(self.records)
        self.past_balances = MemoryPastBalances(self.records)
        self.evidence = self.undecided = MemoryEvidence(self.records)
        self.reconciliation = MemoryReconciliation(self.records, self.accounts)
        self.reconciled = MemoryReconciliationReader(self.records)
        self.issued = MemoryIssuedStatements(self.records)
        self.reports = MemoryReports(self.records)
        self.break_work = MemoryBreakWork(self.records, self.accounts)
        self.regulatory = MemoryRegulatory(self.records)
        self.finder = MemoryStuckFinder(self.records)
        self.barrier_store = MemoryBarrierStore(self.records)

    @override
    def beside(self) -> Stores:
        return MemoryStores(self.records)

    @override
    async def end_session(self, engine_id: int) -> None:
        self.records.sessions.kill(engine_id)

    @override
    async def close(self) -> None:
        pass


def patient_settings(url: str) -> DatabaseSettings:
    """Settings with long time-outs: a busy machine may stall for seconds."""
    return DatabaseSettings(
        url=url,
        connect_timeout_seconds=60.0,
        statement_timeout_seconds=60.0,
        lock_timeout_seconds=60.0,
        idle_in_transaction_timeout_seconds=60.0,
        transaction_timeout_seconds=60.0,
        readers_max=1,
    )


class PostgresStores(Stores):
    name = "postgres"

    def __init__(self, url: str) -> None:
        self.url = url
        settings = patient_settings(url)
        self._readers = Readers(settings)
        facts = AnnouncementCache()
        self.settlements: PostgresSettlements = PostgresSettlements(settings, self._readers, facts)
        self.accounts: PostgresAccounts = PostgresAccounts(settings, self._readers, CountedIds())
        self.banks: PostgresBanks = PostgresBanks(settings, self._readers)
        self.recalls: PostgresRecalls = PostgresRecalls(settings, self._readers)
        self.stream: PostgresStream = PostgresStream(settings, self._readers, facts)
        self.registry: PostgresRegistry = PostgresRegistry(settings)
        self.auditor = PostgresAuditor(settings)
        self.gauges = PostgresGauges(self._readers)
        self.cases: PostgresCases = PostgresCases(settings, self._readers)
        self.resolutions: PostgresResolutions = PostgresResolutions(settings, self._readers)
        self.archive = PostgresArchive(self._readers)
        self.dead_letters: PostgresDeadLetters = PostgresDeadLetters(settings, self._readers)
        self.inbound: PostgresInbound = PostgresInbound(settings, self._readers)
        self.messages: PostgresMessages = PostgresMessages(settings, self._readers)
        self.breaker_orders: PostgresBreakerOrders = PostgresBreakerOrders(settings, self._readers)
        self.rail_files: PostgresRailFiles = PostgresRailFiles(settings, self._readers)
        self.covers: PostgresCovers = PostgresCovers(settings)
        self.statements: PostgresStatements = PostgresStatements(settings, self._readers)
        self.evidence: PostgresEvidence = PostgresEvidence(settings)
        self.undecided = PostgresUndecidedEvidence(self._readers)
        self.past_balances: PostgresPastBalances = PostgresPastBalances(settings, self._readers)
        self.reconciliation: PostgresReconciliation = PostgresReconciliation(
            settings, self._readers
        )
        self.reconciled = PostgresReconciliationReader(self._readers)
        self.issued: PostgresIssuedStatements = PostgresIssuedStatements(settings, self._readers)
        self.reports = PostgresReports(self._readers)
        self.break_work: PostgresBreakWork = PostgresBreakWork(settings, self._readers)
        self.regulatory: PostgresRegulatory = PostgresRegulatory(settings, self._readers)
        self.finder = PostgresStuckFinder(self._readers)
        self.barrier_store: PostgresBarrierStore = PostgresBarrierStore(settings, ServerWatch())
        self._beside: list[Stores] = []

    @override
    def beside(self) -> Stores:
        other = PostgresStores(self.url)
        self._beside.append(other)
        return other

    @override
    async def differences(self) -> list[ports.Difference]:
        """Prove the books with the auditor's checks in one statement, because it is done very often."""
        parts = [
            f"SELECT '{name}' AS check, q.subject, q.expected, q.found FROM ({query(name)}) AS q"
            for name in checks()
        ]
        async with self._readers.line() as line, line.session() as connection:
            rows = await connection.fetch(" UNION ALL ".join(parts))
        return [
            Difference(
                check=row["check"].removeprefix("prove_"),
                subject=row["subject"],
                expected=row["expected"],
                found=row["found"],
            )
            for row in rows
        ]

    async def with_currency(self, code: str, digits: int) -> None:
        """Add a currency, as a migration of an older list has left it."""
        connection = await asyncpg.connect(self.url)
        await connection.execute(
            "INSERT INTO currencies VALUES ($1, $2) ON CONFLICT DO NOTHING", code, digits
        )
        await connection.close()

    @override
    async def end_session(self, engine_id: int) -> None:
        connection = await asyncpg.connect(self.url)
        try:

            async def has_ended() -> bool:
                return not await connection.fetchval(_END_SESSION, engine_id)

            await until(has_ended)
        finally:
            await connection.close()

    @override
    async def close_beside(self) -> None:
        for other in self._beside:
            await other.close()
        self._beside.clear()

    @override
    async def close(self) -> None:
        await self.close_beside()
        await self.settlements.close()
        await self.accounts.close()
        await self.banks.close()
        await self.recalls.close()
        await self.dead_letters.close()
        await self.inbound.close()
        await self.messages.close()
        await self.breaker_orders.close()
        await self.rail_files.close()
        await self.covers.close()
        await self.statements.close()
        await self.evidence.close()
        await self.past_balances.close()
        await self.reconciliation.close()
        await self.issued.close()
        await self.break_work.close()
        await self.regulatory.close()
        await self.cases.close()
        await self.resolutions.close()
        await self.stream.close()
        await self.registry._lease.close()
        await self.barrier_store.close()
        await self._readers.close()


_END_SESSION = """
SELECT count(pg_terminate_backend(pid)) FROM pg_locks
WHERE locktype = 'advisory' AND classid = engine_lock_class($1::bigint)::oid
    AND objid = engine_lock_number($1::bigint)::oid
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
