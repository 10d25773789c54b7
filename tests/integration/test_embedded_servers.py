"""Both embedded servers under their supervisor, and what is left when the supervisor is killed."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from settlement_engine.embedded import EmbeddedPostgres, EmbeddedServerError, EmbeddedServers, ports
from settlement_engine.embedded import supervisor as supervisor_module
from settlement_engine.embedded.process import LaunchMode, spawn, terminate, wait_until
from settlement_engine.embedded.proctable import residents

GONE_SECONDS = 20.0
STAY = """
import sys, time
from pathlib import Path
from settlement_engine.embedded import EmbeddedServers
servers = EmbeddedServers(Path(sys.argv[1]))
servers.start()
print(servers.postgres.pid, servers.nats.pid, servers.postgres.socket_directory, flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """One initialised and cleanly stopped server, to be copied; shared by the embedded tests."""
    server = EmbeddedPostgres(tmp_path_factory.getbasetemp() / "embedded-template")
    if server.init():
        server.start()
        server.stop()
    return server.data_dir


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory, template):
    """One directory for both servers, used by consecutive tests, with PostgreSQL's data already in it."""
    place = tmp_path_factory.mktemp("servers")
    EmbeddedPostgres(place / "postgres").initialise_from_template(template)
    return place


def kill(server):
    os.kill(server.pid, signal.SIGKILL)
    assert wait_until(lambda: not server.is_running, timeout_seconds=GONE_SECONDS)


def nobody_lives_in(data_dir):
    cluster = data_dir / "postgres" / "cluster"
    return not residents(cluster, "postgres") and not residents(data_dir / "nats", "nats-server")


def test_both_answer_inside_the_block_and_are_gone_after_it(data_dir):
    with EmbeddedServers(data_dir) as servers:
        postgres, nats = servers.statuses()
        assert str(postgres).startswith(f"✓ PostgreSQL {servers.postgres.server_version}")
        assert str(nats).startswith(f"✓ NATS {servers.nats.server_version}")
        assert postgres.address == f"127.0.0.1:{servers.postgres.port}"
        assert 0 < postgres.ready_seconds < 60
    assert nobody_lives_in(data_dir)
    assert servers.watch() == (), "what was stopped stays stopped"


def test_watch_restarts_a_jetstream_that_has_failed_to_write_once(data_dir, caplog):
    with EmbeddedServers(data_dir) as servers:
        assert servers.watch() == ()
        before = servers.nats.pid
        with servers.nats.log_path.open("a") as log:
            log.write(
                "[ERR] JetStream failed to store a msg: write 1.blk: no space left on device\n"
            )
        assert servers.watch() == ("NATS",)
        assert servers.nats.pid not in (before, None)
        assert "was stuck" in caplog.text
        assert servers.watch() == (), "what its predecessor said is over"


def test_watch_brings_back_whichever_died(data_dir):
    with EmbeddedServers(data_dir) as servers:
        addresses = [status.address for status in servers.statuses()]
        assert servers.watch() == ()
        kill(servers.nats)
        assert servers.watch() == ("NATS",)
        kill(servers.postgres)
        kill(servers.nats)
        assert servers.watch() == ("PostgreSQL", "NATS")
        assert servers.watch() == ()
        assert [status.address for status in servers.statuses()] == addresses


def test_restarts_of_a_failing_server_are_limited(data_dir, monkeypatch):
    monkeypatch.setattr(supervisor_module, "RESTARTS_WINDOW_SECONDS", 600.0)
    with EmbeddedServers(data_dir) as servers:
        for _death in range(supervisor_module.RESTARTS_MAX):
            kill(servers.nats)
            assert servers.watch() == ("NATS",)
        kill(servers.nats)
        with pytest.raises(EmbeddedServerError, match="stops again and again"):
            servers.watch()
    assert nobody_lives_in(data_dir)


def test_a_failed_start_of_both_servers_leaves_nothing(data_dir, monkeypatch):
    monkeypatch.setenv("SETTLEMENT_NATS_BIN", "/nowhere/nats-server")
    servers = EmbeddedServers(data_dir)
    with pytest.raises(EmbeddedServerError, match="no NATS server"):
        servers.start()
    assert not servers.postgres.is_running
    assert nobody_lives_in(data_dir)
    monkeypatch.undo()
    with EmbeddedServers(data_dir):
        pass


def test_a_directory_in_use_is_refused(data_dir):
    with EmbeddedServers(data_dir) as servers:
        second = EmbeddedServers(data_dir)
        with pytest.raises(EmbeddedServerError, match="in use"):
            second.start()
        second.stop()
        assert servers.watch() == ()


def test_the_kill_takes_the_whole_tree(tmp_path):
    script = "trap '' TERM; sleep 600 & echo $! > child; wait"
    with (tmp_path / "log").open("wb") as log:
        tree = spawn(
            ["/bin/sh", "-c", script],
            mode=LaunchMode.SAME,
            death_signal=signal.SIGKILL,
            directory=tmp_path,
            log=log,
        )
    noted = tmp_path / "child"
    assert wait_until(
        lambda: noted.exists() and noted.read_text().endswith("\n"), timeout_seconds=GONE_SECONDS
    )
    terminate(tree, ((signal.SIGTERM, 0.1),))
    assert tree.poll() == -signal.SIGKILL
    child = Path("/proc") / noted.read_text().strip() / "exe"
    assert wait_until(lambda: not child.exists(), timeout_seconds=GONE_SECONDS)


@pytest.mark.kill
def test_nothing_outlives_a_killed_parent_and_the_next_one_starts_at_once(data_dir):
    log_begins = len((data_dir / "postgres" / "postgres.log").read_text())
    source = str(Path(supervisor_module.__file__).parents[2])
    places = [source, *(path for path in sys.path if path)]
    parent = subprocess.Popen(
        [sys.executable, "-c", STAY, data_dir],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(places)},
    )
    with parent:
        assert parent.stdout is not None
        postgres_pid, nats_pid, sockets = parent.stdout.readline().split()
        assert not nobody_lives_in(data_dir)
        parent.kill()
    # At once, while the old servers may still be shutting down: the new ones wait for them.
    with EmbeddedServers(data_dir) as servers:
        assert str(servers.postgres.pid) != postgres_pid
        assert str(servers.postgres.socket_directory) == sockets, "what was left over is used again"
    assert not Path(sockets).exists()
    assert nobody_lives_in(data_dir)
    for pid in (postgres_pid, nats_pid):
        assert not Path(f"/proc/{pid}/exe").exists(), "a zombie at most, if init buries none"
    log = (data_dir / "postgres" / "postgres.log").read_text()[log_begins:]
    assert "not properly shut down" not in log, "the kernel's signal is a clean shutdown"


# --- the same port at the next start --------------------------------------------------------------


def test_both_have_the_same_ports_at_the_next_start(data_dir):
    with EmbeddedServers(data_dir) as servers:
        before = [server.address for server in servers.statuses()]
    with EmbeddedServers(data_dir) as servers:
        assert [server.address for server in servers.statuses()] == before


def test_a_noted_port_in_use_is_replaced(data_dir):
    with EmbeddedServers(data_dir) as servers:
        ports = [servers.postgres.port, servers.nats.port]
    with (
        socket.create_server(("127.0.0.1", ports[0])),
        socket.create_server(("127.0.0.1", ports[1])),
        EmbeddedServers(data_dir) as servers,
    ):
        assert servers.postgres.port != ports[0]
        assert servers.nats.port != ports[1]
        moved = [servers.postgres.port, servers.nats.port]
    with EmbeddedServers(data_dir) as servers:
        assert [servers.postgres.port, servers.nats.port] == moved


@pytest.mark.parametrize("server", ["postgres", "nats"])
def test_a_port_taken_before_the_start_is_replaced(data_dir, server, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr("settlement_engine.embedded.ports.noted_port", lambda _: port)
        with EmbeddedServers(data_dir) as servers:
            assert getattr(servers, server).port != port


@pytest.mark.parametrize("text", ["", "x", "0", "80", "99999", "-1", "9" * 5000])
def test_an_invalid_port_note_is_ignored(tmp_path, text):
    note = tmp_path / "port"
    note.write_text(text)
    assert ports.noted_port(note) is None
    assert ports.noted_port(tmp_path / "none") is None
    ports.note_port(note, 20_000)
    assert note.read_text() == "20000\n"


@pytest.mark.parametrize("server", ["postgres", "nats"])
def test_the_way_in_names_the_place_and_not_the_password(data_dir, server):
    with EmbeddedServers(data_dir) as servers:
        found = getattr(servers, server)
        assert str(found.port) in found.way_in()
        assert found.password not in found.way_in()
        words = f"printf %s {found.password_word()}"
        reported = subprocess.run(["sh", "-c", words], capture_output=True, text=True, check=True)
        assert reported.stdout == found.password
