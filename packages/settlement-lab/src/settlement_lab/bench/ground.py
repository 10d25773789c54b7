"""The installation that is measured, as the bench sees it; whoever starts it hands it over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from settlement_lab.bench.processes import Pids


class Ground(Protocol):
    """A running installation."""

    @property
    def target(self) -> str:
        """Where gRPC is."""
        ...

    @property
    def database_url(self) -> str:
        """Where PostgreSQL is, with the password."""
        ...

    @property
    def nats_url(self) -> str:
        """Where NATS is, with the password; empty when the events are switched off."""
        ...

    @property
    def data_dir(self) -> Path:
        """Where the servers write."""
        ...

    def pids(self) -> Pids:
        """Name the processes of now."""
        ...

    def watch(self) -> None:
        """Bring back what died. Call it many times a second while something may die."""
        ...

    def kill_engines(self) -> None:
        """Kill every engine with -9."""
        ...

    def kill_nats(self) -> None:
        """Kill NATS with -9; it stays away until ``watch``."""
        ...
