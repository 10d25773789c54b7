"""Commands about one break: what is refused before an engine is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from settlement_engine.cli.failures import ExitCode

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Run


@pytest.mark.parametrize("second", ["--funding", "--return", "--explain"])
def test_a_break_has_one_resolution(command: Run, second: str) -> None:
    said = command("breaks", "write-off", "12", "--suspense", second, "--reason", "unknown")
    assert said.code == ExitCode.USAGE
    assert "one of --suspense, --funding, --return and --explain" in said.err
