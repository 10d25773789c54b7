"""PostgreSQL and NATS together in one data directory.

Promises: both servers answer when the ``with`` block begins, or neither is left running; two processes never
share a directory; ``watch`` restarts a server that died or is stuck, in the same directory and with a limit on
restarts. It must be used from the main thread.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from typing_extensions import override

from settlement_engine.embedded import files
from settlement_engine.embedded.errors import EmbeddedServerError
from settlement_engine.embedded.nats import MAX_FILE_DEFAULT, EmbeddedNats
from settlement_engine.embedded.postgres import NO_OPTIONS, EmbeddedPostgres

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

    from settlement_engine.embedded.server import EmbeddedServer

# A server that fails this often in this time has a cause that no restart removes.
RESTARTS_MAX: Final = 30
RESTARTS_WINDOW_SECONDS: Final = 60.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStatus:
    """What a person needs to know about a server."""

    name: str
    version: str
    address: str
    pid: int | None
    ready_seconds: float

    @override
    def __str__(self) -> str:
        """Return one line for a terminal."""
        mark = "✓" if self.pid is not None else "✗"
        name = f"{self.name} {self.version}"
        return f"{mark} {name:<17} {self.address:<17} {self.ready_seconds:.2f} s"


class EmbeddedServers:
    """Both servers, started by ``with`` and stopped at its end.

    ``pg_options`` override the default settings; port 0 takes any free port.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        pg_options: Mapping[str, str] = NO_OPTIONS,
        pg_version: str | None = None,
        pg_port: int = 0,
        nats_port: int = 0,
        nats_max_file: str = MAX_FILE_DEFAULT,
    ) -> None:
        self.data_dir = data_dir.absolute()
        self.postgres = EmbeddedPostgres(
            self.data_dir / "postgres", port=pg_port, options=pg_options, version=pg_version
        )
        self.nats = EmbeddedNats(self.data_dir / "nats", port=nats_port, max_file=nats_max_file)
        self._lock = files.DirectoryLock(self.data_dir)
        self._running = contextlib.ExitStack()
        self._restarted_at: deque[float] = deque(maxlen=RESTARTS_MAX)

    @property
    def _servers(self) -> tuple[EmbeddedServer, ...]:
        return (self.postgres, self.nats)

    def __enter__(self) -> Self:
        """Start both servers."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop both servers."""
        self.stop()

    def start(self) -> None:
        """Start both servers; on failure or interruption stop what was started."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as bring_up:
            self._lock.acquire()
            bring_up.callback(self._lock.release)
            for server in self._servers:
                bring_up.callback(server.stop)
                server.start()
            self._running = bring_up.pop_all()

    def stop(self) -> None:
        """Stop both servers, cleanly if possible. May be called again."""
        self._running.close()

    def watch(self) -> tuple[str, ...]:
        """Restart every server that died, and return their names. Call it a few times a second.

        It returns at once unless a server is dead; then it takes as long as that server's start.
        """
        restarted = []
        for server in self._servers:
            status, is_stuck = server.poll(), server.is_stuck
            if server.is_dead or is_stuck:
                self._allow_restart(server)
            if server.restart_if_dead():
                why = "was stuck" if is_stuck else f"ended with status {status}"
                logger.warning("%s %s and was restarted", server.title, why)
                restarted.append(server.title)
        return tuple(restarted)

    def _allow_restart(self, server: EmbeddedServer) -> None:
        now = time.monotonic()
        is_full = len(self._restarted_at) == RESTARTS_MAX
        if is_full and now - self._restarted_at[0] < RESTARTS_WINDOW_SECONDS:
            raise EmbeddedServerError(
                f"{server.title} stops again and again.",
                why=f"{RESTARTS_MAX} restarts within {RESTARTS_WINDOW_SECONDS:g} s did not help",
                todo=f"read {server.log_path}",
            )
        self._restarted_at.append(now)

    def statuses(self) -> tuple[ServerStatus, ...]:
        """Return the status of each server."""
        return tuple(
            ServerStatus(
                name=server.title,
                version=server.server_version,
                address=server.address,
                pid=server.pid,
                ready_seconds=server.ready_seconds,
            )
            for server in self._servers
        )
