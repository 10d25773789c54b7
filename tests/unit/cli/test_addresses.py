"""The address file: whole or absent, private, and used only while its writer runs."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from settlement_engine.app.development.addresses import RunningAddresses, write_addresses
from settlement_engine.cli.addresses import (
    ADDRESS_FILE,
    DEFAULT_ADDRESS,
    find_address,
    find_running,
)
from settlement_engine.cli.failures import ExitCode

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.cli.conftest import Run

NOBODY = 2**22 - 1
"""A process number that hardly anybody has."""


def addresses(pid: int) -> RunningAddresses:
    return RunningAddresses(
        grpc="127.0.0.1:1",
        http="http://127.0.0.1:2",
        metrics="http://127.0.0.1:3/metrics",
        database_url="postgresql://me:secret@127.0.0.1:4/x",
        nats_url="nats://127.0.0.1:5",
        pid=pid,
        engine_pids=(7, 8),
        postgres_pid=9,
        nats_pid=10,
    )


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "address.json"
    write_addresses(path, addresses(os.getpid()))
    assert find_running(path) == addresses(os.getpid())
    written = json.loads(path.read_text(encoding="utf-8"))
    assert written["engine_pids"] == [7, 8]
    assert [file.name for file in path.parent.iterdir()] == ["address.json"]


def test_the_file_is_private_for_it_holds_passwords(tmp_path: Path) -> None:
    path = tmp_path / "address.json"
    write_addresses(path, addresses(1))
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"grpc": "x"}', "\x00"])
def test_a_file_that_says_nothing_is_not_believed(tmp_path: Path, text: str) -> None:
    path = tmp_path / "address.json"
    path.write_text(text, encoding="utf-8")
    assert find_running(path) is None


def test_a_file_whose_writer_is_gone_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "address.json"
    write_addresses(path, addresses(NOBODY))
    assert find_running(path) is None


def test_an_engine_is_looked_for_by_variable_then_by_file_then_at_its_usual_port(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_address() == DEFAULT_ADDRESS
    write_addresses(tmp_path / ADDRESS_FILE, addresses(os.getpid()))
    assert find_address() == "127.0.0.1:1"
    monkeypatch.setenv("SETTLEMENT_ADDRESS", "bank:50056")
    assert find_address() == "bank:50056"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("cert",), "need --ca"),
        (("key",), "need --ca"),
        (("cert", "key"), "need --ca"),
        (("ca", "cert"), "give both --cert and --key"),
        (("ca", "key"), "give both --cert and --key"),
    ],
)
def test_certificates_that_would_not_be_used_are_refused(
    command: Run, tmp_path: Path, flags: tuple[str, ...], words: str
) -> None:
    """They were ignored without --ca, and the call went out in plain text."""
    (tmp_path / "x.pem").write_text("x")
    options = [word for flag in flags for word in (f"--{flag}", "x.pem")]
    said = command("list", "--address", "127.0.0.1:1", *options)
    assert said.code == ExitCode.USAGE
    assert words in said.err
