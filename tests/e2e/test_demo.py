"""``demo`` on a small scale: it kills the engine, verifies every promise, and cleans up."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from settlement_engine.cli.failures import ExitCode
from settlement_lab.commands.demo.payments import RAILS

if TYPE_CHECKING:
    from pathlib import Path

PROMISES = (
    "every accepted settlement has ended (550 sent, 550 ended)",
    "each obligation was debited at most once in the bank's ledger",
    "exactly the completed settlements were debited",
    "money is conserved",
    "no funds are left on hold",
    "each move was announced exactly once, in order",
    "the events agree with the books",
    "the bank's statements of the day were imported (",
    "every planted difference is named, and nothing else (",
    "charges of the tariff and roundings are closed by rule (",
    "the proof is zero for every account at the bank (",
)


@pytest.mark.slow
@pytest.mark.kill
def test_the_demo_verifies_every_promise_across_a_crash_and_removes_its_data(
    tmp_path: Path,
) -> None:
    home = tmp_path / "a path with spaces"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "settlement_engine", "demo", "--quick"),
            *("--data-dir", str(home)),
        ],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == ExitCode.OK, done.stdout + done.stderr
    for promise in PROMISES:
        assert f"✓ {promise}" in done.stdout
    assert "crash: kill -9 while" in done.stdout
    for rail in RAILS:
        assert re.search(
            rf"over the bank simulator: .*{rail} [^·]*[1-9][0-9]* completed", done.stdout
        )
    assert done.stderr == ""
    assert list(home.iterdir()) == []
