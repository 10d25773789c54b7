"""Everything that one engine process runs, built from the configuration and joined."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

import uuid_utils

from settlement_engine import __version__
from settlement_engine.api.calls import Calls
from settlement_engine.api.clearing import read_instruction
from settlement_engine.app.settings import (
    api_settings,
    database_settings,
    engine_settings,
    mock_settings,
    screening_rules,
)
from settlement_engine.engine.service import SettlementService
from settlement_engine.errors import Misconfigured
from settlement_engine.events.clearing import ClearingIntake, ClearingSettings
from settlement_engine.events.connection import NatsAccess
from settlement_engine.events.relay import Relay, RelaySettings
from settlement_engine.events.stream import StreamSpec
from settlement_engine.monitoring.metrics import Metrics
from settlement_engine.rails.mock import MockRail
from settlement_engine.screening.builtin import BuiltinScreening
from settlement_engine.store.accounts import PostgresAccounts
from settlement_engine.store.database import Readers
from settlement_engine.store.settlements import PostgresSettlements
from settlement_engine.store.stream import PostgresGauges, PostgresRegistry, PostgresStream

if TYPE_CHECKING:
    from settlement_engine.config import Config

BALANCES_SHOWN_MAX = 1_000


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


class Application:
    """The rooms of one process."""

    def __init__(self, config: Config) -> None:
        require_assertions()
        self.config = config
        self.database = database_settings(config)
        shown = BALANCES_SHOWN_MAX if config.monitoring.balance_metrics else 0
        self.metrics = Metrics(__version__, balance_accounts_max=shown)
        self.readers = Readers(self.database)
        self.ids = TimedIds()
        self.accounts = PostgresAccounts(self.database, self.readers, self.ids)
        self.settlements = PostgresSettlements(self.database, self.readers)
        self.stream = PostgresStream(self.database, self.readers)
        self.gauges = PostgresGauges(self.readers)
        self.mock = self._mock()
        self.engine = self._engine()
        self.api = api_settings(config)
        self.calls = Calls(
            engine=self.engine,
            settlements=self.settlements,
            accounts=self.accounts,
            stream=self.stream,
            settings=self.api,
        )
        self.relay, self.clearing = self._events()

    def _mock(self) -> MockRail:
        if not self.config.banks.mock_enabled:
            what = "no rail is switched on"
            todo = "This version has the mock rail: banks.mock_enabled = true."
            raise Misconfigured(what, todo=todo)
        return MockRail(mock_settings(self.config), SystemClock())

    def _engine(self) -> SettlementService:
        return SettlementService(
            engine_settings(self.config),
            store=self.settlements,
            accounts=self.accounts,
            stream=self.stream,
            registry=PostgresRegistry(self.database),
            rails={self.mock.name: self.mock},
            screening=BuiltinScreening(screening_rules(self.config)),
            clock=SystemClock(),
            ids=self.ids,
            chance=random.Random(),  # noqa: S311 - it spreads waits, it keeps no secret
            meter=self.metrics,
        )

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
            parse=read_instruction,
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
        await self.mock.stop()
        await self.settlements.close()
        await self.accounts.close()
        await self.stream.close()
        await self.readers.close()
