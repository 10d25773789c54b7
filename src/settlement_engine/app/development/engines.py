"""Engine processes: started, watched, restarted, drained.

Promises: an engine that dies is restarted at once on the same ports, and with growing pauses if it keeps
dying; if the first start fails, the error shows the end of the engine's log. It must be used from the main
thread: the kernel kills an engine when the thread that started it ends.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from settlement_engine.app.development.child import PARENT, READY_PIPE
from settlement_engine.embedded import files
from settlement_engine.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

YOUNG_SECONDS: Final = 1.0
"""An engine that dies earlier than this counts as a failed start; the next start waits."""

PAUSE_FIRST_SECONDS: Final = 0.1
PAUSE_MAX_SECONDS: Final = 2.0
FAILURES_COUNTED_MAX: Final = 10
READY_SECONDS_MAX: Final = 60.0
POLL_SECONDS: Final = 0.05
KILL_SECONDS: Final = 5.0
INHERITED: Final = frozenset(
    ["HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "NO_COLOR", "PATH", "PYTHONPATH", "TMPDIR", "TZ"]
)
"""The variables that an engine inherits; all its settings are passed explicitly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundPorts:
    """Where an engine listens."""

    grpc: int
    http: int
    metrics: int


COMMAND: Final = (sys.executable, "-m", "settlement_engine", "engine-process")


class DevelopmentEngine:
    """One engine process and its restarts. Without ``log_path`` it writes to our standard error."""

    def __init__(
        self,
        environment: Mapping[str, str],
        log_path: Path | None,
        command: Sequence[str] = COMMAND,
    ) -> None:
        self._environment = dict(environment)
        self._command = tuple(command)
        self._log_path = log_path
        self._log_offset = 0
        self._child: subprocess.Popen[bytes] | None = None
        self._pipe = -1
        self._words = b""
        self._began_at = 0.0
        self._resume_at = 0.0
        self._failures = 0
        self.ports: BoundPorts | None = None
        self.restarts = 0

    @property
    def pid(self) -> int | None:
        """The process id, or None if no process runs."""
        return self._child.pid if self._child is not None else None

    @property
    def is_ready(self) -> bool:
        """Whether the current process has reported its ports."""
        return self.ports is not None

    def start(self) -> None:
        """Start a process; it is not ready yet."""
        reader, writer = os.pipe()
        kept = {name: value for name, value in os.environ.items() if name in INHERITED}
        ours = {READY_PIPE: str(writer), PARENT: str(os.getpid())}
        log = files.open_log(self._log_path) if self._log_path else None
        try:
            self._log_offset = log.tell() if log else 0
            self._child = subprocess.Popen(  # noqa: S603 -- the engine's own program
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log or sys.stderr.fileno(),
                stderr=log or sys.stderr.fileno(),
                env={**kept, **self._environment, **ours},
                pass_fds=(writer,),
                start_new_session=True,  # Ctrl-C goes to us only; we drain the engine
            )
        finally:
            os.close(writer)
            if log:
                log.close()
        os.set_blocking(reader, False)
        self._pipe, self._words, self.ports = reader, b"", None
        self._began_at = time.monotonic()

    def watch(self) -> bool:
        """Check the process; true if it was restarted or has become ready."""
        if self._log_path:
            files.bound_log(self._log_path)
        if self._child is None:
            return self._restart_in_time()
        became_ready = self._listen()
        if self._child.poll() is None:
            return became_ready
        self._remove_process()
        return self._restart_in_time()

    def await_ready(self) -> None:
        """Wait until it is ready for the first time. Raises Unavailable with the end of its log."""
        deadline = time.monotonic() + READY_SECONDS_MAX
        while not self._listen():
            assert self._child is not None, "start it first"
            status = self._child.poll()
            if status is not None:
                raise self._refusal(f"its process ended with status {status}")
            if time.monotonic() > deadline:
                raise self._refusal(f"it was not ready after {READY_SECONDS_MAX:g} s")
            time.sleep(POLL_SECONDS)

    def kill(self) -> int | None:
        """Kill it with SIGKILL, like a crash; return its process id. ``watch`` restarts it."""
        pid = self.pid
        if self._child is not None:
            self._child.kill()
        return pid

    def drain(self) -> None:
        """Ask it to finish its work and to stop."""
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(signal.SIGTERM)

    def end(self, timeout_seconds: float) -> None:
        """Wait until it has stopped, and kill it after the time-out."""
        if self._child is None:
            return
        try:
            self._child.wait(timeout=max(timeout_seconds, 0.0))
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait(timeout=KILL_SECONDS)
        self._close_pipe()
        self._child = None

    def _remove_process(self) -> None:
        is_young = time.monotonic() - self._began_at < YOUNG_SECONDS
        self._failures = min(self._failures + 1, FAILURES_COUNTED_MAX) if is_young else 0
        pause = PAUSE_FIRST_SECONDS * 2 ** (self._failures - 1) if self._failures else 0.0
        self._resume_at = time.monotonic() + min(pause, PAUSE_MAX_SECONDS)
        self._close_pipe()
        self._child, self.ports = None, None

    def _restart_in_time(self) -> bool:
        if time.monotonic() < self._resume_at:
            return False
        self.start()
        self.restarts += 1
        return True

    def _listen(self) -> bool:
        if self._pipe < 0:
            return False
        with suppress(BlockingIOError):
            while words := os.read(self._pipe, 4096):
                self._words += words
            self._close_pipe()  # the message is complete
            with suppress(ValueError):
                self.ports = BoundPorts(**json.loads(self._words))
        return self.ports is not None and self._pipe < 0

    def _close_pipe(self) -> None:
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1

    def _refusal(self, why: str) -> Unavailable:
        words = files.read_from(self._log_path, self._log_offset) if self._log_path else ""
        todo = f"Read {self._log_path}." if self._log_path else "Read its log above."
        return Unavailable(
            "the engine did not start", why="\n       ".join([why, *words.splitlines()]), todo=todo
        )
