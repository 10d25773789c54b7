"""``doctor``: every check, on this machine and on a bad day."""

from __future__ import annotations

import json
import os
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from settlement_engine.app import database
from settlement_engine.app.development.addresses import RunningAddresses, write_addresses
from settlement_engine.cli.doctor import machine, settings
from settlement_engine.cli.failures import ExitCode
from settlement_engine.cli.output import BAD, GOOD, WARN
from settlement_engine.config import load

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.cli.conftest import Run


def test_the_doctor_is_content_with_this_machine(command: Run) -> None:
    said = command("doctor")
    assert said.code == ExitCode.OK, said.out
    for title in ("Python", "PostgreSQL's programs", "NATS's program", "disk", "fsync", "clock"):
        assert f"{title}: " in said.out


def test_the_doctor_speaks_json(command: Run) -> None:
    findings = json.loads(command("doctor", "--json").out)
    assert {"sign", "title", "detail", "todo"} == set(findings[0])


def test_every_complaint_comes_with_what_to_do(
    command: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(machine, "DISK_FREE_MIN", 2**62)
    monkeypatch.setattr(machine, "FSYNC_SLOW_SECONDS", 0.0)
    monkeypatch.setattr(machine, "LIBRARIES", ("no-such-library",))
    monkeypatch.setattr(machine, "ZONES", ("Mars/Olympus",))
    monkeypatch.setattr(machine, "BUILT_AT", 1e12)
    monkeypatch.setattr(machine, "SHARED_MEMORY", str(tmp_path / "none"))
    monkeypatch.setenv("SETTLEMENT_SERVR__HOST", "x")
    said = command("doctor", "--json")
    assert said.code == ExitCode.FAILED
    findings = json.loads(said.out)
    signs = {finding["title"]: finding["sign"] for finding in findings}
    for title in ("disk", "libraries", "time zones", "clock"):
        assert signs[title] == BAD
    for title in ("fsync", str(tmp_path / "none"), "SETTLEMENT_SERVR__HOST"):
        assert signs[title] == WARN
    assert all(finding["todo"] for finding in findings if finding["sign"] != GOOD)


def test_a_wrong_configuration_is_a_finding_and_not_a_crash(command: Run) -> None:
    said = command("doctor", "--set", "server.grpc_port=99999")
    assert said.code == ExitCode.FAILED
    assert "✗ configuration" in said.out


def test_a_port_that_somebody_has_is_found() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        config = load(None, {"server.http_port": port}, search=False).config
        found = {finding.title: finding.sign for finding in settings.check_ports(config)}
    assert found[f"HTTP port {port}"] == WARN


def running(**places: object) -> RunningAddresses:
    here: dict[str, Any] = {
        "grpc": "127.0.0.1:1",
        "http": "http://127.0.0.1:2",
        "metrics": "http://127.0.0.1:3/metrics",
        "database_url": "postgresql://me:secret@127.0.0.1:4/settlement",
        "nats_url": "nats://me:secret@127.0.0.1:5",
        "pid": os.getpid(),
        "engine_pids": (),
    }
    return RunningAddresses(**{**here, **places})


def test_the_dev_that_runs_here_is_in_nobodys_way(
    command: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has its ports, and its servers run: neither a warning, nor a server that is yet to start."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        write_addresses(tmp_path / "data" / "address.json", running(grpc=f"127.0.0.1:{port}"))
        words = ("doctor", "--data-dir", str(tmp_path / "data"))
        said = command(*words, "--set", f"server.grpc_port={port}")
    assert f"✓ gRPC port {port}: used by the running `dev`, process {os.getpid()}" in said.out
    assert "✓ PostgreSQL: embedded, running at 127.0.0.1:4" in said.out
    assert "✓ NATS: embedded, running at 127.0.0.1:5" in said.out
    assert "secret" not in said.out


def test_a_server_without_its_program_is_no_good_server(
    command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was: a warning that the programs are missing, and below it that `dev` starts them."""
    monkeypatch.setenv("SETTLEMENT_PG_BIN", "/nowhere")
    said = command("doctor")
    assert said.code == ExitCode.FAILED
    assert "✗ PostgreSQL's programs" in said.out
    assert "PostgreSQL: embedded" not in said.out


def test_the_programs_of_a_server_that_is_not_needed_are_not_looked_for(
    command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SETTLEMENT_PG_BIN", "/nowhere")
    monkeypatch.setenv("SETTLEMENT_DATABASE__URL", "postgresql://me:secret@127.0.0.1:1/x")
    said = command("doctor")
    assert "PostgreSQL's programs" not in said.out
    assert "✗ PostgreSQL: " in said.out


def test_a_directory_that_cannot_be_written_is_one_problem(command: Run, tmp_path: Path) -> None:
    """And no full disk, no slow one, and no good one either."""
    findings = json.loads(command("doctor", "--data-dir", "/proc/x", "--json").out)
    titles = {finding["title"]: finding["sign"] for finding in findings}
    assert titles["data directory"] == BAD
    assert "disk" not in titles
    assert "fsync" not in titles


def test_problems_and_warnings_are_counted_by_their_signs(
    command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "FSYNC_SLOW_SECONDS", 0.0)
    monkeypatch.setattr(machine, "LIBRARIES", ("no-such-library",))
    lines = command("doctor").out.splitlines()
    problems = sum(line.startswith("✗ ") for line in lines)
    warnings = sum(line.startswith("! ") for line in lines)
    assert problems >= 1
    assert warnings >= 1
    shown = [f"{problems} problem{'' if problems == 1 else 's'}"]
    shown += [f"{warnings} warning{'' if warnings == 1 else 's'}"]
    assert lines[-1] == ", ".join(shown)


def test_a_nats_that_is_away_is_found() -> None:
    config = load(None, {"nats.url": "nats://me:secret@127.0.0.1:1"}, search=False).config
    [finding] = settings.check_nats(config)
    assert finding.sign == BAD
    assert "secret" not in finding.detail


@pytest.mark.parametrize(("greeting", "sign"), [(b"INFO {}\r\n", GOOD), (b"HTTP/1.1 200", BAD)])
def test_a_nats_is_known_by_its_greeting(greeting: bytes, sign: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        config = load(None, {"nats.url": f"nats://127.0.0.1:{port}"}, search=False).config

        def greet() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(greeting)

        thread = threading.Thread(target=greet)
        thread.start()
        [finding] = settings.check_nats(config)
        thread.join(timeout=5)
    assert finding.sign == sign


@pytest.mark.parametrize(
    ("is_required", "has_banks"), [(True, False), (True, True), (False, False)]
)
def test_an_empty_bank_directory_is_a_warning_where_it_is_required(
    command: Run, monkeypatch: pytest.MonkeyPatch, is_required: bool, has_banks: bool
) -> None:
    async def usable(_url: str) -> list[str]:
        return []

    async def listed(_url: str) -> bool:
        return has_banks

    monkeypatch.setattr(database, "check_database", usable)
    monkeypatch.setattr(database, "has_listed_banks", listed)
    monkeypatch.setenv("SETTLEMENT_DATABASE__URL", "postgresql://me:secret@127.0.0.1:1/x")
    monkeypatch.setenv("SETTLEMENT_BANKS__DIRECTORY_REQUIRED", str(is_required).lower())
    found = {each["title"]: each for each in json.loads(command("doctor", "--json").out)}
    if not is_required:
        assert "bank directory" not in found
        return
    assert found["bank directory"]["sign"] == (GOOD if has_banks else WARN)
    assert has_banks or "banks import" in found["bank directory"]["todo"]


@pytest.mark.parametrize("listed", ["DE56500700100123456600", "DE02500105170137075030"])
def test_an_account_of_ours_that_the_directory_has_otherwise_is_a_warning(
    command: Run, monkeypatch: pytest.MonkeyPatch, listed: str
) -> None:
    ours = "DE56500700100123456600"
    asked = {}

    async def usable(_url: str) -> list[str]:
        return []

    async def differing(_url: str, configured: dict[str, tuple[str, object, str]]) -> list[str]:
        asked.update(configured)
        [(key, (number, _, bank))] = configured.items()
        return [] if number == listed else [f"{key}: with {bank} in EUR it is {listed}"]

    monkeypatch.setattr(database, "check_database", usable)
    monkeypatch.setattr(database, "differing_accounts", differing)
    monkeypatch.setenv("SETTLEMENT_DATABASE__URL", "postgresql://me:secret@127.0.0.1:1/x")
    monkeypatch.setenv("SETTLEMENT_BANKS__DIRECTORY_REQUIRED", "false")
    bank = {"enabled": True, "endpoint": "https://bank.test", "banks": ["DEUTDEFF"]}
    unnamed = {**bank, "banks": ["CHASUS33"]}
    monkeypatch.setenv(
        "SETTLEMENT_BANKS__SWIFT", json.dumps([{**bank, "our_account": ours}, unnamed])
    )
    found = {each["title"]: each for each in json.loads(command("doctor", "--json").out)}
    assert [(number, bank) for number, _, bank in asked.values()] == [(ours, "DEUTDEFF")]
    if listed == ours:
        assert "our account" not in found
        return
    assert found["our account"]["sign"] == WARN
    assert "banks.swift.0.our_account" in str(found["our account"])
