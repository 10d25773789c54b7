"""``dev`` as a user runs it: it starts everything, restarts what fails, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from settlement_engine.cli.addresses import ADDRESS_FILE
from settlement_engine.cli.development.sample import BANKS, CURRENCIES
from settlement_engine.cli.failures import ExitCode
from settlement_engine.proto import settlement_pb2 as wire
from tests.e2e.world import World, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


TIMEOUT_SECONDS = 30.0
QUICK = ("--set", "banks.mock_latency_ms=5", "--set", "banks.mock_success_rate=1")


def is_gone(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:  # noqa: PTH123
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def pids(world: World) -> list[int]:
    at = world.address
    return [*at["engine_pids"], at["postgres_pid"], at["nats_pid"]]


def run_dev(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "settlement_engine", "dev", "--data-dir", str(folder / "data")]
    ports = ("--grpc-port", "0", "--http-port", "0", "--metrics-port", "0")
    return subprocess.run(
        [*command, *ports, *words], capture_output=True, text=True, timeout=60, check=False
    )


def is_settled(world: World) -> bool:
    """Return whether a settlement completes now; a failure is not an error yet."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "settlement_engine", "submit"),
            *("DEUTDEFF", "CHASUS33", "1.00", "EUR", "--another"),
        ],
        env={**os.environ, "SETTLEMENT_ADDRESS": world.address["grpc"]},
        capture_output=True,
        timeout=60,
        check=False,
    )
    return done.returncode == ExitCode.OK


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Start one ``dev`` for the tests that do not end it."""
    with World(tmp_path_factory.mktemp("dev"), "--sample-data", *QUICK) as world:
        yield world


def test_the_address_file_lists_all_addresses(world: World) -> None:
    at = world.address
    assert set(at) == {
        *("grpc", "http", "metrics", "database_url", "nats_url"),
        *("pid", "engine_pids", "postgres_pid", "nats_pid"),
    }
    assert world.process is not None
    assert at["pid"] == world.process.pid
    own = world.folder / "data" / ADDRESS_FILE.name
    assert json.loads(own.read_text(encoding="utf-8")) == at
    assert world.get("/healthz")[0] == 200
    assert world.get("/metrics")[0] == 200


def test_sample_data_funds_eight_banks_in_seven_currencies(world: World) -> None:
    found = world.accounts.ListAccounts(
        wire.ListAccountsRequest(kind=wire.NOSTRO, page_size=1000), timeout=10
    ).accounts
    assert {(account.bank, account.currency) for account in found} == {
        (bank, currency) for bank in BANKS for currency in CURRENCIES
    }
    assert is_settled(world)


def test_secrets_are_on_no_command_line(world: World) -> None:
    for pid in [world.address["pid"], *pids(world)]:
        with open(f"/proc/{pid}/cmdline", encoding="utf-8") as file:  # noqa: PTH123
            words = file.read()
        for url in (world.address["database_url"], world.address["nats_url"]):
            password = url.partition("@")[0].rpartition(":")[2]
            assert password not in words


def test_devs_output_contains_no_password(world: World) -> None:
    words = (world.folder / "dev.log").read_text(encoding="utf-8")
    password = world.address["database_url"].partition("@")[0].rpartition(":")[2]
    assert "PostgreSQL" in words
    assert password not in words
    for way_in in (
        f"psql -h 127.0.0.1 -p {urlsplit(world.address['database_url']).port}",
        "nats -s",
    ):
        assert way_in in words


@pytest.mark.kill
def test_a_killed_engine_restarts_on_the_same_ports(world: World) -> None:
    before = world.address
    os.kill(before["engine_pids"][0], signal.SIGKILL)
    until(lambda: world.address["engine_pids"] != before["engine_pids"], TIMEOUT_SECONDS, "it")
    assert world.address["grpc"] == before["grpc"]
    until(lambda: is_settled(world), TIMEOUT_SECONDS, "the engine to settle again")


@pytest.mark.kill
@pytest.mark.parametrize("server", ["postgres_pid", "nats_pid"])
def test_a_killed_server_restarts_at_the_same_address(world: World, server: str) -> None:
    before = world.address
    os.kill(before[server], signal.SIGKILL)
    until(lambda: world.address[server] not in {before[server], None}, TIMEOUT_SECONDS, server)
    assert world.address["database_url"] == before["database_url"]
    assert world.address["nats_url"] == before["nats_url"]
    until(lambda: is_settled(world), TIMEOUT_SECONDS, "the engine to settle again")


def test_a_second_dev_in_the_same_directory_is_refused(world: World) -> None:
    done = run_dev(world.folder)
    assert done.returncode == ExitCode.UNAVAILABLE
    assert "is in use" in done.stderr
    assert len(done.stderr.splitlines()) == 3


def test_configured_servers_replace_the_embedded_ones(world: World, tmp_path: Path) -> None:
    at = world.address
    urls = {
        "SETTLEMENT_DATABASE__URL": at["database_url"],
        "SETTLEMENT_NATS__URL": at["nats_url"],
    }
    with World(tmp_path, *QUICK, variables=urls) as second:
        assert second.address["postgres_pid"] is None
        assert second.address["nats_pid"] is None
        assert second.address["database_url"] == at["database_url"]
        assert not (tmp_path / "data" / "postgres").exists()
        assert is_settled(second)


def test_dev_exits_with_zero_and_leaves_no_process(tmp_path: Path) -> None:
    with World(tmp_path) as world:
        began = pids(world)
    assert world.process is not None
    assert world.process.returncode == ExitCode.OK
    assert all(is_gone(pid) for pid in began)
    assert not (tmp_path / "data" / ADDRESS_FILE.name).exists()


def test_data_survives_a_restart_and_sample_data_is_loaded_once(tmp_path: Path) -> None:
    with World(tmp_path, "--sample-data", *QUICK) as world:
        assert is_settled(world)
        funded = world.nostro("HSBCGB2L", "GBP").posted
        before = world.address
    with World(tmp_path, "--sample-data", *QUICK) as world:
        for server in ("database_url", "nats_url"):
            assert world.address[server] == before[server]
        assert world.nostro("HSBCGB2L", "GBP").posted == funded
        found = world.settlements.ListSettlements(wire.ListSettlementsRequest(), timeout=10)
        assert len(found.settlements) == 1


@pytest.mark.kill
def test_all_processes_end_when_dev_is_killed(tmp_path: Path) -> None:
    with World(tmp_path) as world:
        began = pids(world)
        assert world.process is not None
        world.process.kill()
        world.process.wait(timeout=TIMEOUT_SECONDS)
    until(lambda: all(is_gone(pid) for pid in began), TIMEOUT_SECONDS, "all to be gone")


def test_two_engines_share_the_ports(tmp_path: Path) -> None:
    with World(tmp_path, "--engines", "2", "--sample-data", *QUICK) as world:
        assert len(set(world.address["engine_pids"])) == 2
        assert is_settled(world)
        os.kill(world.address["engine_pids"][0], signal.SIGKILL)
        until(lambda: is_settled(world), TIMEOUT_SECONDS, "the other engine to settle")


def test_a_scripted_bank_takes_the_mocks_place(tmp_path: Path) -> None:
    """It debits once, calls back with its token, is started again where it was, and ends with the rest."""
    with World(tmp_path, "--simulator", "--sample-data") as world:
        paid = world.execute(from_bank="DEUTDEFF", to_bank="CHASUS33", currency="USD")
        assert paid.status == wire.COMPLETED
        (line,) = world.simulator_ledger()
        assert (line["settlement_id"], line["times_debited"]) == (paid.settlement_id, 1)
        assert world.get("/dev/bank-ledger")[0] == 404
        script = b'{"default": "settle_by_callback"}'
        change = urllib.request.Request(
            f"{world.address['simulator']}/admin/script", script, method="PUT"
        )
        urllib.request.urlopen(change, timeout=10).close()
        told = world.execute(from_bank="DEUTDEFF", to_bank="CHASUS33", currency="USD")
        assert world.wait_for(told.settlement_id).status == wire.COMPLETED
        before = world.address
        os.kill(before["simulator_pid"], signal.SIGKILL)
        until(
            lambda: world.address["simulator_pid"] != before["simulator_pid"],
            TIMEOUT_SECONDS,
            "the bank to be started again",
        )
        assert world.address["simulator"] == before["simulator"]
        assert len(world.simulator_ledger()) == 2
        bank = world.address["simulator_pid"]
    until(lambda: is_gone(bank), TIMEOUT_SECONDS, "the bank to be gone")


def test_an_occupied_port_is_refused_with_what_why_and_todo(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run_dev(tmp_path, "--http-port", str(taken.getsockname()[1]))
    assert done.returncode == ExitCode.MISCONFIGURED
    assert "--http-port 0" in done.stderr
    assert len(done.stderr.splitlines()) == 3


def test_dev_shows_why_an_engine_cannot_start(tmp_path: Path) -> None:
    done = run_dev(tmp_path, "--set", "banks.mock_enabled=false")
    assert done.returncode == ExitCode.UNAVAILABLE
    assert "no rail is enabled" in done.stderr
    assert "Traceback" not in done.stderr
