"""The embedded NATS server, with real processes."""

import asyncio
import contextlib
import json
import os
import signal
import socket
from pathlib import Path

import nats
import pytest
from nats.js.api import StreamConfig

from settlement_engine.embedded import EmbeddedNats, EmbeddedServerError
from settlement_engine.embedded.process import wait_until
from settlement_engine.embedded.proctable import residents

GONE_SECONDS = 20.0


def talk(url, conversation):
    """Connect, run the coroutine with JetStream, and disconnect."""

    async def inner():
        client = await nats.connect(url, allow_reconnect=False, connect_timeout=5)
        try:
            return await conversation(client.jetstream())
        finally:
            await client.close()

    return asyncio.run(inner())


async def publish(stream):
    await stream.add_stream(StreamConfig(name="kept", subjects=["kept.>"]))
    return (await stream.publish("kept.one", b"7")).seq


async def read(stream):
    return (await stream.get_msg("kept", 1)).data


@pytest.fixture
def make(tmp_path):
    """Create servers, and stop those that the test has left running."""
    with contextlib.ExitStack() as stack:

        def inner(name="nats", **arguments):
            server = EmbeddedNats(tmp_path / name, **arguments)
            stack.callback(server.stop)
            return server

        yield inner


def test_it_answers_when_start_returns_and_is_gone_when_stop_returns(make):
    server = make()
    assert server.init()
    assert not server.init()
    server.start()
    assert talk(server.url(), publish) == 1
    server.stop()
    server.stop()
    assert server.pid is None
    assert server.poll() is not None
    assert not residents(server.home, "nats-server")


def test_messages_and_port_survive_a_restart_and_a_kill(make):
    server = make()
    server.start()
    url = server.url()
    talk(url, publish)
    server.stop()
    assert not server.restart_if_dead(), "what was stopped stays stopped"
    server.start()
    assert server.url() == url
    assert talk(url, read) == b"7"
    os.kill(server.pid, signal.SIGKILL)
    assert wait_until(lambda: not server.is_running, timeout_seconds=GONE_SECONDS)
    assert server.restart_if_dead()
    assert not server.restart_if_dead()
    assert server.url() == url
    assert talk(url, read) == b"7"


def test_it_forces_each_message_to_the_disk_and_is_bounded(make):
    server = make(max_file="1G")
    server.start()
    text = (server.data_dir / "server.conf").read_text()
    assert "sync_interval: always" in text
    assert "max_mem: 64M" in text
    assert "max_file: 1G" in text


def test_the_password_is_asked_for_and_kept_private(make):
    server = make()
    server.start()
    for password in ("", "wrong", server.password):
        words = {"user": "settlement", "pass": password, "verbose": False}
        line = socket.create_connection(("127.0.0.1", server.port), timeout=5)
        with line, line.makefile("rwb") as file:
            file.readline()  # INFO
            file.write(f"CONNECT {json.dumps(words)}\r\nPING\r\n".encode())
            file.flush()
            answer = file.readline()
        is_right = password == server.password
        assert answer.startswith(b"PONG" if is_right else b"-ERR 'Authorization Violation'")
    for name in ("password", "server.conf", "nats-server.log"):
        assert (server.data_dir / name).stat().st_mode & 0o777 == 0o600
    assert server.password.encode() not in Path(f"/proc/{server.pid}/cmdline").read_bytes()


def test_it_listens_on_the_loopback_address_only(make):
    server = make()
    server.start()
    found = [
        line.split()[1].rpartition(":")[0]
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        if line.split()[3] == "0A" and line.split()[1].endswith(f":{server.port:04X}")
    ]
    assert found == ["0100007F"]


def test_a_deep_path_with_spaces_and_quotes_works(make):
    server = make('a "deep" place\\with spaces ' * 6 + "/nats")
    server.start()
    assert talk(server.url(), publish) == 1


def test_two_run_at_once_and_a_shared_directory_is_refused(make):
    one, two = make("one"), make("two")
    one.start()
    two.start()
    assert one.port != two.port
    second = EmbeddedNats(one.data_dir)
    with pytest.raises(EmbeddedServerError, match="in use"):
        second.start()
    second.stop()
    assert talk(one.url(), publish) == 1


def test_an_occupied_fixed_port_is_reported(make):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = make(port=port)
        with pytest.raises(EmbeddedServerError, match=f"free port {port}"):
            server.start()
    server.start()
    assert server.port == port


def test_a_server_that_ignores_signals_is_killed(make, monkeypatch):
    monkeypatch.setattr(EmbeddedNats, "stop_steps", ((signal.SIGTERM, 0.1),))
    server = make()
    server.start()
    os.kill(server.pid, signal.SIGSTOP)
    server.stop()
    assert server.poll() == -signal.SIGKILL


@pytest.mark.parametrize(
    ("says", "why"), [("nats-server: v2.9.10", "too old"), ("hello", "said: hello")]
)
def test_a_program_that_is_too_old_or_something_else_is_refused(
    make, tmp_path, monkeypatch, says, why
):
    program = tmp_path / "nats-server"
    program.write_text(f"#!/bin/sh\necho '{says}'\n")
    program.chmod(0o700)
    monkeypatch.setenv("SETTLEMENT_NATS_BIN", str(program))
    with pytest.raises(EmbeddedServerError, match=why):
        make().start()
