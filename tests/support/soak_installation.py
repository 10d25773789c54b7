"""Several engines on one database, each with its own ports, as on several machines.

PostgreSQL, NATS and the engines are real processes that start and end with this object. A test kills and
freezes engines by number, and calls ``watch`` often, which restarts what died. Main thread only.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import time
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import asyncpg
import grpc

from settlement_engine.app.database import migrate
from settlement_engine.app.development.engines import DevelopmentEngine
from settlement_engine.app.development.held_ports import HOST, HeldPorts
from settlement_engine.config import env_name, load, to_environment
from settlement_engine.embedded import EmbeddedServers, proctable
from settlement_engine.proto import settlement_pb2 as pb
from settlement_engine.proto import settlement_pb2_grpc as rpc

if TYPE_CHECKING:
    from collections.abc import Mapping

BANKS = ("DEUTDEFF", "CHASUS33", "BNPAFRPP")
FUNDS = "9000000000.00"
SETTINGS: dict[str, str] = {
    "banks.mock_latency_ms": "20",
    "banks.mock_answer_timeout_ms": "500",
    "banks.mock_late_seconds": "0.5",
    "banks.mock_settlement_delay_ms": "100",
    "banks.mock_success_rate": "1",
    "settlement.enquiry_first_delay_seconds": "0.1",
    "settlement.enquiry_max_delay_seconds": "1.0",
    "server.drain_grace_seconds": "10",
    "monitoring.log_format": "json",
}
END_SECONDS = 20.0
FREEZES_MAX = 50
BOOK_FREE_SECONDS = 0.5
"""The other engines release the ledger's lock after milliseconds, if the machine is fast enough."""

STOPPED_SECONDS_MAX = 5.0
RECONNECT = [
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 200),
]


class Installation:
    """Servers and engines for the length of the ``with`` block."""

    def __init__(
        self, folder: Path, *, engines: int, settings: Mapping[str, str] | None = None
    ) -> None:
        self.folder = folder
        self.servers = EmbeddedServers(folder / "servers")
        self.book_file = folder / "mock-bank.book"
        self.engines: list[DevelopmentEngine] = []
        self._count = engines
        self._settings = SETTINGS | dict(settings or {})
        self._running = ExitStack()
        self._ports = HeldPorts()
        self.targets: list[str] = []
        self.frozen: set[int] = set()

    def __enter__(self) -> Self:
        """Start everything, or leave nothing behind."""
        with ExitStack() as bring_up:
            self.folder.mkdir(parents=True, exist_ok=True)
            bring_up.enter_context(self.servers)
            bring_up.callback(self._ports.close)
            asyncio.run(migrate(self.database_url, dry_run=False))
            bring_up.callback(self._end_engines)
            for number in range(self._count):
                self._begin_engine(number)
            for engine in self.engines:
                engine.await_ready()
            self._open_banks()
            self._running = bring_up.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Drain the engines, then end the servers."""
        self._running.close()

    def _begin_engine(self, number: int) -> None:
        ports = [self._ports.hold(0, f"engine {number}") for _ in range(3)]
        ours = {
            "server.host": HOST,
            "server.grpc_port": str(ports[0]),
            "server.http_port": str(ports[1]),
            "monitoring.metrics_port": str(ports[2]),
            "database.url": self.database_url,
            "nats.url": self.nats_url,
            "banks.mock_book_file": str(self.book_file),
        }
        config = load(None, {"profile": "dev", **self._settings}, search=False).config
        environment = to_environment(config) | {env_name(k): v for k, v in ours.items()}
        engine = DevelopmentEngine(environment, self.folder / f"engine-{number + 1}.log")
        self.engines.append(engine)
        self.targets.append(f"{HOST}:{ports[0]}")
        engine.start()

    def _end_engines(self) -> None:
        self.thaw_all()
        for engine in self.engines:
            engine.drain()
        for engine in self.engines:
            engine.end(END_SECONDS)

    @property
    def database_url(self) -> str:
        """The URL of PostgreSQL."""
        return self.servers.postgres.url()

    @property
    def nats_url(self) -> str:
        """The URL of NATS."""
        return self.servers.nats.url()

    def watch(self) -> tuple[str, ...]:
        """Restart what died; return what was restarted or became ready."""
        news = list(self.servers.watch())
        for number, engine in enumerate(self.engines, start=1):
            if number - 1 not in self.frozen and engine.watch():
                news.append(f"engine {number} {'ready' if engine.is_ready else 'begun'}")
        return tuple(news)

    # --- faults ---------------------------------------------------------------------------------

    def kill_engine(self, number: int) -> int:
        """Kill an engine with SIGKILL, frozen or not; return its process id."""
        self.frozen.discard(number)
        pid = self.engines[number].kill()
        assert pid is not None
        return pid

    def freeze(self, number: int) -> int:
        """Freeze an engine at any point, except while it holds the lock of the bank's ledger.

        The mock bank lives in the engine's process and shares its ledger with the others by a lock. A
        frozen engine with the lock would stop the bank for all, which no real customer of a bank can do.
        """
        pid = self.engines[number].pid
        assert pid is not None
        self.frozen.add(number)
        for _ in range(FREEZES_MAX):
            os.kill(pid, signal.SIGSTOP)
            _await_stop(pid)
            if self._is_book_free():
                return pid
            os.kill(pid, signal.SIGCONT)
        message = f"engine {number} held the bank's book at each of {FREEZES_MAX} freezings"
        raise AssertionError(message)

    def _is_book_free(self) -> bool:
        with closing(sqlite3.connect(self.book_file, BOOK_FREE_SECONDS)) as book:
            try:
                book.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return False
            return True

    def thaw(self, number: int) -> None:
        """Resume a frozen engine, unless it was killed meanwhile."""
        if number not in self.frozen:
            return
        self.frozen.discard(number)
        pid = self.engines[number].pid
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def thaw_all(self) -> None:
        """Resume every frozen engine."""
        for number in list(self.frozen):
            self.thaw(number)

    def kill_postgres(self) -> None:
        """Kill all PostgreSQL processes with SIGKILL."""
        pid = self.servers.postgres.pid
        assert pid is not None
        children = proctable.descendants(pid)
        for victim in (pid, *children):
            with suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)

    def kill_nats(self) -> None:
        """Kill the NATS server with SIGKILL."""
        pid = self.servers.nats.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)

    # --- calls ----------------------------------------------------------------------------------

    def channel(self, number: int = 0) -> grpc.Channel:
        """Open a connection to one engine; it reconnects when it is lost."""
        return grpc.insecure_channel(self.targets[number], options=RECONNECT)

    def _open_banks(self) -> None:
        with self.channel() as channel:
            accounts = rpc.AccountServiceStub(channel)
            for bank in BANKS:
                for kind in (pb.NOSTRO, pb.VOSTRO):
                    wanted = pb.OpenAccountRequest(kind=kind, bank=bank, currency="EUR")
                    accounts.OpenAccount(wanted, timeout=10)
                funding = pb.FundAccountRequest(
                    bank=bank, currency="EUR", amount=FUNDS, idempotency_key=f"funds-{bank}"
                )
                accounts.FundAccount(funding, timeout=10)

    async def connect(self) -> asyncpg.Connection[Any]:
        """Open a connection to the database, for reading."""
        return await asyncpg.connect(self.database_url)


def _await_stop(pid: int) -> None:
    """Wait until every thread of a process is stopped: the signal reaches them one after the other."""
    deadline = time.monotonic() + STOPPED_SECONDS_MAX
    while not all(map(_is_stopped, Path(f"/proc/{pid}/task").iterdir())):
        assert time.monotonic() < deadline, f"process {pid} does not stop"


def _is_stopped(thread: Path) -> bool:
    try:
        words = (thread / "stat").read_text("ascii", "replace")
    except (FileNotFoundError, ProcessLookupError):
        return True  # it has ended meanwhile
    return words.rpartition(")")[2].split()[0] in "TZ"
