"""The one place that knows all rooms: it builds them from the configuration and joins them.

Promises: it refuses to start without assertions, on an unsafe database, or on a schema of another
version; on SIGTERM it takes nothing more in, brings what is open to rest, publishes what is committed,
and ends with 0. It decides nothing about money.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from uuid import UUID

import structlog
import uuid_utils

from settlement_engine import __version__
from settlement_engine.api.clearing import parse_instruction
from settlement_engine.api.server import GrpcServer
from settlement_engine.domain.backoff import Backoff
from settlement_engine.domain.money import parse_amount
from settlement_engine.engine.service import SettlementService
from settlement_engine.engine.settings import EngineSettings
from settlement_engine.errors import Misconfigured
from settlement_engine.events.clearing import ClearingIntake, ClearingSettings
from settlement_engine.events.connection import NatsAccess
from settlement_engine.events.relay import Relay, RelaySettings
from settlement_engine.events.stream import StreamSpec
from settlement_engine.monitoring import logs
from settlement_engine.monitoring.metrics import Metrics
from settlement_engine.rails.mock import MockRail, MockSettings
from settlement_engine.screening.builtin import BuiltinScreening, ScreeningRules
from settlement_engine.store.accounts import PostgresAccounts
from settlement_engine.store.audit import PostgresAuditor
from settlement_engine.store.database import DatabaseSettings, Readers, check_safety
from settlement_engine.store.migrate import migrate as migrate_database
from settlement_engine.store.migrate import require_head
from settlement_engine.store.settlements import PostgresSettlements
from settlement_engine.store.stream import PostgresGauges, PostgresRegistry, PostgresStream

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from settlement_engine.config import Config
    from settlement_engine.ports import Proof, Rail

NATS_BACKLOG_MAX: Final = 1_000_000
GRACE_AFTER_DRAIN_SECONDS: Final = 2.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """The ports on which the engine listens."""

    grpc: int
    http: int
    metrics: int


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the present instant in UTC."""
        return datetime.now(UTC)


class TimedIds:
    """Identifiers that sort by the time of their making (UUID version 7)."""

    def new(self) -> UUID:
        """Return a new one."""
        return UUID(bytes=uuid_utils.uuid7().bytes)


def require_assertions() -> None:
    """Refuse to run under ``-O``: the assertions are part of the engine."""
    if not __debug__:
        what = "the engine does not run without assertions"
        raise Misconfigured(what, why="Python was started with -O", todo="Start it without -O.")


def database_settings(config: Config) -> DatabaseSettings:
    """Read the section."""
    section = config.database
    return DatabaseSettings(
        url=section.url.get_secret_value(),
        connect_timeout_seconds=section.connect_timeout_seconds,
        statement_timeout_seconds=section.statement_timeout_seconds,
        lock_timeout_seconds=section.lock_timeout_seconds,
        idle_in_transaction_timeout_seconds=section.idle_in_transaction_timeout_seconds,
        transaction_timeout_seconds=section.transaction_timeout_seconds,
        readers_max=max(2, min(section.max_connections - 6, 8)),
    )


def engine_settings(config: Config) -> EngineSettings:
    """Read the sections."""
    settlement, engine = config.settlement, config.engine
    resend_first = min(1.0, settlement.retry_delay_seconds)
    return EngineSettings(
        open_max=config.server.max_concurrent_settlements,
        intake_queue_max=settlement.intake_queue_max,
        intake_batch_max=settlement.intake_batch_max,
        move_batch_max=settlement.move_batch_max,
        claim_batch_max=engine.claim_batch_max,
        claim_interval_seconds=engine.claim_interval_seconds,
        lease_seconds=engine.lease_seconds,
        heartbeat_seconds=engine.heartbeat_seconds,
        screening_timeout_seconds=settlement.screening_timeout_seconds,
        sends_max=settlement.max_retry_attempts + 1,
        resend=Backoff(first_seconds=resend_first, max_seconds=settlement.retry_delay_seconds),
        enquiry=Backoff(
            first_seconds=settlement.enquiry_first_delay_seconds,
            max_seconds=settlement.enquiry_max_delay_seconds,
        ),
        is_queueing=settlement.when_window_closed == "queue",
        has_real_windows=settlement.real_windows,
        drain_grace_seconds=config.server.drain_grace_seconds,
    )


def mock_settings(config: Config) -> MockSettings:
    """Read the section."""
    banks = config.banks
    if banks.mock_book_file is None:
        what = "the mock bank has no book"
        raise Misconfigured(what, todo="Set banks.mock_book_file to a file of its own.")
    return MockSettings(
        book_file=banks.mock_book_file,
        latency_seconds=banks.mock_latency_ms / 1000,
        success_rate=banks.mock_success_rate,
        seed=banks.mock_seed,
        answer_timeout_seconds=banks.mock_answer_timeout_ms / 1000,
        late_seconds=banks.mock_late_seconds,
        settlement_delay_seconds=banks.mock_settlement_delay_ms / 1000,
    )


def screening_rules(config: Config) -> ScreeningRules:
    """Read the section."""
    section = config.screening
    return ScreeningRules(
        blocked_obligations=frozenset(section.blocked_obligations),
        blocked_banks=frozenset(section.blocked_banks),
        largest_minor={
            currency: parse_amount(text, currency).minor
            for currency, text in section.risk_limit_amounts.items()
        },
    )


def build_rails(config: Config) -> dict[str, Rail]:
    """Build the rails that are switched on."""
    if not config.banks.mock_enabled:
        what = "no rail is switched on"
        raise Misconfigured(what, todo="This version has the mock rail: banks.mock_enabled = true.")
    mock = MockRail(mock_settings(config), SystemClock())
    return {mock.name: mock}


class Application:
    """Everything that one engine process runs, joined."""

    def __init__(self, config: Config) -> None:
        require_assertions()
        self.config = config
        self.database = database_settings(config)
        self.metrics = Metrics(
            __version__, balance_accounts_max=1_000 if config.monitoring.balance_metrics else 0
        )
        self.readers = Readers(self.database)
        ids = TimedIds()
        self.accounts = PostgresAccounts(self.database, self.readers, ids)
        self.settlements = PostgresSettlements(self.database, self.readers)
        self.stream = PostgresStream(self.database, self.readers)
        self.rails: Mapping[str, Rail] = build_rails(config)
        self.engine = SettlementService(
            engine_settings(config),
            store=self.settlements,
            accounts=self.accounts,
            stream=self.stream,
            registry=PostgresRegistry(self.database),
            rails=self.rails,
            screening=BuiltinScreening(screening_rules(config)),
            clock=SystemClock(),
            ids=ids,
            chance=random.Random(),  # noqa: S311 - it spreads waits, it keeps no secret
            meter=self.metrics,
        )
        self.relay, self.clearing = self._events()

    def _events(self) -> tuple[Relay | None, ClearingIntake | None]:
        nats = self.config.nats
        if not nats.enabled or not nats.url.get_secret_value():
            return None, None
        access = NatsAccess(servers=(nats.url.get_secret_value(),))
        spec = StreamSpec(
            name=nats.stream,
            prefix=nats.subject_prefix,
            max_bytes=nats.stream_max_bytes or -1,
            duplicate_window_seconds=nats.duplicate_window_seconds,
        )
        relay = Relay(
            outbox=self.stream,
            nats=access,
            meter=self.metrics,
            settings=RelaySettings(stream=spec, batch_max=nats.publish_batch_max),
            leadership=self.stream,
            doorbell=self.engine.doorbell,
        )
        clearing = ClearingIntake(
            nats=access,
            parse=parse_instruction,
            engine=self.engine,
            graveyard=self.accounts,
            settings=ClearingSettings(
                stream=nats.clearing_stream,
                subject=nats.clearing_subject,
                durable=nats.clearing_durable,
                makes_stream=self.config.profile != "production",
            ),
        )
        return relay, clearing

    async def close(self) -> None:
        """Close what was opened."""
        for rail in self.rails.values():
            await rail.stop()
        await self.settlements.close()
        await self.accounts.close()
        await self.stream.close()
        await self.readers.close()


async def migrate(database_url: str, *, dry_run: bool) -> list[str]:
    """Bring a database to this version; returns what was, or would be, applied."""
    return await migrate_database(DatabaseSettings(url=database_url), is_dry_run=dry_run)


async def prove(database_url: str) -> Proof:
    """Recompute the books."""
    return await PostgresAuditor(DatabaseSettings(url=database_url)).prove()


async def check_database(url: str) -> list[str]:
    """Say what makes a database unfit; empty is good."""
    return await check_safety(DatabaseSettings(url=url))
