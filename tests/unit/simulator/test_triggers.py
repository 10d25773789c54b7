"""Each scenario has a sentence for people, and says when all of it has been reported."""

from __future__ import annotations

import pytest

from settlement_engine.simulator.scenarios import SCENARIOS, SOON_MS
from settlement_engine.simulator.triggers import SENTENCES


def test_each_scenario_has_a_sentence() -> None:
    assert list(SENTENCES) == list(SCENARIOS)
    assert all(text[0].isupper() and text.endswith(".") for text in SENTENCES.values())


@pytest.mark.parametrize(
    ("name", "told_ms"),
    [
        ("settle", 0),
        ("slow", 3_000),
        ("out_of_order", 2 * SOON_MS),
        ("settle_then_reject", SOON_MS),
        ("partial_return", 2 * SOON_MS),
        ("recall_delayed", 2 * SOON_MS),
    ],
)
def test_the_last_report_of_a_scenario_ends_its_story(name: str, told_ms: int) -> None:
    assert SCENARIOS[name].told_ms == told_ms
