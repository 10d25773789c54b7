"""The installation that the bench measures: embedded servers and engines, as ``dev`` starts them."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from settlement_engine.app.development.world import DevSetup, InstallationPlan
from settlement_engine.cli.development.command import with_book
from settlement_engine.config import load
from settlement_lab.bench.processes import Pids

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

SETTINGS: Final[Mapping[str, Any]] = {
    "profile": "dev",
    "server.grpc_port": 0,
    "server.http_port": 0,
    "monitoring.metrics_port": 0,
    "monitoring.log_level": "warning",
    "database.url": "",
    "nats.url": "",
    "banks.mock_enabled": True,
    "banks.mock_latency_ms": 0,
    "banks.mock_success_rate": 1,
    "banks.mock_seed": 7,
}
"""The mock bank settles every payment at once, so that only the engine is measured."""

STREAM_BYTES_MAX: Final = "64G"
"""A long run announces ten million moves; a smaller stream would become full and stop the relay."""


class WorldGround:
    """See ``bench.ground.Ground``."""

    def __init__(self, world: DevSetup, data_dir: Path) -> None:
        self._world = world
        self.data_dir = data_dir

    @property
    def target(self) -> str:
        """The address of gRPC."""
        return self._world.addresses().grpc

    @property
    def database_url(self) -> str:
        """The URL of PostgreSQL."""
        return self._world.addresses().database_url

    @property
    def nats_url(self) -> str:
        """The URL of NATS; empty if NATS is disabled."""
        return self._world.addresses().nats_url

    def pids(self) -> Pids:
        """Return the current process ids."""
        at = self._world.addresses()
        return Pids(engines=at.engine_pids, postgres=at.postgres_pid, nats=at.nats_pid)

    def watch(self) -> None:
        """Restart what died."""
        self._world.watch()

    def kill_engines(self) -> None:
        """Kill all engines with SIGKILL."""
        for engine in self._world.engines:
            engine.kill()

    def kill_nats(self) -> None:
        """Kill NATS with SIGKILL."""
        pid = self._world.servers.nats_pid
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@contextmanager
def started(
    data_dir: Path,
    *,
    engines: int = 1,
    settings: Mapping[str, Any] | None = None,
    has_simulator: bool = False,
    tell: Callable[[str], None],
) -> Iterator[WorldGround]:
    """Start an installation in a directory; it stops at the end of the block."""
    chosen = {**SETTINGS, **(settings or {})}
    config = with_book(load(None, chosen, search=False), data_dir).config
    plan = InstallationPlan(
        config=config,
        data_dir=data_dir,
        engines=engines,
        address_files=(),
        is_loud=False,
        tell=tell,
        nats_max_file=STREAM_BYTES_MAX,
        has_simulator=has_simulator,
    )
    with DevSetup(plan) as world:
        yield WorldGround(world, data_dir)
