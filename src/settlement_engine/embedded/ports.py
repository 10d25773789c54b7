"""A free port for a server, the same one at each start.

The port is taken from below the range from which the kernel gives ports to outgoing connections:
while a server is away, a client that tries again and again could be given the server's own port
there, be connected to itself, and keep the server from coming back.
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
        # As the server will: a port whose last connections are still fading away is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            probe.bind((HOST, port))
            return True
    return False


def free_port() -> int:
    """Return a port that was free a moment ago; whoever binds it must be ready to ask again."""
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
    """Return the port of the last time, if it is free now."""
    with contextlib.suppress(OSError, ValueError):
        port = int(note.read_text(encoding="ascii"))
        if PORT_LOWEST <= port <= PORT_HIGHEST and _is_free(port):
            return port
    return None


def note_port(note: Path, port: int) -> None:
    """Remember the port for the next time."""
    with contextlib.suppress(OSError, ValueError):
        if int(note.read_text(encoding="ascii")) == port:
            return
    files.write_private(note, f"{port}\n")
