"""What PostgreSQL and NATS have in common: starting, watching and stopping a server.

Promises: ``start`` returns when the server answers, or raises and leaves nothing behind; a server that died
restarts on the same port with the same data; an earlier server that is still shutting down is waited for, never
run in parallel. It must never use a directory that another process holds.
"""

from __future__ import annotations

import abc
import contextlib
import shlex
import time
from typing import TYPE_CHECKING, ClassVar, Final

from settlement_engine.embedded import files, ports, proctable
from settlement_engine.embedded.errors import EmbeddedServerError
from settlement_engine.embedded.ports import HOST
from settlement_engine.embedded.process import KILL_SECONDS, terminate, wait_until

if TYPE_CHECKING:
    import signal
    import subprocess
    from collections.abc import Sequence
    from pathlib import Path
    from typing import IO

PORT_NOTE: Final = "port"
# Crash recovery may have to replay up to max_wal_size.
READY_SECONDS: Final = 120.0
# For temporary causes: a port in use, or shared memory of the previous server.
LAUNCH_TIMEOUT_SECONDS: Final = 15.0
LAUNCH_PAUSE_SECONDS: Final = 0.1
# A server whose parent was killed still writes its shutdown checkpoint.
PREDECESSOR_SECONDS: Final = 30.0
# Children of a killed server usually notice it at once.
ORPHAN_SECONDS: Final = 2.0
PORT_IN_USE: Final = "address already in use"


class EmbeddedServer(abc.ABC):
    """One server process, its data directory and its port.

    ``port=0`` takes any free port and keeps it: it is noted next to the data, and is used again at the next
    start unless another process has it by then.
    """

    title: ClassVar[str]
    program: ClassVar[str]
    stop_steps: ClassVar[Sequence[tuple[signal.Signals, float]]]
    # What a server prints before it exits when the cause is temporary.
    passing_complaints: ClassVar[tuple[str, ...]] = ()

    def __init__(self, data_dir: Path, *, port: int) -> None:
        self.data_dir = data_dir.absolute()
        self.log_path = self.data_dir / f"{self.program}.log"
        self.ready_seconds = 0.0
        self._configured_port = port
        self._port_note = self.data_dir / PORT_NOTE
        self._port: int | None = port or None
        self._child: subprocess.Popen[bytes] | None = None
        self._is_wanted = False
        self._lock = files.DirectoryLock(self.data_dir)

    @property
    @abc.abstractmethod
    def home(self) -> Path:
        """The working directory of the server's processes."""

    @property
    @abc.abstractmethod
    def server_version(self) -> str:
        """The version of the program, such as ``18.6``."""

    @abc.abstractmethod
    def init(self) -> bool:
        """Create the data directory; return False when it existed already."""

    @abc.abstractmethod
    def _spawn(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start the server's process."""

    @abc.abstractmethod
    def _find_port(self, child: subprocess.Popen[bytes]) -> int | None:
        """Return the port on which the server answers, or None while it does not."""

    @abc.abstractmethod
    def _main_resident(self) -> int | None:
        """Return the server process that runs in the directory without being our child."""

    @abc.abstractmethod
    def _after_start(self) -> None:
        """Do what needs a server that answers."""

    @abc.abstractmethod
    def _after_stop(self) -> None:
        """Remove what only a running server needs."""

    @abc.abstractmethod
    def way_in(self) -> str:
        """Return a command that connects a person to the server; the password stays in its file."""

    def password_word(self) -> str:
        """Return a shell expression that yields the password."""
        return f'"$(cat {shlex.quote(str(self.data_dir / "password"))})"'

    @property
    def port(self) -> int:
        """The port; known once the server was started. Raises EmbeddedServerError before."""
        if self._port is None:
            raise EmbeddedServerError(
                f"The port of {self.title} is not known yet.",
                why="it is chosen when the server starts",
                todo="call start() first",
            )
        return self._port

    @property
    def address(self) -> str:
        """The server's address, such as ``127.0.0.1:41873``."""
        return f"{HOST}:{self.port}"

    @property
    def pid(self) -> int | None:
        """The process id of the running server."""
        return self._child.pid if self._child is not None and self.is_running else None

    @property
    def is_running(self) -> bool:
        """Whether our child process runs; a zombie counts as ended and is reaped by this call."""
        return self._child is not None and self._child.poll() is None

    def poll(self) -> int | None:
        """Return the exit status of our child, or None while it runs or before it was started."""
        return None if self._child is None else self._child.poll()

    def start(self) -> None:
        """Start the server and return when it answers. A running one is left alone."""
        if self.is_running:
            return
        begun = time.monotonic()
        with contextlib.ExitStack() as undo:
            if (
                not self._is_wanted
            ):  # a restart that fails is retried and keeps the directory's lock
                undo.callback(self._lock.release)
            self._lock.acquire()
            undo.callback(self._end_child)
            self.init()
            self._clear_predecessor()
            if self._port is None:
                self._port = ports.noted_port(self._port_note)
            self._launch()
            self._after_start()
            if not self._configured_port:
                ports.note_port(self._port_note, self.port)
            undo.pop_all()
        self._is_wanted = True
        self.ready_seconds = time.monotonic() - begun

    def stop(self) -> None:
        """Stop the server, cleanly if possible, and release the directory. May be called again.

        Without the directory's lock nothing in it is ours to end: another process may run there now.
        """
        self._is_wanted = False
        if not self._lock.is_held:
            return
        try:
            self._end_child()
        finally:
            self._lock.release()

    @property
    def is_dead(self) -> bool:
        """Whether the server was started, not stopped, and has ended all the same."""
        return self._is_wanted and not self.is_running

    @property
    def is_stuck(self) -> bool:
        """Whether the server runs but will not work until it is restarted."""
        return False

    def restart_if_dead(self) -> bool:
        """Restart a dead or stuck server in the same directory; return whether that was necessary."""
        if self._is_wanted and self.is_running and self.is_stuck:
            self._end_child()
        files.bound_log(self.log_path)
        if not self.is_dead:
            return False
        self.start()
        return True

    def _end_child(self) -> None:
        if self._child is not None:
            terminate(self._child, self.stop_steps)
            self._await_orphans()
        self._after_stop()

    def _launch(self) -> None:
        deadline = time.monotonic() + LAUNCH_TIMEOUT_SECONDS
        while (complaint := self._launch_once()) is not None:
            if not self._will_pass(complaint) or time.monotonic() >= deadline:
                raise self._refusal(complaint)
            if PORT_IN_USE in complaint.lower() and not self._is_wanted:
                self._port = self._configured_port or None  # another port is tried
            time.sleep(LAUNCH_PAUSE_SECONDS)

    def _launch_once(self) -> str | None:
        """Start the server; return its error output if it ended instead of becoming ready."""
        with files.open_log(self.log_path) as log:
            offset = log.tell()
            child = self._child = self._spawn(log)
        found: list[int] = []

        def has_decided() -> bool:
            if (port := self._find_port(child)) is not None:
                found.append(port)
            return bool(found) or child.poll() is not None

        has_decided_in_time = wait_until(has_decided, timeout_seconds=READY_SECONDS)
        if found:
            self._port = found[0]
            return None
        complaint = files.read_from(self.log_path, offset)
        if not has_decided_in_time:
            raise self._refusal(f"it was not ready after {READY_SECONDS:g} s\n{complaint}")
        return complaint or f"it ended with status {child.returncode} and said nothing"

    def _will_pass(self, complaint: str) -> bool:
        is_ours_to_wait_for = self._configured_port == 0 or self._is_wanted
        is_port_in_use = PORT_IN_USE in complaint.lower() and is_ours_to_wait_for
        return is_port_in_use or any(words in complaint for words in self.passing_complaints)

    def _refusal(self, complaint: str) -> EmbeddedServerError:
        todo = f"read {self.log_path}"
        if PORT_IN_USE in complaint.lower():
            todo = f"free port {self._port}, or ask for port 0, which takes any free one"
        return EmbeddedServerError(f"{self.title} did not start.", why=complaint, todo=todo)

    def _clear_predecessor(self) -> None:
        """Ensure that no process of an earlier server still works on the data."""
        if not wait_until(
            lambda: self._main_resident() is None, timeout_seconds=PREDECESSOR_SECONDS
        ):
            raise EmbeddedServerError(
                f"Another {self.title} runs in {self.home}.",
                why=f"process {self._main_resident()} was not started by us and does not end",
                todo=f"stop it (kill -INT {self._main_resident()}), then try again",
            )
        self._await_orphans()

    def _await_orphans(self) -> None:
        """Wait for the children of a dead server; then kill them, because nothing else will.

        What they had not committed is lost with their server already, and what they had committed is in the
        write-ahead log on disk: recovery needs them gone, not finished.
        """
        if wait_until(lambda: not self._residents(), timeout_seconds=ORPHAN_SECONDS):
            return
        with proctable.handles(
            self._residents(),
            proof=lambda pid: proctable.lives_in(pid, self.home, self.program),
        ) as orphans:
            for orphan in orphans:
                proctable.kill(orphan)
        if not wait_until(lambda: not self._residents(), timeout_seconds=KILL_SECONDS):
            raise EmbeddedServerError(
                f"Children of a dead {self.title} are still in {self.home}.",
                why=f"processes {self._residents()} outlived SIGKILL by {KILL_SECONDS:g} s",
                todo="look at the kernel's messages (dmesg) before anything else",
            )

    def _residents(self) -> list[int]:
        return proctable.residents(self.home, self.program)
