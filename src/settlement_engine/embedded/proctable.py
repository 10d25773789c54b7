"""Queries to the kernel's process table.

It promises to treat a process as ours only on proof: it descends from our child, or it runs the server's program
inside the server's own data directory. A process id alone proves nothing, because ids are reused. So a process
to be killed is held by a handle (a pidfd) and verified again through it.
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

PROC = Path("/proc")
# Index in /proc/PID/stat, counted after the closing bracket of the program's name.
PARENT_FIELD = 1


def _pids() -> list[int]:
    return [int(entry.name) for entry in PROC.iterdir() if entry.name.isdecimal()]


def _parent(pid: int) -> int | None:
    try:
        text = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return int(text.rpartition(")")[2].split()[PARENT_FIELD])


def descendants(ancestor_pid: int) -> list[int]:
    """Return the children of a process, their children, and so on, without the process itself."""
    parents = {pid: _parent(pid) for pid in _pids()}
    found = [ancestor_pid]
    for pid in found:  # the list grows during the loop; each process is appended at most once
        found.extend(child for child, parent in parents.items() if parent == pid)
    return found[1:]


def lives_in(pid: int, directory: Path, program: str) -> bool:
    """Return whether the process runs ``program`` with ``directory`` as its working directory.

    PostgreSQL and its children work inside their data directory, and we start NATS in its own. A zombie, or
    another user's process whose directory is not readable, never matches.
    """
    try:
        here = (PROC / str(pid) / "cwd").stat()
        executable = (PROC / str(pid) / "exe").readlink().name
        there = directory.stat()
    except OSError:
        return False
    is_here = (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)
    # The kernel appends this mark when the program's file was replaced, for example by an upgrade.
    return is_here and executable.removesuffix(" (deleted)") == program


def residents(directory: Path, program: str) -> list[int]:
    """Return the processes that run ``program`` inside ``directory``."""
    return [pid for pid in _pids() if lives_in(pid, directory, program)]


def exists(pid: int) -> bool:
    """Return whether the process id is in use, also by a zombie or another user's process."""
    return (PROC / str(pid)).exists()


@contextlib.contextmanager
def handles(pids: Iterable[int], *, proof: Callable[[int], bool]) -> Iterator[list[int]]:
    """Open pidfds of the processes that still exist and pass ``proof``, so that a reused id is harmless."""
    with contextlib.ExitStack() as stack:
        held: list[int] = []
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                handle = os.pidfd_open(pid)
                stack.callback(os.close, handle)
                if proof(pid):
                    held.append(handle)
        yield held


def kill(handle: int) -> None:
    """Kill a held process; one that has ended already is no error."""
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(handle, signal.SIGKILL)
