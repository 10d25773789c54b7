"""The machine on which figures were measured: without it they cannot be compared."""

from __future__ import annotations

import os
import platform
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

PAGE_BYTES: Final = 8_192
FSYNC_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What a reader needs in order to compare. ``fsyncs_per_second`` counts single blocks forced to disk."""

    processor: str
    cores: int
    memory_bytes: int
    kernel: str
    python: str
    postgres: str
    nats: str
    load_before: float
    fsyncs_per_second: float


def describe(data_dir: Path, servers: Mapping[str, str]) -> Machine:
    """Describe the machine; ``servers`` has the versions of ``postgres`` and ``nats``."""
    return Machine(
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        kernel=platform.release(),
        python=platform.python_version(),
        postgres=servers.get("postgres", ""),
        nats=servers.get("nats", ""),
        load_before=os.getloadavg()[0],
        fsyncs_per_second=measure_fsyncs(data_dir),
    )


def measure_fsyncs(directory: Path, seconds: float = FSYNC_SECONDS) -> float:
    """Force one block to the disk again and again, as a commit does; return how often per second."""
    page = os.urandom(PAGE_BYTES)
    with tempfile.NamedTemporaryFile(dir=directory, prefix="fsync-") as file:
        handle = file.fileno()
        count = 0
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            os.pwrite(handle, page, 0)
            os.fdatasync(handle)
            count += 1
        return count / (time.monotonic() - began)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
