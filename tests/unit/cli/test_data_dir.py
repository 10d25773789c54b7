"""A data directory that cannot be used is refused in a sentence that is true, before anything starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from settlement_engine.cli.failures import ExitCode

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.cli.conftest import Run

PORTS = ("--grpc-port", "0", "--http-port", "0", "--metrics-port", "0")


@pytest.mark.parametrize("words", [("dev", *PORTS), ("demo",), ("bench", "--quick")])
def test_a_directory_that_cannot_be_made_is_refused(command: Run, words: tuple[str, ...]) -> None:
    said = command(*words, "--data-dir", "/proc/nowhere")
    assert said.code == ExitCode.MISCONFIGURED
    what, why, todo = said.err.splitlines()
    assert what == "✗ the data directory /proc/nowhere cannot be used"
    assert "No such file or directory" in why
    assert "--data-dir" in todo


def test_a_file_in_the_way_is_named(command: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    said = command("dev", *PORTS, "--data-dir", str(tmp_path / "file" / "data"))
    assert said.code == ExitCode.MISCONFIGURED
    assert "Not a directory" in said.err
    assert "this is a bug" not in said.err


def test_a_port_that_is_taken_is_refused_before_any_server_starts(
    command: Run, tmp_path: Path
) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = command("dev", *PORTS, "--data-dir", str(tmp_path / "data"), "--grpc-port", port)
    assert said.code == ExitCode.MISCONFIGURED
    assert f"port {port} cannot be used" in said.err
    assert not (tmp_path / "data" / "postgres").exists()
