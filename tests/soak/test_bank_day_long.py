"""The long form of a bank's day: hundreds of payments, several seeds, each on an installation of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.world import World
from tests.support.bank_day import VARIABLES, run_day

if TYPE_CHECKING:
    from pathlib import Path

EACH = 5
PAYMENTS_MIN = 400


@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [11, 12, 13, 14, 15, 16])
def test_days_of_hundreds_of_payments_end_with_zero_proofs(tmp_path: Path, seed: int) -> None:
    with World(tmp_path, "--simulator", "--sample-data", variables=VARIABLES) as world:
        day = run_day(world, seed, EACH)
    assert len(day.sent) >= PAYMENTS_MIN
