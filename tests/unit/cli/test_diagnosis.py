"""What is said when something else than an engine listens at an address."""

from __future__ import annotations

import socket
import socketserver
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from settlement_engine.cli.failures import ExitCode
from tests.unit.api.test_tls import issue
from tests.unit.cli.fake_engine import FakeEngine, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.unit.cli.conftest import Run


class Nats(socketserver.BaseRequestHandler):
    """Greets as NATS does."""

    def handle(self) -> None:
        self.request.sendall(b'INFO {"server_id":"x"} \r\n')
        self.request.recv(64)


class Postgres(socketserver.BaseRequestHandler):
    """Refuses to encrypt as PostgreSQL does, and ends at anything else."""

    def handle(self) -> None:
        if self.request.recv(64) == b"\x00\x00\x00\x08\x04\xd2\x16\x2f":
            self.request.sendall(b"N")


class Http(BaseHTTPRequestHandler):
    """Answers whatever is asked with 404, as a metrics port does."""

    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@contextmanager
def listening(handler: type[socketserver.BaseRequestHandler]) -> Iterator[str]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.parametrize(
    ("handler", "words"),
    [(Nats, "NATS listens there"), (Postgres, "PostgreSQL listens"), (Http, "an HTTP server")],
)
def test_an_address_of_another_service_is_recognised(
    command: Run, handler: type[socketserver.BaseRequestHandler], words: str
) -> None:
    with listening(handler) as address:
        said = command("list", "--address", address)
    assert said.code == ExitCode.UNAVAILABLE
    assert f"{address} is not an engine's gRPC port" in said.err
    assert words in said.err
    assert "settlement-engine dev`, or" not in said.err


def test_a_port_on_which_nobody_listens(command: Run) -> None:
    with socket.socket() as taken:  # bound, so that nobody else gets it, and not listening
        taken.bind(("127.0.0.1", 0))
        said = command("list", "--address", f"127.0.0.1:{taken.getsockname()[1]}")
    assert said.code == ExitCode.UNAVAILABLE
    assert "no engine answers" in said.err
    assert "Connection refused" in said.err


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.1:", "here"])
def test_an_address_without_a_port_is_none(command: Run, address: str) -> None:
    assert f"{address} is not an address of an engine" in command("list", "--address", address).err


def test_an_encrypted_call_of_a_plain_port(command: Run, tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    authority.write_bytes(issue("some authority").certificate.public_bytes(Encoding.PEM))
    with serving(FakeEngine()) as address:
        said = command("list", "--address", address, "--ca", str(authority))
    assert "the server at this address does not use TLS" in said.err
