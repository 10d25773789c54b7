"""Builds the components of one engine process from the configuration, and connects them."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

import uuid_utils

from settlement_engine import __version__
from settlement_engine.api.books import BookPorts
from settlement_engine.api.calls import Calls, PaymentOrders
from settlement_engine.api.clearing import read_instruction
from settlement_engine.api.issued_statements import IssuedPorts
from settlement_engine.api.reconciliation import ReconciliationPorts
from settlement_engine.api.regulatory import RegulatoryPorts
from settlement_engine.api.statements import StatementPorts
from settlement_engine.app.breaks import break_rules
from settlement_engine.app.descriptors import bounded_api
from settlement_engine.app.matching_rules import matching_rules
from settlement_engine.app.message_schemas import statement_schemas
from settlement_engine.app.rails import built_rails, without_enquiries
from settlement_engine.app.report_templates import regulatory_reporting
from settlement_engine.app.screening import configured_screening
from settlement_engine.app.settings import (
    database_settings,
    engine_settings,
    reconciliation_times,
    screening_rules,
    statement_accounts,
    statement_due_times,
    stuck_limits,
)
from settlement_engine.app.statement_arrivals import arrivals_of
from settlement_engine.app.statement_decisions import decisions_of
from settlement_engine.app.statement_inbox import StatementInbox
from settlement_engine.app.statement_reader import StatementReader
from settlement_engine.engine.balance_fetch import BalanceFetch
from settlement_engine.engine.breaks import BreakEscalator, EngineBreaks
from settlement_engine.engine.case_worker import EngineCases
from settlement_engine.engine.cover_repairs import CoverRepairs
from settlement_engine.engine.recaller import Recaller
from settlement_engine.engine.reconciliation import Reconciliation
from settlement_engine.engine.reconciliation_schedule import (
    MeteredReconciliation,
    ReconciliationSchedule,
)
from settlement_engine.engine.service import SettlementService
from settlement_engine.engine.statement_evidence import StatementSearch
from settlement_engine.engine.statement_fetch import StatementFetch
from settlement_engine.engine.statement_import import StatementImport
from settlement_engine.engine.statement_issuing import StatementIssuing
from settlement_engine.engine.statement_problems import PresentProblems
from settlement_engine.engine.statement_watch import StatementWatch
from settlement_engine.errors import Misconfigured
from settlement_engine.events.clearing import ClearingIntake, ClearingSettings
from settlement_engine.events.connection import NatsAccess
from settlement_engine.events.relay import Relay, RelaySettings
from settlement_engine.events.stream import StreamSpec
from settlement_engine.events.stream_check import NatsEventStreamCheck
from settlement_engine.monitoring.metrics import BALANCE_ACCOUNTS_MAX, Metrics
from settlement_engine.store.accounts import PostgresAccounts
from settlement_engine.store.announcement_cache import AnnouncementCache
from settlement_engine.store.archive import PostgresArchive
from settlement_engine.store.banks import PostgresBanks
from settlement_engine.store.barrier import PostgresBarrierStore
from settlement_engine.store.break_work import PostgresBreakWork
from settlement_engine.store.breaker_orders import PostgresBreakerOrders
from settlement_engine.store.covers import PostgresCovers
from settlement_engine.store.database import Readers
from settlement_engine.store.dead_letters import PostgresDeadLetters
from settlement_engine.store.exceptions import PostgresCases
from settlement_engine.store.hosts import addresses
from settlement_engine.store.inbound import PostgresInbound
from settlement_engine.store.issued_statements import PostgresIssuedStatements
from settlement_engine.store.messages import PostgresMessages
from settlement_engine.store.past_balances import PostgresPastBalances
from settlement_engine.store.probe import WriteProbe
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
from settlement_engine.store.watch import ServerWatch

if TYPE_CHECKING:
    from settlement_engine.api.callbacks import Take
    from settlement_engine.config import Config
    from settlement_engine.engine.breaker_control import BreakerControl


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the present instant in UTC."""
        return datetime.now(UTC)


class TimedIds:
    """Generates identifiers that sort by creation time (UUID version 7, RFC 9562)."""

    def new(self) -> UUID:
        """Return a new identifier."""
        return UUID(bytes=uuid_utils.uuid7().bytes)


def require_assertions() -> None:
    """Refuse to run under ``-O``: the engine relies on its assertions."""
    if not __debug__:
        what = "the engine does not run without assertions"
        raise Misconfigured(
            what,
            why="Python was started with -O",
            todo="Start Python without -O, and unset PYTHONOPTIMIZE.",
        )


class Application:
    """The components of one process."""

    def __init__(self, config: Config) -> None:
        require_assertions()
        self.config = config
        self.database = database_settings(config)
        watch = ServerWatch()
        self.watched = replace(self.database, watch=watch)
        self.barrier_store = PostgresBarrierStore(self.database, watch)
        self.probe = WriteProbe(self.watched, watch)
        self.metrics = self._metrics()
        self.readers = Readers(self.watched)
        self.ids = TimedIds()
        self.accounts = PostgresAccounts(self.watched, self.readers, self.ids)
        self.banks = PostgresBanks(self.watched, self.readers)
        cache = AnnouncementCache()
        self.settlements = PostgresSettlements(self.watched, self.readers, cache)
        self.stream = PostgresStream(self.watched, self.readers, cache)
        self.gauges = PostgresGauges(self.readers)
        self.archive = PostgresArchive(self.readers)
        self.inbound = PostgresInbound(self.watched, self.readers)
        self.messages = PostgresMessages(self.watched, self.readers)
        self.breaker_orders = PostgresBreakerOrders(self.watched, self.readers)
        self.dead_letters = PostgresDeadLetters(self.watched, self.readers)
        self.finder = PostgresStuckFinder(self.readers)
        self.cases = PostgresCases(self.watched, self.readers)
        self.resolutions = PostgresResolutions(self.watched, self.readers)
        self._build_rails()
        self._build_reconciliation()
        self.case_management = EngineCases(
            engine_settings(config), self.cases, self.resolutions, self.rails
        )
        self.recalls = PostgresRecalls(self.watched, self.readers)
        self.recaller = Recaller(engine_settings(config), self.recalls, self.rails)
        self._build_statements()
        self.engine = self._engine()
        self.api, self.metrics_connections_max = bounded_api(config)
        self.stuck_limits = stuck_limits(
            config, {name: rail.capabilities for name, rail in self.rails.items()}
        )
        self.calls = self._calls()
        self.relay, self.clearing = self._events()

    def _build_statements(self) -> None:
        """Build the stores of statements, the ways in which they come, and the search in them."""
        named = statement_accounts(self.config)
        self.evidence = PostgresEvidence(self.watched)
        settings, rules = engine_settings(self.config), matching_rules(self.config)
        show_unread = self.metrics.statements.unread
        self.statement_search = StatementSearch(settings, self.evidence, show_unread, rules)
        self.statement_arrivals = arrivals_of(self.readers, self.reconciliation_schedule.arrived)
        self.importer = StatementImport(
            self.statements,
            named,
            self.statement_arrivals.kept,
            count=self.metrics.statements.imported,
            read=StatementReader(xsd_dir=self.config.rails.xsd_dir).read,
        )
        self.fetcher = StatementFetch(
            self.statements, self.importer, self.rails, SystemClock(), named
        )
        self.due_times = statement_due_times(self.config)
        self.statement_problems = PresentProblems(
            self.statements, SystemClock(), self.due_times, named
        )
        self.statement_watch = StatementWatch(
            self.statement_problems, self.fetcher, SystemClock(), self.metrics.statements.missing
        )
        decider, self._close_decisions = decisions_of(
            self.config, self.watched, self.readers, self.statement_arrivals.kept
        )
        self.statement_ports = StatementPorts(
            self.importer, self.statements, self.fetcher, self.statement_problems, decider
        )

    def statement_inbox(self) -> StatementInbox | None:
        """Build what watches the folder of statement files; None if there is none."""
        section = self.config.reconciliation
        if section.inbox_dir is None:
            return None
        count = self.metrics.statements.taken_from_inbox
        return StatementInbox(section.inbox_dir, self.importer, count, section.inbox_csv_mapping)

    def _build_reconciliation(self) -> None:
        """Build what reconciles, when it does, and the import of statements that tells it."""
        self.statements = PostgresStatements(self.watched, self.readers)
        self.reconciliation = PostgresReconciliation(self.watched, self.readers)
        named, times = statement_accounts(self.config), reconciliation_times(self.config)
        inner = Reconciliation(
            self.reconciliation,
            named,
            zone=times.zone,
            rules=matching_rules(self.config),
            balances=BalanceFetch(self.statements, self.rails, SystemClock(), named),
        )
        self.reconciler = MeteredReconciliation(inner, self.metrics, times.alert_minor)
        self.reconciliation_schedule = ReconciliationSchedule(
            self.reconciler, self.reconciliation, times, clock=SystemClock(), ids=self.ids
        )
        rules, meter = break_rules(self.config), self.metrics.breaks
        self.break_work = PostgresBreakWork(self.watched, self.readers)
        self.break_escalator = BreakEscalator(rules, self.break_work, meter)
        self.breaks = EngineBreaks(
            rules,
            self.break_work,
            clock=SystemClock(),
            ids=self.ids,
            meter=meter,
            zone=times.zone,
        )

    def _build_rails(self) -> None:
        """Build the rails, and the stores of those that send files or covers."""
        self.rail_files = PostgresRailFiles(self.watched, self.readers)
        self.covers = PostgresCovers(self.watched)
        alarm, stores = self.metrics.rail_alarm, (self.rail_files, self.covers)
        built = built_rails(self.config, SystemClock(), alarm, *stores)
        self.mock, self.iso_rails, self.registry = built.mock, built.iso, built.registry
        self.rails = self.registry.rails

    def _calls(self) -> Calls:
        current = self.engine.router.make_current
        repairs = CoverRepairs(self.settlements, self.covers, self.rails, current)
        return Calls(
            engine=self.engine,
            settlements=self.settlements,
            accounts=self.accounts,
            banks=self.banks,
            orders=PaymentOrders(self.recaller, repairs),
            stream=self.stream,
            archive=self.archive,
            finder=self.finder,
            dead_letters=self.dead_letters,
            case_management=self.case_management,
            messages=self.messages,
            rails=self.rail_control,
            statements=self.statement_ports,
            books=self._books(),
            settings=replace(self.api, rails_without_enquiries=without_enquiries(self.rails)),
            stuck_limits=self.stuck_limits,
        )

    def _books(self) -> BookPorts:
        """Build what reads the books of the past, and issues from them."""
        issued = PostgresIssuedStatements(self.watched, self.readers)
        self.past_balances = PostgresPastBalances(self.watched, self.readers)
        regulatory = PostgresRegulatory(self.watched, self.readers)
        self._closers = (self.past_balances.close, issued.close, regulatory.close)
        schemas = statement_schemas(self.config.rails.xsd_dir)
        check = None if schemas is None else schemas.check
        issuing = StatementIssuing(issued, self.config.institution.bic, check)
        reports = PostgresReports(self.readers)
        reader = PostgresReconciliationReader(self.readers)
        reconciliation = ReconciliationPorts(self.reconciler, reader, self.ids, self.breaks)
        return BookPorts(
            self.past_balances,
            IssuedPorts(issuing, issued),
            reconciliation,
            reader,
            reports,
            RegulatoryPorts(regulatory_reporting(self.config, regulatory), regulatory),
        )

    @property
    def rail_control(self) -> BreakerControl:
        """What follows the orders of operators about rails."""
        assert self.engine.breakers is not None, "the engine has a store of orders"
        return self.engine.breakers

    def takers(self) -> dict[str, Take]:
        """Return the functions that store call-backs, by rail."""
        return {rail.name: rail.take for rail in self.iso_rails}

    def require_known_currencies(self) -> None:
        """Refuse limits in unknown currencies. Call it after registration, when withdrawn ones are loaded."""
        if unknown := screening_rules(self.config).unknown_currencies():
            what = f"[screening] names an amount in {', '.join(unknown)}"
            why = "the currency or its decimals are known neither to ISO 4217 nor to this database"
            raise Misconfigured(what, why=why, todo="Correct the currency or the amount.")

    def _metrics(self) -> Metrics:
        read = BALANCE_ACCOUNTS_MAX if self.config.monitoring.balance_metrics else 0
        return Metrics(__version__, balance_accounts_max=read)

    def _engine(self) -> SettlementService:
        return SettlementService(
            engine_settings(self.config),
            store=self.settlements,
            accounts=self.accounts,
            stream=self.stream,
            registry=PostgresRegistry(self.watched),
            rails=self.rails,
            screening=configured_screening(self.config),
            inbound=self.inbound,
            clock=SystemClock(),
            ids=self.ids,
            chance=random.Random(),  # noqa: S311 - used to spread waits, not for secrets
            meter=self.metrics,
            barrier_store=self.barrier_store,
            case_management=self.case_management,
            stream_check=self._stream_check(),
            messages=self.messages,
            banks=self.banks,
            breaker_orders=self.breaker_orders,
            recaller=self.recaller,
        )

    def _nats(self) -> NatsAccess | None:
        nats = self.config.nats
        url = nats.url.get_secret_value()
        return NatsAccess(servers=tuple(addresses(url))) if nats.enabled and url else None

    def _stream_check(self) -> NatsEventStreamCheck | None:
        access = self._nats()
        if access is None:
            return None
        nats = self.config.nats
        return NatsEventStreamCheck(access, nats.stream, nats.subject_prefix)

    def _events(self) -> tuple[Relay | None, ClearingIntake | None]:
        nats, access = self.config.nats, self._nats()
        if access is None:
            return None, None
        spec = StreamSpec(
            name=nats.stream,
            prefix=nats.subject_prefix,
            max_bytes=nats.stream_max_bytes or -1,
            duplicate_window_seconds=nats.duplicate_window_seconds,
            replicas=nats.stream_replicas,
        )
        relay = Relay(
            outbox=self.stream,
            nats=access,
            meter=self.metrics,
            settings=RelaySettings(stream=spec, batch_max=nats.publish_batch_max),
            leadership=self.stream,
            notifier=self.engine.notifier,
            report_stale=self.engine.report_stale,
            database_run=self.engine.database_run,
            notices=self.stream.notices,
        )
        clearing = ClearingIntake(
            nats=access,
            parse=read_instruction,
            engine=self.engine,
            dead_letter_queue=self.dead_letters,
            settings=ClearingSettings(
                stream=nats.clearing_stream,
                subject=nats.clearing_subject,
                durable=nats.clearing_durable,
                kept_bytes_max=nats.dead_letter_bytes_max,
                open_dead_letters_max=nats.dead_letters_open_max,
                makes_stream=self.config.profile != "production",
            ),
        )
        return relay, clearing

    async def close(self) -> None:
        """Close all connections."""
        await self.registry.stop()
        first = (self.settlements, self.cases, self.resolutions, self.accounts, self.banks)
        stores = (self.recalls, self.inbound, self.messages, self.rail_files, self.covers)
        books = (self.statements, self.evidence, self.reconciliation, self.break_work)
        for store in (*first, *stores, *books):
            await store.close()
        for close in (*self._closers, self._close_decisions):
            await close()
        for last in (self.breaker_orders, self.dead_letters, self.stream, self.readers, self.probe):
            await last.close()
        await self.barrier_store.close()
