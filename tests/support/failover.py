"""A primary with a synchronous standby, one engine on both, and what must hold after a failover."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import asyncpg
import grpc

from settlement_engine.domain.announcement import POSITIONS_PER_EPOCH, follows
from settlement_engine.embedded import EmbeddedPostgres, proctable
from settlement_engine.embedded.cluster import SUPERUSER
from settlement_engine.proto import settlement_pb2 as pb
from tests.e2e.jetstream import read_stream
from tests.e2e.world import World, events, until
from tests.support.replicas import Replica

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BANKS = ("DEUTDEFF", "CHASUS33", "BNPAFRPP")
SETTINGS = {
    "banks.mock_latency_ms": 5,
    "banks.mock_answer_timeout_ms": 500,
    "banks.mock_late_seconds": 0.5,
    "settlement.enquiry_first_delay_seconds": 0.1,
    "settlement.enquiry_max_delay_seconds": 1.0,
}


async def ask(url: str, statement: str, *arguments: object) -> list[asyncpg.Record]:
    """Run one statement as the superuser."""
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetch(statement, *arguments)
    finally:
        await connection.close()


def tell(server: EmbeddedPostgres, *statements: str) -> Any:
    """Run statements; return the first value of the last."""
    rows: list[asyncpg.Record] = []
    for statement in statements:
        rows = asyncio.run(ask(server.url(), statement))
    return rows[0][0] if rows else None


def journal(server: EmbeddedPostgres) -> str:
    """Return the current system epoch, and the last recorded step."""
    return str(tell(server, "SELECT era || ' ' || step FROM openings ORDER BY id DESC LIMIT 1"))


class Pair:
    """A primary and its standby; commits wait for both."""

    def __init__(self, folder: Path) -> None:
        self.primary = EmbeddedPostgres(folder / "primary")
        self.standby = Replica(folder / "standby")

    def start(self, template: Path) -> None:
        """Start both servers, and let commits wait for the standby."""
        self.primary.initialise_from_template(template)
        self.primary.start()
        self.standby.take_from(self.primary, is_standby=True)
        self.standby.start()
        tell(
            self.primary,
            "ALTER SYSTEM SET synchronous_standby_names = '*'",
            "SELECT pg_reload_conf()",
        )
        until(self.is_synchronous, 20, "the standby to be synchronous")

    def is_synchronous(self) -> bool:
        return bool(
            tell(
                self.primary,
                "SELECT count(*) FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')",
            )
        )

    @property
    def url(self) -> str:
        """The URL with both hosts, the first primary first."""
        hosts = f"{self.primary.address},{self.standby.address}"
        return f"postgresql://{SUPERUSER}:{self.primary.password}@{hosts}/settlement"

    def kill_primary(self) -> None:
        """Kill all processes of the primary with SIGKILL."""
        pid = self.primary.pid
        assert pid is not None
        family = [pid, *proctable.descendants(pid)]
        for each in family:
            try:
                os.kill(each, signal.SIGKILL)
            except ProcessLookupError:
                continue
        until(lambda: not self.primary.is_running, 10, "the primary to be dead")

    def promote(self) -> float:
        """Promote the standby; return the time when that was done."""
        tell(self.standby, "ALTER SYSTEM SET synchronous_standby_names = ''")
        assert tell(self.standby, "SELECT pg_promote(true, 30)")
        return time.monotonic()

    def stop(self) -> None:
        """Stop both."""
        self.standby.stop()
        self.primary.stop()


@contextmanager
def pair(folder: Path, template: Path) -> Iterator[Pair]:
    """Run a primary and a standby."""
    servers = Pair(folder)
    try:
        servers.start(template)
        yield servers
    finally:
        servers.stop()


def options(**settings: Any) -> tuple[str, ...]:
    """Convert settings to options of ``dev``; two underscores stand for the dot."""
    named = SETTINGS | {key.replace("__", "."): value for key, value in settings.items()}
    return tuple(word for key, value in named.items() for word in ("--set", f"{key}={value}"))


@contextmanager
def engine_on(folder: Path, url: str, *more: str, nats_url: str = "") -> Iterator[World]:
    """Run ``dev`` on a given database, with three funded banks."""
    folder.mkdir(parents=True, exist_ok=True)
    urls = {"SETTLEMENT_DATABASE__URL": url}
    if nats_url:
        urls["SETTLEMENT_NATS__URL"] = nats_url
    with World(folder, *options(), *more, variables=urls) as world:
        for bank in BANKS:
            world.open_bank(bank, "EUR", "9000000000.00")
        yield world


def await_quiet(world: World, seconds: float = 60) -> None:
    """Wait until nothing is open."""
    open_ones = pb.ListSettlementsRequest(
        statuses=[pb.VALIDATING, pb.EXECUTING, pb.IN_DOUBT, pb.QUEUED, pb.RECALLING], page_size=10
    )

    def is_quiet() -> bool:
        try:
            return not world.settlements.ListSettlements(open_ones, timeout=10).settlements
        except grpc.RpcError:
            return False

    until(is_quiet, seconds, "everything to end")


def check_everything(world: World, accepted: dict[str, str], seconds: float = 60) -> int:
    """Check: all accepted settlements have ended, one debit for each completed, events once, books proved.

    Returns the number of completed settlements.
    """
    await_quiet(world, seconds)
    debits = {row["settlement_id"]: row["times_debited"] for row in world.bank_ledger()}
    assert all(times <= 1 for times in debits.values()), "nothing is paid twice"
    histories: dict[str, pb.SettlementEvent] = {}
    wanted: list[tuple[str, int]] = []
    position = 0
    for event in events(world, timeout=60):
        assert follows(event.sequence, position)
        position = event.sequence
        histories[event.settlement_id] = event
        wanted.append((event.event_id, event.sequence))
    lost = [key for key, settlement_id in accepted.items() if settlement_id not in histories]
    assert lost == [], f"{len(lost)} of {len(accepted)} accepted settlements are lost"
    completed = 0
    for settlement_id in accepted.values():
        is_completed = histories[settlement_id].event_type == "settlement.completed"
        assert debits.get(settlement_id, 0) == int(is_completed), settlement_id
        completed += is_completed
    world.prove()
    published = until(
        lambda: (found := _published(world)) and len(found) >= len(wanted) and found,
        60,
        "every event to be in JetStream",
    )
    assert published == wanted, "each event once, in order"
    return completed


def _published(world: World) -> list[tuple[str, int]]:
    return [each for each in read_stream(world) if each[1] % POSITIONS_PER_EPOCH]
