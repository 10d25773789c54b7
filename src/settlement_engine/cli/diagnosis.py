"""Finds out which program listens at an address where no engine answers.

Promises: it runs only after a call has failed, takes a few seconds at most, and sends nothing that a server
could read as a payment. It never guesses.
"""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from typing import Final

from settlement_engine.errors import SettlementEngineError, Unavailable

LOOK_SECONDS: Final = 1.0
"""The time-out of each connection attempt; there are only a few."""

GREETING_SECONDS: Final = 0.3
ANSWER_BYTES: Final = 64
START_ONE: Final = "Start one with `settlement-engine dev`, or give its --address HOST:PORT."
NAME_GRPC: Final = "Give the engine's gRPC port with --address HOST:PORT; `dev` prints it."
_POSTGRES_ASKED_FOR_TLS: Final = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
_HTTP_ASKED: Final = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
_HANDSHAKES: Final = (
    (
        "WRONG_VERSION_NUMBER",
        "the server at this address does not use TLS",
        "Omit --ca, or use the address of a server with TLS.",
    ),
    (
        "CERTIFICATE_VERIFY_FAILED",
        "its certificate is not signed by the CA in --ca, or it is for another host",
        "Give the right CA, and the host name that stands in the certificate.",
    ),
)
"""Errors of the TLS handshake, each with its cause and what to do."""


def who_listens(target: str, detail: str) -> SettlementEngineError:
    """Return an error that says what listens at the address instead of an engine."""
    for sign, why, todo in _HANDSHAKES:
        if sign in detail.upper():
            return Unavailable(f"the TLS connection to {target} failed", why=why, todo=todo)
    host, _, port = target.rpartition(":")
    host = host.removeprefix("dns:///").strip("[]")
    if not host or not port.isdecimal():
        what = f"{target} is not an address of an engine"
        todo = "Write the address as HOST:PORT, for example 127.0.0.1:50056."
        return Unavailable(what, why=detail, todo=todo)
    place = (host, int(port))
    try:
        found = _look(place)
    except socket.gaierror as error:
        what = f"the host name {host} cannot be resolved"
        return Unavailable(what, why=error.strerror or str(error), todo="Correct --address.")
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or str(error) or "no answer in time"
        return Unavailable(f"no engine answers at {target}", why=why, todo=START_ONE)
    if found is None:
        return Unavailable(f"no engine answers at {target}", why=detail, todo=START_ONE)
    what, todo = found
    return Unavailable(f"{target} is not an engine's gRPC port", why=what, todo=todo)


def _look(place: tuple[str, int]) -> tuple[str, str] | None:
    """Return what listens there and what to do; None if it cannot be found out. Raises OSError."""
    with socket.create_connection(place, timeout=LOOK_SECONDS) as connection:
        connection.settimeout(GREETING_SECONDS)
        greeting = _received(connection)
    if greeting.startswith(b"INFO "):
        return "NATS listens there", NAME_GRPC
    if _answer(place, _HTTP_ASKED).startswith(b"HTTP/1."):
        return (
            "an HTTP server listens there, for example the engine's port for JSON or metrics",
            NAME_GRPC,
        )
    if _answer(place, _POSTGRES_ASKED_FOR_TLS)[:1] in (b"S", b"N"):
        return "PostgreSQL listens there", NAME_GRPC
    if _speaks_tls(place):
        todo = "Give its CA with --ca, and the client certificate with --cert and --key."
        return "it uses TLS, and the call did not use TLS or the right certificate", todo
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
    """Say whether the server uses TLS. Nothing secret is sent, so its certificate is not verified."""
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
        # It uses TLS and asks for a client certificate.
        return "CERTIFICATE" in str(error).upper()
    except OSError:
        return False
