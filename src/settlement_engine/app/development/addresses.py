"""The address file: ``dev`` writes it, and the commands find the running engine by it.

Promises: the file is complete or absent; only its owner can read it, because it holds passwords; it is
used only while the process that wrote it runs.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningAddresses:
    """The addresses and process ids of a running ``dev``."""

    grpc: str
    http: str
    metrics: str
    database_url: str
    nats_url: str
    pid: int
    engine_pids: tuple[int, ...]
    postgres_pid: int | None = None
    nats_pid: int | None = None
    simulator: str = ""
    simulator_pid: int | None = None


def write_addresses(path: Path, addresses: RunningAddresses) -> None:
    """Write the file atomically: a reader sees the old content or the new content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            values = asdict(addresses)
            if not addresses.simulator:
                del values["simulator"], values["simulator_pid"]
            json.dump(values, file, indent=2)
            file.write("\n")
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read_addresses(path: Path) -> RunningAddresses | None:
    """Read the file; None if it is missing, or if the ``dev`` that wrote it no longer runs."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        found = RunningAddresses(**{**values, "engine_pids": tuple(values["engine_pids"])})
        os.kill(found.pid, 0)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return found
