"""What screening said, with our own preconditions: every combination."""

from __future__ import annotations

import pytest

from settlement_engine.domain.decisions.screened import SCREENED, decide_screened
from settlement_engine.domain.lifecycle import Event
from settlement_engine.domain.preconditions import Refusal, RefusalCode
from tests.support.decided import answer

OURS = Refusal(code=RefusalCode.UNKNOWN_ACCOUNT)
THEIRS = Refusal(code=RefusalCode.RISK_LIMIT_EXCEEDED)
BLOCKED = Refusal(code=RefusalCode.COMPLIANCE_BLOCKED)


@pytest.mark.parametrize("may_lock_now", [True, False])
@pytest.mark.parametrize("said", sorted(SCREENED))
@pytest.mark.parametrize("theirs", [THEIRS, None])
@pytest.mark.parametrize("ours", [OURS, None])
def test_our_refusal_comes_first_then_theirs_then_the_wait(ours, theirs, said, may_lock_now):
    found = decide_screened(answer(said, refusal=theirs), ours, may_lock_now=may_lock_now)
    refusal = ours or theirs or (BLOCKED if said is Event.REFUSED else None)
    assert found.refusal == refusal
    if refusal is not None:
        assert found.event is Event.REFUSED
    else:
        assert found.event is (Event.CLEARED if may_lock_now else Event.POSTPONED)
