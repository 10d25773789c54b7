"""Several servers: a standby of PostgreSQL, a restored backup of it, a cluster of NATS."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Final

from settlement_engine.embedded import (
    EmbeddedNats,
    EmbeddedPostgres,
    cluster,
    files,
    ports,
    process,
)
from settlement_engine.embedded.ports import HOST

if TYPE_CHECKING:
    from pathlib import Path

BACKUP_SECONDS: Final = 60.0
SYNCHRONOUS: Final = {"synchronous_standby_names": "*"}
CONTROL: Final = {"max_wal_senders": "8", "wal_level": "replica", "hot_standby": "on"}


class Replica(EmbeddedPostgres):
    """A server with the data of another one: a standby, or a backup."""

    def take_from(self, primary: EmbeddedPostgres, *, is_standby: bool) -> None:
        """Copy a running server's data with ``pg_basebackup``."""
        with self._lock.held():
            files.write_private(self.data_dir / "password", primary.password + "\n")
            cluster.settle_owner(self.data_dir, self._mode)
            words = [f"--host={HOST}", f"--port={primary.port}", f"--username={cluster.SUPERUSER}"]
            words += [f"--pgdata={self._cluster}", "--wal-method=stream", "--checkpoint=fast"]
            words += ["--write-recovery-conf"] if is_standby else []
            answer = process.run(
                [self._binaries / "pg_basebackup", "--no-password", "--no-sync", *words],
                mode=self._mode,
                timeout_seconds=BACKUP_SECONDS,
                extra_environment={"PGPASSWORD": primary.password},
            )
            assert answer.returncode == 0, answer.stderr


def restore(server: EmbeddedPostgres, backup: Replica) -> None:
    """Replace a stopped server's data by an older state; the later log is lost."""
    assert not server.is_running
    shutil.rmtree(server.home)
    shutil.copytree(backup.home, server.home, symlinks=True)


class ClusteredNats(EmbeddedNats):
    """One of several NATS servers that replicate streams."""

    def __init__(self, data_dir: Path, *, name: str, password: str, routes: dict[str, int]) -> None:
        super().__init__(data_dir, port=ports.free_port())
        self.name = name
        self._routes = routes
        data_dir.mkdir(parents=True, exist_ok=True)
        files.write_private(data_dir / "password", password + "\n")

    def _configuration(self) -> str:
        others = ", ".join(
            f'"nats://{HOST}:{port}"' for name, port in self._routes.items() if name != self.name
        )
        text = super()._configuration().replace("settlement-embedded", self.name)
        place = f"{HOST}:{self._routes[self.name]}"
        return f'{text}cluster {{ name: "settlement", listen: "{place}", routes: [{others}] }}\n'


def nats_cluster(folder: Path, size: int = 3) -> list[ClusteredNats]:
    """Make the servers of a cluster, not yet started."""
    names = [f"nats-{number}" for number in range(size)]
    routes = {name: ports.free_port() for name in names}
    return [
        ClusteredNats(folder / name, name=name, password="cluster", routes=routes) for name in names
    ]
