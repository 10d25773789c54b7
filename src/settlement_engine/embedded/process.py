"""How a server process is started, waited for and ended.

Promises: a server ends with the process that started it; ending escalates within named timeouts and includes
all child processes; only processes that we started, or that prove to be orphans of ours, are ended, by process
id. It must never start a server from a worker thread: the kernel ties the child to the *thread* that started it,
so that the server would be killed when that thread ends.
"""

from __future__ import annotations

import contextlib
import functools
import os
import pwd
import signal
import subprocess
import sys
import threading
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final, assert_never

from settlement_engine.embedded import files, proctable
from settlement_engine.embedded.errors import EmbeddedServerError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import IO

# The id of the user nobody: mapped to our own user in a user namespace, the real nobody after a drop.
UNPRIVILEGED_ID: Final = 65534
POLL_SECONDS: Final = 0.005
PROBE_SECONDS: Final = 10.0
KILL_SECONDS: Final = 10.0
# The environment variables a server needs; others may hold secrets or PG* settings.
ENVIRONMENT_KEPT: Final = ("PATH", "HOME", "LD_LIBRARY_PATH", "TMPDIR")
SHIM: Final = Path(__file__).with_name("shim.py")


class LaunchMode(StrEnum):
    """The user under which a server runs."""

    SAME = "same"
    """Our own user."""
    NAMESPACE = "namespace"
    """The user nobody inside a user namespace, which is our own user for the file system."""
    DROP = "drop"
    """The machine's user nobody; the data must belong to nobody too."""


def choose_mode(*, must_drop: bool = False) -> LaunchMode:
    """Choose the mode in which PostgreSQL agrees to run.

    PostgreSQL refuses root, and a user without an entry in the password file (as in OpenShift). A user
    namespace solves both without an account; ``must_drop`` is for data that nobody owns already.
    """
    is_root = os.geteuid() == 0
    if is_root and must_drop:
        return LaunchMode.DROP
    if not is_root and _has_name(os.geteuid()):
        return LaunchMode.SAME
    if namespaces_work():
        return LaunchMode.NAMESPACE
    return LaunchMode.DROP if is_root else LaunchMode.SAME


def _has_name(uid: int) -> bool:
    with contextlib.suppress(KeyError):
        return bool(pwd.getpwuid(uid))
    return False


@functools.cache
def namespaces_work() -> bool:
    """Test once whether user namespaces work: containers and hardened kernels forbid them in several ways."""
    result = run(["/bin/sh", "-c", ":"], mode=LaunchMode.NAMESPACE, timeout_seconds=PROBE_SECONDS)
    return result.returncode == 0


def obstacle(path: Path, mode: LaunchMode) -> Path | None:
    """Return the directory that a server in this mode cannot enter on the way to ``path``, if any.

    In a namespace root has no special privileges: the permission bits apply to it.
    """
    path = path.resolve()
    match mode:
        case LaunchMode.SAME:
            return None
        case LaunchMode.NAMESPACE:
            groups = frozenset({os.getegid(), *os.getgroups()})
            return files.first_unreachable(path, os.geteuid(), groups)
        case LaunchMode.DROP:
            return files.first_unreachable(path, UNPRIVILEGED_ID, frozenset({UNPRIVILEGED_ID}))
        case _:
            assert_never(mode)


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return a minimal environment, with a fixed locale and time zone."""
    kept = {name: os.environ[name] for name in ENVIRONMENT_KEPT if name in os.environ}
    return {**kept, "LC_ALL": "C", "TZ": "UTC", **(extra or {})}


def _shimmed(
    command: Sequence[str | Path], mode: LaunchMode, death_signal: signal.Signals
) -> list[str]:
    if sys.platform != "linux":
        raise EmbeddedServerError(
            "The embedded servers cannot run here.",
            why=f"they rely on Linux to end with their parent, and this is {sys.platform}",
            todo="set the URLs of your own PostgreSQL and NATS; nothing embedded starts then",
        )
    assert threading.current_thread() is threading.main_thread(), (
        "begin servers from the main thread: they die with the thread that began them"
    )
    interpreter = [sys.executable, "-I", "-S", str(SHIM), mode.value]
    ids = [str(UNPRIVILEGED_ID), str(UNPRIVILEGED_ID)]
    watch = [str(int(death_signal)), str(os.getpid())]
    return [*interpreter, *ids, *watch, *(str(word) for word in command)]


def spawn(
    command: Sequence[str | Path],
    *,
    mode: LaunchMode,
    death_signal: signal.Signals,
    directory: Path,
    log: IO[bytes],
) -> subprocess.Popen[bytes]:
    """Start a server in ``directory``, in a session of its own, with its output written to ``log``.

    The session keeps Ctrl-C from reaching it: the engine drains first, then we end the servers.
    """
    return subprocess.Popen(
        _shimmed(command, mode, death_signal),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        cwd=directory,
        env=environment(),
        start_new_session=True,
        umask=0o077,
    )


def run(
    command: Sequence[str | Path],
    *,
    mode: LaunchMode | None = None,
    timeout_seconds: float,
    extra_environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end and return its output; through the shim only if a mode is given."""
    words = [str(word) for word in command]
    try:
        return subprocess.run(
            words if mode is None else _shimmed(words, mode, signal.SIGTERM),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            env=environment(extra_environment),
            start_new_session=True,
            umask=0o077,
            timeout=timeout_seconds,
        )
    except subprocess.TimeoutExpired as error:
        raise EmbeddedServerError(
            f"{Path(command[0]).name} did not come to an end.",
            why=f"it was given {timeout_seconds:g} s",
            todo="look at the machine's load and disk, then try again",
        ) from error


def wait_until(condition: Callable[[], bool], *, timeout_seconds: float) -> bool:
    """Poll until the condition holds; return False when the time is over."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def terminate(
    child: subprocess.Popen[bytes], steps: Sequence[tuple[signal.Signals, float]]
) -> None:
    """Send the signals in order, waiting after each for its number of seconds; at last kill the tree."""
    for step, wait_seconds in steps:
        if child.poll() is not None:
            return
        child.send_signal(step)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(timeout=wait_seconds)
    if child.poll() is None:
        _kill_tree(child)


def _kill_tree(child: subprocess.Popen[bytes]) -> None:
    # The descendants are listed first: once the parent is dead, nothing shows whose children they were.
    with proctable.handles(
        proctable.descendants(child.pid),
        proof=lambda pid: pid in proctable.descendants(child.pid),
    ) as descendants:
        child.kill()
        for descendant in descendants:
            proctable.kill(descendant)
    try:
        child.wait(timeout=KILL_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise EmbeddedServerError(
            f"Process {child.pid} could not be killed.",
            why=f"it did not end within {KILL_SECONDS:g} s of SIGKILL; its disk may hang",
            todo="look at the kernel's messages (dmesg) before anything else",
        ) from error
