"""What an installation and the processes that it starts agree on: who dies with whom, and when a child is ready."""

from __future__ import annotations

import ctypes
import json
import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from settlement_engine.app.process import Addresses

READY_PIPE: Final = "SETTLEMENT_READY_PIPE"
"""The file descriptor of the pipe on which an engine process reports its ports when it is ready."""

PARENT: Final = "SETTLEMENT_PARENT_PID"
_PR_SET_PDEATHSIG: Final = 1


def die_with_parent() -> None:
    """Let the kernel kill this process when its parent dies; exit at once if the parent is gone."""
    # The engine recovers from a crash at any time, so a kill is safe, and no process is left behind.
    libc = ctypes.CDLL(None, use_errno=True)
    with suppress(AttributeError):  # only Linux has it
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.environ.get(PARENT, str(os.getppid())) != str(os.getppid()):
        os.kill(os.getpid(), signal.SIGKILL)  # the parent died before the call above


def tell_parent(at: Addresses) -> None:
    """Report that the engine is ready, and on which ports."""
    with os.fdopen(int(os.environ[READY_PIPE]), "w", encoding="ascii") as pipe:
        json.dump({"grpc": at.grpc, "http": at.http, "metrics": at.metrics}, pipe)
