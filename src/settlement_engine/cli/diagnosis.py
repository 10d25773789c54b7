"""Who listens at an address at which no engine answers.

Promises: it is asked only after a call has failed, takes seconds at most, and sends nothing that a server
could take for a payment. What it cannot tell it does not guess.
"""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from typing import Final

from settlement_engine.errors import SettlementEngineError, Unavailable

LOOK_SECONDS: Final = 1.0
"""So long each of the few looks may take."""

GREETING_SECONDS: Final = 0.3
ANSWER_BYTES: Final = 64
START_ONE: Final = "Start one with `settlement-engine dev`, or name it with --address HOST:PORT."
NAME_GRPC: Final = "Name the engine's gRPC port with --address HOST:PORT; `dev` prints it."
_POSTGRES_ASKED_FOR_TLS: Final = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
_HTTP_ASKED: Final = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
_HANDSHAKES: Final = (
    (
        "WRONG_VERSION_NUMBER",
        "what listens there is not encrypted",
        "Leave --ca out, or ask for TLS.",
    ),
    (
        "CERTIFICATE_VERIFY_FAILED",
        "its certificate was not signed by the authority in --ca, or is another host's",
        "Name the right authority, and the host that the certificate names.",
    ),
)
"""What TLS says when it fails, why, and what to do."""


def who_listens(target: str, detail: str) -> SettlementEngineError:
    """Say what is at the address instead of an engine."""
    for sign, why, todo in _HANDSHAKES:
        if sign in detail.upper():
            return Unavailable(f"no encrypted call reaches {target}", why=why, todo=todo)
    host, _, port = target.rpartition(":")
    host = host.removeprefix("dns:///").strip("[]")
    if not host or not port.isdecimal():
        what = f"{target} names no engine"
        return Unavailable(what, why=detail, todo="An address is HOST:PORT, as 127.0.0.1:50056.")
    place = (host, int(port))
    try:
        found = _look(place)
    except socket.gaierror as error:
        what = f"the host {host} is not known"
        return Unavailable(what, why=error.strerror or str(error), todo="Correct --address.")
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or str(error) or "nothing answers in time"
        return Unavailable(f"no engine answers at {target}", why=why, todo=START_ONE)
    if found is None:
        return Unavailable(f"no engine answers at {target}", why=detail, todo=START_ONE)
    what, todo = found
    return Unavailable(f"{target} is not an engine's gRPC port", why=what, todo=todo)


def _look(place: tuple[str, int]) -> tuple[str, str] | None:
    """Name what is there, and what to do; None when it cannot be told. Raises OSError."""
    with socket.create_connection(place, timeout=LOOK_SECONDS) as connection:
        connection.settimeout(GREETING_SECONDS)
        greeting = _received(connection)
    if greeting.startswith(b"INFO "):
        return "NATS answers there", NAME_GRPC
    if _answer(place, _HTTP_ASKED).startswith(b"HTTP/1."):
        return (
            "an HTTP server answers there, such as the engine's own for JSON or metrics",
            NAME_GRPC,
        )
    if _answer(place, _POSTGRES_ASKED_FOR_TLS)[:1] in (b"S", b"N"):
        return "PostgreSQL answers there", NAME_GRPC
    if _speaks_tls(place):
        todo = "Name the authority of its certificate with --ca, and our own with --cert and --key."
        return "it is encrypted, and this call was not, or not with its certificate", todo
    return None


def _received(connection: socket.socket) -> bytes:
    with suppress(OSError):
        return connection.recv(ANSWER_BYTES)
    return b""


def _answer(place: tuple[str, int], question: bytes) -> bytes:
    with (
        suppress(OSError),
        socket.create_connection(place, timeout=LOOK_SECONDS) as connection,
    ):
        connection.sendall(question)
        return _received(connection)
    return b""


def _speaks_tls(place: tuple[str, int]) -> bool:
    """Say whether a TLS handshake begins there. Nothing secret is sent, so nobody has to be proved."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection(place, timeout=LOOK_SECONDS) as connection,
            context.wrap_socket(connection),
        ):
            return True
    except ssl.SSLError as error:
        # It speaks TLS and wants our certificate.
        return "CERTIFICATE" in str(error).upper()
    except OSError:
        return False
