"""The model check with two concurrent instructions, on every rail (about a minute)."""

from __future__ import annotations

from settlement_lab.model.checking import check

STATES_MIN = 1_000_000


def test_the_model_check_finds_no_violation_on_any_rail() -> None:
    found = check()
    print(found)
    assert not found.violation, str(found)
    assert found.states >= STATES_MIN
