"""The installation that is measured, as the bench sees it; whoever starts the installation provides it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from settlement_lab.bench.processes import Pids


class Ground(Protocol):
    """A running installation."""

    @property
    def target(self) -> str:
        """The address of gRPC."""
        ...

    @property
    def database_url(self) -> str:
        """The URL of PostgreSQL, with the password."""
        ...

    @property
    def nats_url(self) -> str:
        """The URL of NATS, with the password; empty if events are disabled."""
        ...

    @property
    def data_dir(self) -> Path:
        """The directory to which the servers write."""
        ...

    def pids(self) -> Pids:
        """Return the current process ids."""
        ...

    def watch(self) -> None:
        """Restart what died. Call it many times a second while processes may die."""
        ...

    def kill_engines(self) -> None:
        """Kill every engine with SIGKILL."""
        ...

    def kill_nats(self) -> None:
        """Kill NATS with SIGKILL; it stays down until ``watch``."""
        ...
