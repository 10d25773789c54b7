"""The address file: ``dev`` writes it, and the other commands find the running engine by it.

Promises: the file is complete or absent; only its owner can read it, because it holds passwords; it is
used only while the process that wrote it runs.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

ADDRESS_FILE: Final = Path(".data") / "address.json"
DEFAULT_ADDRESS: Final = "127.0.0.1:50056"


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


def find_running(path: Path = ADDRESS_FILE) -> RunningAddresses | None:
    """Read the address file of this directory; None if no ``dev`` runs here."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        found = RunningAddresses(**{**values, "engine_pids": tuple(values["engine_pids"])})
        os.kill(found.pid, 0)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return found


def find_address() -> str:
    """Return the default address of the engine."""
    named = os.environ.get("SETTLEMENT_ADDRESS")
    if named:
        return named
    running = find_running()
    return running.grpc if running else DEFAULT_ADDRESS
