"""The long form of the kills over statements: thirty times, at random."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.statement_kills import killed_and_done_again

if TYPE_CHECKING:
    from pathlib import Path

KILLS = 30
SEED = 30
UNDER_WAY_MIN = 5


@pytest.mark.timeout(1_800)
def test_engines_killed_thirty_times_over_statements_end_as_those_never_killed(
    tmp_path: Path,
) -> None:
    assert killed_and_done_again(tmp_path, KILLS, SEED) >= UNDER_WAY_MIN
