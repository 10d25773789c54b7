"""A complete installation on this machine: servers, schema, engines, address file.

Promises: when the ``with`` block begins, everything is ready; ``watch`` restarts what died; at the end the
engines drain first, the servers stop last, and no process is left. Main thread only.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from settlement_engine.app.database import migrate, require_development
from settlement_engine.app.development.addresses import RunningAddresses, write_addresses
from settlement_engine.app.development.data_dir import make_data_dir, told_of
from settlement_engine.app.development.engines import DevelopmentEngine
from settlement_engine.app.development.held_ports import HOST, HeldPorts
from settlement_engine.app.development.servers import Servers
from settlement_engine.app.development.simulator import DevelopmentBank
from settlement_engine.config import env_name, to_environment
from settlement_engine.embedded import MAX_FILE_DEFAULT
from settlement_engine.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from settlement_engine.config import Config

DRAIN_MARGIN_SECONDS: Final = 5.0
"""The extra time, after its own drain time, before an engine is killed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallationPlan:
    """What to start. The ports are those of ``config``; ``tell`` gets a line for each step.

    The bank simulator takes the place of the mock bank, unless ``keeps_mock`` is set.
    """

    config: Config
    data_dir: Path
    engines: int
    address_files: tuple[Path, ...]
    is_loud: bool
    tell: Callable[[str], None]
    nats_max_file: str = MAX_FILE_DEFAULT
    has_simulator: bool = False
    keeps_mock: bool = False


class DevSetup:
    """The running installation; it stops at the end of the ``with`` block."""

    def __init__(self, plan: InstallationPlan) -> None:
        self._plan = plan
        self._running = ExitStack()
        self._ports = HeldPorts()
        self.servers = Servers(plan.config, plan.data_dir, nats_max_file=plan.nats_max_file)
        self.engines: tuple[DevelopmentEngine, ...] = ()
        self._config = plan.config
        self.bank: DevelopmentBank | None = None
        self.grpc_port = 0
        self.http_port = 0
        self.metrics_port = 0

    def __enter__(self) -> Self:
        """Start everything, or stop what was started."""
        with self._running as bring_up:
            make_data_dir(self._plan.data_dir)
            bring_up.callback(self._ports.close)
            self._hold_ports()
            with told_of(self._plan.data_dir):
                bring_up.enter_context(self.servers)
            for line in self.servers.lines():
                self._plan.tell(line)
            self._migrate()
            if self._plan.has_simulator:
                bring_up.callback(self._start_bank().stop)
            bring_up.callback(self._stop_engines)
            self._start_engines()
            self._running = bring_up.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Drain the engines, stop the servers."""
        self._running.close()
        for path in self._plan.address_files:
            path.unlink(missing_ok=True)

    @property
    def log_paths(self) -> tuple[Path, ...]:
        """The log file of each engine."""
        numbers = range(1, self._plan.engines + 1)
        return tuple(self._plan.data_dir / f"engine-{number}.log" for number in numbers)

    def addresses(self) -> RunningAddresses:
        """Return all current addresses and process ids."""
        return RunningAddresses(
            grpc=f"{HOST}:{self.grpc_port}",
            http=f"http://{HOST}:{self.http_port}",
            metrics=f"http://{HOST}:{self.metrics_port}/metrics",
            database_url=self.servers.database_url,
            nats_url=self.servers.nats_url,
            pid=self.servers.own_pid,
            engine_pids=tuple(engine.pid for engine in self.engines if engine.pid is not None),
            postgres_pid=self.servers.postgres_pid,
            nats_pid=self.servers.nats_pid,
            simulator=self.bank.url if self.bank else "",
            simulator_pid=self.bank.pid if self.bank else None,
        )

    def watch(self) -> tuple[str, ...]:
        """Restart what died, and return what changed. Call it many times a second."""
        news = list(self.servers.watch())
        if self.bank is not None and self.bank.watch():
            news.append("the scripted bank was restarted")
        has_changed = bool(news)
        for number, engine in enumerate(self.engines, start=1):
            if engine.watch():
                has_changed = True
                news.append(f"engine {number} {'is ready' if engine.is_ready else 'was restarted'}")
        if has_changed:
            self.publish_addresses()
        return tuple(news)

    def publish_addresses(self) -> None:
        """Write the address files: from now on other programs use this installation."""
        for path in self._plan.address_files:
            try:
                write_addresses(path, self.addresses())
            except OSError as error:
                raise Misconfigured(
                    f"the address file {path} cannot be written",
                    why=error.strerror or str(error),
                    todo="Choose another with --address-file, or omit the option.",
                ) from error

    def _migrate(self) -> None:
        if self._plan.config.database.url.get_secret_value():
            asyncio.run(require_development(self.servers.database_url))
        if not self._plan.config.database.auto_migrate:
            return
        began = time.monotonic()
        names = asyncio.run(migrate(self.servers.database_url, dry_run=False))
        done = f"{len(names)} applied" if names else "up to date"
        self._plan.tell(f"✓ schema            {done:<17} {time.monotonic() - began:.2f} s")

    def _hold_ports(self) -> None:
        server = self._plan.config.server
        self.grpc_port = self._ports.hold(server.grpc_port, "--grpc-port")
        self.http_port = self._ports.hold(server.http_port, "--http-port")
        metrics = self._plan.config.monitoring.metrics_port
        self.metrics_port = self._ports.hold(metrics, "--metrics-port")

    def _start_bank(self) -> DevelopmentBank:
        """Start the scripted bank; engines that start afterwards send to it over every rail but the mock's."""
        url = f"http://{HOST}:{self.http_port}/rails/{{rail}}/inbound"
        self.bank = bank = DevelopmentBank(self._plan.data_dir, url)
        bank.start()
        self._config = bank.reached_by(self._plan.config, keeps_mock=self._plan.keeps_mock)
        address = bank.url.removeprefix("http://")
        self._plan.tell(f"✓ {'scripted bank':<17} {address:<17} {bank.ready_seconds:.2f} s")
        return bank

    def _start_engines(self) -> None:
        began = time.monotonic()
        paths = self.log_paths
        for number in range(self._plan.engines):
            path = None if self._plan.is_loud else paths[number]
            metrics = self.metrics_port if number == 0 else self._ports.hold(0, "--metrics-port")
            engine = DevelopmentEngine(self._environment(metrics), path)
            self.engines += (engine,)
            engine.start()
        for engine in self.engines:
            engine.await_ready()
        title = "engine" if self._plan.engines == 1 else f"{self._plan.engines} engines"
        address = f"{HOST}:{self.grpc_port}"
        self._plan.tell(f"✓ {title:<17} {address:<17} {time.monotonic() - began:.2f} s")

    def _environment(self, metrics_port: int) -> dict[str, str]:
        ours = {
            "server.host": HOST,
            "server.grpc_port": str(self.grpc_port),
            "server.http_port": str(self.http_port),
            "monitoring.metrics_port": str(metrics_port),
            "database.url": self.servers.database_url,
            "nats.url": self.servers.nats_url,
        }
        settings = to_environment(self._config)
        return settings | {env_name(key): value for key, value in ours.items()}

    def _stop_engines(self) -> None:
        deadline = time.monotonic()
        deadline += self._plan.config.server.drain_grace_seconds + DRAIN_MARGIN_SECONDS
        for engine in self.engines:
            engine.drain()
        for engine in self.engines:
            engine.end(deadline - time.monotonic())
