"""What stands in a room fits the port that it is for, and what does not fit is refused."""

# ruff: noqa: TC001 - nothing here is ever run

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from settlement_engine.app.application import SystemClock, TimedIds
from settlement_engine.engine.service import SettlementService
from settlement_engine.monitoring.metrics import Metrics
from settlement_engine.rails.mock import MockRail
from settlement_engine.screening.builtin import BuiltinScreening
from settlement_engine.store.accounts import PostgresAccounts
from settlement_engine.store.archive import PostgresArchive
from settlement_engine.store.audit import PostgresAuditor
from settlement_engine.store.dead_letters import PostgresDeadLetters
from settlement_engine.store.settlements import PostgresSettlements
from settlement_engine.store.stream import PostgresGauges, PostgresRegistry, PostgresStream
from settlement_engine.store.stuck import PostgresStuckFinder
from settlement_lab import memory

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from settlement_engine import ports


def rooms_fit_their_ports(
    settlements: PostgresSettlements,
    accounts: PostgresAccounts,
    stream: PostgresStream,
    registry: PostgresRegistry,
    gauges: PostgresGauges,
    auditor: PostgresAuditor,
) -> None:
    _1: ports.SettlementStore = settlements
    _2: ports.AccountStore = accounts
    _3: ports.Stream = stream
    _4: ports.EngineRegistry = registry
    _5: ports.GaugeSource = gauges
    _6: ports.Auditor = auditor


def what_people_look_at_fits_its_ports(
    letters: PostgresDeadLetters, archive: PostgresArchive, finder: PostgresStuckFinder
) -> None:
    _1: ports.DeadLetterStore = letters
    _2: ports.Archive = archive
    _3: ports.StuckFinder = finder


def what_people_look_at_in_memory_fits_the_same_ports(
    letters: memory.MemoryDeadLetters,
    archive: memory.MemoryArchive,
    finder: memory.MemoryStuckFinder,
) -> None:
    _1: ports.DeadLetterStore = letters
    _2: ports.Archive = archive
    _3: ports.StuckFinder = finder


def the_store_in_memory_fits_the_same_ports(
    settlements: memory.MemorySettlements,
    accounts: memory.MemoryAccounts,
    stream: memory.MemoryStream,
    registry: memory.MemoryRegistry,
    gauges: memory.MemoryGauges,
    auditor: memory.MemoryAuditor,
) -> None:
    _1: ports.SettlementStore = settlements
    _2: ports.AccountStore = accounts
    _3: ports.Stream = stream
    _4: ports.EngineRegistry = registry
    _5: ports.GaugeSource = gauges
    _6: ports.Auditor = auditor


def the_others_fit_too(
    rail: MockRail, screening: BuiltinScreening, engine: SettlementService, metrics: Metrics
) -> None:
    _1: ports.SendRail = rail
    _2: ports.Screening = screening
    _3: ports.Engine = engine
    _4: ports.Meter = metrics
    _5: ports.Clock = SystemClock()
    _6: ports.Ids = TimedIds()


def one_room_is_not_another(settlements: PostgresSettlements, accounts: PostgresAccounts) -> None:
    _1: ports.AccountStore = settlements  # type: ignore[assignment]
    _2: ports.SettlementStore = accounts  # type: ignore[assignment]
    _3: ports.Stream = settlements  # type: ignore[assignment]


class DecidingRail(MockRail):
    """A rail reports answers; it cannot hand back a verdict, and it cannot leave questions out."""

    @override
    async def send(  # type: ignore[override]
        self,
        questions: Sequence[ports.Question],
        report: Callable[[Sequence[ports.Answer]], None],
    ) -> bool:
        return True


class ForgetfulStore:
    """Without ``history`` a settlement could not be told: this is no store of settlements."""

    async def load(self, settlement_ids: Sequence[object]) -> dict[object, object]:
        return {}


def what_lacks_a_method_is_no_store(store: ForgetfulStore) -> None:
    _1: ports.SettlementStore = store  # type: ignore[assignment]
