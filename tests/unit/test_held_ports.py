"""Ports that stay ours while nobody listens."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from settlement_engine.app.development.held_ports import HOST, HeldPorts
from settlement_engine.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def ports() -> Iterator[HeldPorts]:
    held = HeldPorts()
    yield held
    held.close()


def listener(port: int) -> socket.socket:
    found = socket.socket()
    for option in (socket.SO_REUSEPORT, socket.SO_REUSEADDR):  # as gRPC and aiohttp do
        found.setsockopt(socket.SOL_SOCKET, option, 1)
    found.bind((HOST, port))
    found.listen()
    return found


def test_a_held_port_can_be_listened_on_by_our_engines_and_by_nobody_else(
    ports: HeldPorts,
) -> None:
    port = ports.hold(0, "--grpc-port")
    with listener(port), listener(port):
        socket.create_connection((HOST, port)).close()
    with socket.socket() as stranger, pytest.raises(OSError, match="in use"):
        stranger.bind((HOST, port))


def test_a_port_is_held_while_no_engine_listens(ports: HeldPorts) -> None:
    port = ports.hold(0, "--grpc-port")
    listener(port).close()
    other = HeldPorts()
    with pytest.raises(Misconfigured) as caught:
        other.hold(port, "--grpc-port")
    assert "--grpc-port 0" in caught.value.todo
    other.close()


def test_a_port_on_which_another_engine_listens_is_refused(ports: HeldPorts) -> None:
    port = ports.hold(0, "--grpc-port")
    with listener(port):
        ports.close()
        with pytest.raises(Misconfigured):
            ports.hold(port, "--grpc-port")


def test_a_port_whose_last_connections_fade_away_is_free(ports: HeldPorts) -> None:
    port = ports.hold(0, "--grpc-port")
    with listener(port) as server:
        client = socket.create_connection((HOST, port))
        accepted, _ = server.accept()
        accepted.close()
        client.close()
    ports.close()
    assert ports.hold(port, "--grpc-port") == port
