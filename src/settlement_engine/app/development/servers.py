"""The servers of a development installation: embedded ones, or those of the configuration.

Promises: a server whose URL is configured is not started; a server that was started is watched and stopped.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from settlement_engine.embedded import (
    MAX_FILE_DEFAULT,
    EmbeddedNats,
    EmbeddedPostgres,
    EmbeddedServers,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

    from settlement_engine.config import Config


class Servers:
    """PostgreSQL and NATS, embedded or external; ``nats_max_file`` limits the embedded NATS' disk use."""

    def __init__(
        self, config: Config, data_dir: Path, *, nats_max_file: str = MAX_FILE_DEFAULT
    ) -> None:
        self._database_url = config.database.url.get_secret_value()
        self._nats_url = config.nats.url.get_secret_value()
        self._needs_nats = config.nats.enabled and not self._nats_url
        self._data_dir = data_dir
        self._nats_max_file = nats_max_file
        self._both: EmbeddedServers | None = None
        self._postgres: EmbeddedPostgres | None = None
        self._nats: EmbeddedNats | None = None
        self._running = ExitStack()
        self.own_pid = os.getpid()

    def __enter__(self) -> Self:
        """Start what is needed."""
        if not self._database_url and self._needs_nats:
            self._both = self._running.enter_context(
                EmbeddedServers(self._data_dir, nats_max_file=self._nats_max_file)
            )
            self._postgres, self._nats = self._both.postgres, self._both.nats
        elif not self._database_url:
            self._postgres = EmbeddedPostgres(self._data_dir / "postgres", port=0)
            self._running.callback(self._postgres.stop)
            self._postgres.start()
        elif self._needs_nats:
            self._nats = EmbeddedNats(self._data_dir / "nats", port=0, max_file=self._nats_max_file)
            self._running.callback(self._nats.stop)
            self._nats.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop what was started."""
        self._running.close()

    @property
    def database_url(self) -> str:
        """The URL of PostgreSQL, with the password."""
        return self._postgres.url() if self._postgres else self._database_url

    @property
    def nats_url(self) -> str:
        """The URL of NATS, with the password; empty if NATS is disabled."""
        return self._nats.url() if self._nats else self._nats_url

    @property
    def postgres_pid(self) -> int | None:
        """The process id of the embedded PostgreSQL."""
        return self._postgres.pid if self._postgres else None

    @property
    def nats_pid(self) -> int | None:
        """The process id of the embedded NATS."""
        return self._nats.pid if self._nats else None

    def ways_in(self) -> dict[str, str]:
        """Say how a person connects to each embedded server; passwords are not shown."""
        ours = (self._postgres, self._nats)
        return {each.title: each.way_in() for each in ours if each is not None}

    def lines(self) -> Iterator[str]:
        """Describe each server in a line."""
        for server in (self._postgres, self._nats):
            if server is not None:
                name = f"{server.title} {server.server_version}"
                yield f"✓ {name:<17} {server.address:<17} {server.ready_seconds:.2f} s"

    def watch(self) -> tuple[str, ...]:
        """Restart a server that died, and return what was restarted."""
        if self._both is not None:
            return tuple(f"{title} was restarted" for title in self._both.watch())
        alone = self._postgres or self._nats
        if alone is not None and alone.restart_if_dead():
            return (f"{alone.title} was restarted",)
        return ()
