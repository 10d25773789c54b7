"""Ports that stay reserved while the process that listens on them restarts.

Promises: a held port was free, and no other program gets it until it is closed here: a socket stays bound
to it without listening. The engines bind it as well, with SO_REUSEPORT.
"""

from __future__ import annotations

import socket
from contextlib import ExitStack
from typing import Final

from settlement_engine.errors import Misconfigured

HOST: Final = "127.0.0.1"


class HeldPorts:
    """Keeps ports reserved until it is closed."""

    def __init__(self) -> None:
        self._sockets = ExitStack()

    def hold(self, port: int, option: str) -> int:
        """Reserve a port; 0 means any free one. Raises Misconfigured if another program uses it."""
        if port:
            _refuse_taken(port, option)
        holder = self._sockets.enter_context(socket.socket())
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            holder.bind((HOST, port))
        except OSError as error:
            raise _taken(port, option, error) from None
        found: int = holder.getsockname()[1]
        return found

    def close(self) -> None:
        """Release all ports."""
        self._sockets.close()


def _refuse_taken(port: int, option: str) -> None:
    # With SO_REUSEPORT alone a second `dev` would share the port with the first, and each would get half
    # of the calls. SO_REUSEADDR ignores closed connections that are still in TIME_WAIT.
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise _taken(port, option, error) from None


def _taken(port: int, option: str, error: OSError) -> Misconfigured:
    return Misconfigured(
        f"port {port} cannot be used",
        why=error.strerror or str(error),
        todo=f"Stop the program that uses it, or choose any free port with {option} 0.",
    )
