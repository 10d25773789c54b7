"""How many of the process's file descriptors callers may use."""

from __future__ import annotations

import pytest

from settlement_engine.app.descriptors import CALLERS_MIN, KEPT_BACK, Shares, divide
from settlement_engine.errors import Misconfigured

WANTED = Shares(http=1_024, metrics=64, grpc=4_096)
DATABASE = 20
OURS = KEPT_BACK + DATABASE


def test_a_sufficient_limit_is_divided_as_wanted() -> None:
    limit = WANTED.total + OURS
    assert divide(WANTED, limit=limit, database_connections=DATABASE) == WANTED


@pytest.mark.parametrize("limit", [OURS + CALLERS_MIN, 256, 1_024, 4_096, WANTED.total + OURS - 1])
def test_a_low_limit_reduces_callers_shares_only(limit: int) -> None:
    shares = divide(WANTED, limit=limit, database_connections=DATABASE)
    assert shares.total <= limit - OURS
    assert shares.total >= limit - OURS - 1
    assert 1 <= shares.metrics <= WANTED.metrics
    assert 1 <= shares.http <= shares.grpc


def test_a_limit_that_leaves_almost_nothing_is_refused() -> None:
    with pytest.raises(Misconfigured, match="open files"):
        divide(WANTED, limit=OURS + CALLERS_MIN - 1, database_connections=DATABASE)
