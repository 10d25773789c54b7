"""Where the commands find the engine: as named, or as the ``dev`` of this directory says in its address file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from settlement_engine.app.development.addresses import RunningAddresses, read_addresses

ADDRESS_FILE: Final = Path(".data") / "address.json"
DEFAULT_ADDRESS: Final = "127.0.0.1:50056"


def find_running(path: Path = ADDRESS_FILE) -> RunningAddresses | None:
    """Read the address file of this directory; None if no ``dev`` runs here."""
    return read_addresses(path)


def find_address() -> str:
    """Return the default address of the engine."""
    named = os.environ.get("SETTLEMENT_ADDRESS")
    if named:
        return named
    running = find_running()
    return running.grpc if running else DEFAULT_ADDRESS
