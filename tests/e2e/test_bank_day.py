"""A day with rejects, doubts, returns, fees and lost confirmations, against the bank's statements of the day.

It ends with a zero proof for every account, every difference named, and each doubt ended by its entry. The long form,
hundreds of payments with several seeds, is ``soak/test_bank_day_long.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.world import World
from tests.support.bank_day import VARIABLES, run_day
from tests.support.bank_day_plan import TREATMENTS

if TYPE_CHECKING:
    from pathlib import Path

SEED = 5


@pytest.mark.slow
def test_a_day_of_all_troubles_ends_with_zero_proofs_and_doubts_ended_by_entries(
    tmp_path: Path,
) -> None:
    with World(tmp_path, "--simulator", "--sample-data", variables=VARIABLES) as world:
        day = run_day(world, SEED)
    assert set(day.sent.values()) == set(TREATMENTS)
