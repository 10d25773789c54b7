"""The model check with two instructions under way, on every rail (about a minute)."""

from __future__ import annotations

from settlement_lab.model.checking import check

STATES_MIN = 1_000_000


def test_nothing_can_go_wrong_in_any_order_on_any_rail() -> None:
    found = check()
    print(found)
    assert not found.violation, str(found)
    assert found.states >= STATES_MIN
