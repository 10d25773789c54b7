"""A small program that becomes the server: it changes its user, then executes the command.

Run as ``python -I -S shim.py MODE UID GID SIGNAL PARENT COMMAND...``. It promises that the server is not root
when PostgreSQL would refuse root, and that the server ends when the process that started it ends, also when that
process is killed. It must import nothing outside the standard library: it runs without our packages, and before
the privileges are dropped.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

CLONE_NEWUSER = 0x10000000
PR_SET_PDEATHSIG = 1
# The status that shells return when a command cannot be executed.
EXIT_NOT_EXECUTABLE = 126
# The parent died before it could be watched, so this server is not needed any more.
EXIT_ORPHANED = 125


def enter_namespace(libc: ctypes.CDLL, inner_uid: int, inner_gid: int) -> None:
    """Become ``inner_uid`` for the program, but stay the same user for the file system."""
    outer_uid, outer_gid = os.geteuid(), os.getegid()
    if libc.unshare(CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "user namespaces are forbidden here")
    # The kernel accepts a group map from an unprivileged process only after setgroups is denied.
    Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
    Path("/proc/self/uid_map").write_text(f"{inner_uid} {outer_uid} 1", encoding="ascii")
    Path("/proc/self/gid_map").write_text(f"{inner_gid} {outer_gid} 1", encoding="ascii")


def drop_to(uid: int, gid: int) -> None:
    """Drop root for good; the group first, because afterwards it is not permitted."""
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


def die_with_parent(libc: ctypes.CDLL, death_signal: int, parent_pid: int) -> None:
    """Ask the kernel for ``death_signal`` when the parent's thread ends.

    This comes after the change of user, which would reset it. The parent may have died before the request;
    then no signal would come, so that is checked.
    """
    if libc.prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent_pid:
        sys.exit(EXIT_ORPHANED)


def main(arguments: list[str]) -> None:
    """Prepare the process as the arguments say, and replace it by the command."""
    mode, command = arguments[0], arguments[5:]
    uid, gid, death_signal, parent_pid = (int(text) for text in arguments[1:5])
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        if mode == "namespace":
            enter_namespace(libc, uid, gid)
        elif mode == "drop":
            drop_to(uid, gid)
        die_with_parent(libc, death_signal, parent_pid)
        # Without a shell in between, which would receive the signals instead of the server.
        os.execv(command[0], command)  # noqa: S606
    except OSError as error:
        sys.stderr.write(f"cannot execute {command[0]}: {error}\n")
        sys.exit(EXIT_NOT_EXECUTABLE)


if __name__ == "__main__":
    main(sys.argv[1:])
