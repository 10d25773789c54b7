"""``doctor``: every check, on this machine and on a bad day."""

from __future__ import annotations

import json
import socket
import threading
from typing import TYPE_CHECKING

import pytest

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


def test_a_nats_that_is_away_is_found() -> None:
    config = load(None, {"nats.url": "nats://me:secret@127.0.0.1:1"}, search=False).config
    finding = settings.check_nats(config)
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
        finding = settings.check_nats(config)
        thread.join(timeout=5)
    assert finding.sign == sign
