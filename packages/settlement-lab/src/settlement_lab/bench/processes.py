"""CPU time and memory of processes, as the kernel counts them.

Linux only, like the embedded servers that the bench starts.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

PROC: Final = Path("/proc")
TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
# Fields of /proc/PID/stat, counted after the closing bracket of the program's name.
PARENT, USER, SYSTEM, CHILDREN_USER, CHILDREN_SYSTEM = 1, 11, 12, 13, 14
FORGET_PEAK: Final = "5"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pids:
    """The processes of an installation; PostgreSQL's is the one whose children are the backends."""

    engines: Sequence[int]
    postgres: int | None
    nats: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """CPU seconds so far, by process group; a large file is read in a child of the engine."""

    engine: float = 0.0
    postgres: float = 0.0
    nats: float = 0.0
    client: float = 0.0


def spent(pids: Pids) -> Spent:
    """Read the CPU time of all processes; our own counts as the client."""
    own = os.times()
    return Spent(
        engine=sum(_tree_seconds(pid) for pid in pids.engines),
        postgres=_tree_seconds(pids.postgres),
        nats=_tree_seconds(pids.nats),
        client=own.user + own.system,
    )


def forget_peaks(pids: Pids) -> None:
    """Reset the peaks of memory."""
    for pid in pids.engines:
        with suppress(OSError):
            (PROC / str(pid) / "clear_refs").write_text(FORGET_PEAK, encoding="ascii")


def peak_bytes(pids: Pids) -> int:
    """Return the greatest memory peak of any engine, in bytes."""
    return max((_memory_bytes(pid, "VmHWM") for pid in pids.engines), default=0)


def resident_bytes(pids: Pids) -> int:
    """Return the current memory of the largest engine, in bytes."""
    return max((_memory_bytes(pid, "VmRSS") for pid in pids.engines), default=0)


def _memory_bytes(pid: int, name: str) -> int:
    with suppress(OSError):
        for line in (PROC / str(pid) / "status").read_text(encoding="ascii").splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return 0


def _fields(pid: int) -> list[str]:
    try:
        text = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def _seconds(pid: int) -> float:
    fields = _fields(pid)
    return (int(fields[USER]) + int(fields[SYSTEM])) / TICKS_PER_SECOND if fields else 0.0


def _tree_seconds(pid: int | None) -> float:
    """Add up a process, its children that have ended, and those that run."""
    fields = _fields(pid) if pid is not None else []
    if not fields:
        return 0.0
    ticks = sum(int(fields[place]) for place in (USER, SYSTEM, CHILDREN_USER, CHILDREN_SYSTEM))
    numbers = [int(entry.name) for entry in PROC.iterdir() if entry.name.isdecimal()]
    children = [number for number in numbers if _parent(number) == pid]
    return ticks / TICKS_PER_SECOND + sum(_seconds(child) for child in children)


def _parent(pid: int) -> int | None:
    fields = _fields(pid)
    return int(fields[PARENT]) if fields else None
