"""A free port for a server, the same one at each start.

The port is taken from below the range from which the kernel assigns ports to outgoing connections. While a
server is down, a client that reconnects repeatedly could otherwise get the server's own port, connect to itself,
and keep the server from binding it.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
from pathlib import Path
from typing import Final

from settlement_engine.embedded import files
from settlement_engine.embedded.errors import EmbeddedServerError

HOST: Final = "127.0.0.1"

PORT_LOWEST: Final = 15_000
PORT_HIGHEST: Final = 65_535
RANGE_MIN: Final = 1_000
OUTGOING_LOWEST_DEFAULT: Final = 32_768
ATTEMPTS_MAX: Final = 100


def _outgoing_lowest() -> int:
    with contextlib.suppress(OSError, ValueError):
        text = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii")
        return int(text.split()[0])
    return OUTGOING_LOWEST_DEFAULT


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # The server sets this option too: a port with connections in TIME_WAIT counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            probe.bind((HOST, port))
            return True
    return False


def free_port() -> int:
    """Return a port that was free just now; the caller must retry if it is taken before it is bound."""
    width = max(_outgoing_lowest() - PORT_LOWEST, RANGE_MIN)
    for _attempt in range(ATTEMPTS_MAX):
        port = PORT_LOWEST + secrets.randbelow(width)
        if _is_free(port):
            return port
    raise EmbeddedServerError(
        "No free port was found.",
        why=f"{ATTEMPTS_MAX} ports from {PORT_LOWEST} on were all taken",
        todo="look for a program that holds them (ss -tln)",
    )


def noted_port(note: Path) -> int | None:
    """Return the port of the last start, if it is free now."""
    with contextlib.suppress(OSError, ValueError):
        port = int(note.read_text(encoding="ascii"))
        if PORT_LOWEST <= port <= PORT_HIGHEST and _is_free(port):
            return port
    return None


def note_port(note: Path, port: int) -> None:
    """Note the port for the next start."""
    with contextlib.suppress(OSError, ValueError):
        if int(note.read_text(encoding="ascii")) == port:
            return
    files.write_private(note, f"{port}\n")
