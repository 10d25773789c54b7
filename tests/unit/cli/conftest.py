"""Shared by the tests of the command line: a clean environment, and running a command in this process."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import pytest

from settlement_engine.cli import run
from settlement_engine.cli.commands import lasting

if TYPE_CHECKING:
    from pathlib import Path


class Said(NamedTuple):
    """A command's exit code and output."""

    code: int
    out: str
    err: str


Run = Callable[..., Said]


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("SETTLEMENT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(lasting, "is_debugging", False)


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str]) -> Run:
    """Run a command and return its result."""
    from settlement_engine.cli.output import console

    def call(*words: str) -> Said:
        console.cache_clear()
        code = run(words)
        out, err = capfd.readouterr()
        return Said(code, out, err)

    return call
