"""Questions to the kernel's table of processes.

It promises to name a process ours only on proof: it descends from our child, or it runs the
server's program inside the server's own data directory. A number alone proves nothing, for numbers
are used again; so whoever is to be killed is held by a handle (a pidfd) and proved once more
through it.
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
# In /proc/PID/stat, counted after the closing bracket of the program's name.
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
    """Return the children of a process, their children, and so on, without itself."""
    parents = {pid: _parent(pid) for pid in _pids()}
    found = [ancestor_pid]
    for pid in found:  # It grows while it is walked; each process is appended at most once.
        found.extend(child for child, parent in parents.items() if parent == pid)
    return found[1:]


def lives_in(pid: int, directory: Path, program: str) -> bool:
    """Say whether the process runs ``program`` with ``directory`` as its working directory.

    PostgreSQL and its children work inside their data directory, and we start NATS in its own. A
    zombie, and a process of somebody else's whose directory we may not see, lives nowhere.
    """
    try:
        here = (PROC / str(pid) / "cwd").stat()
        executable = (PROC / str(pid) / "exe").readlink().name
        there = directory.stat()
    except OSError:
        return False
    is_here = (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)
    # The kernel marks a program whose file was replaced, as an upgrade of the wheel does.
    return is_here and executable.removesuffix(" (deleted)") == program


def residents(directory: Path, program: str) -> list[int]:
    """Return the processes that run ``program`` inside ``directory``."""
    return [pid for pid in _pids() if lives_in(pid, directory, program)]


def exists(pid: int) -> bool:
    """Say whether the number is taken, be it by a zombie or by a process of somebody else's."""
    return (PROC / str(pid)).exists()


@contextlib.contextmanager
def handles(pids: Iterable[int], *, proof: Callable[[int], bool]) -> Iterator[list[int]]:
    """Hold the processes that are still there and still meant, so that no number is mistaken."""
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
    """Kill a held process; one that ended meanwhile is fine."""
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(handle, signal.SIGKILL)
