"""Whole engines are killed while statements are imported, searched and matched, and it is done again.

The books end as those of an engine that was never killed; of two engines one reconciles at a time, and each file of
the inbox is taken once. The long form, thirty kills, is ``soak/test_killed_over_statements_long.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.statement_kills import killed_and_done_again

if TYPE_CHECKING:
    from pathlib import Path

KILLS = 3
SEED = 2


@pytest.mark.slow
@pytest.mark.kill
@pytest.mark.timeout(300)
def test_engines_killed_over_statements_end_as_those_never_killed(tmp_path: Path) -> None:
    assert killed_and_done_again(tmp_path, KILLS, SEED) >= 1
