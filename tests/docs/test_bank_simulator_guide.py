"""The scripts of the guide to the bank simulator are ones that the bank takes."""

from __future__ import annotations

import re
from pathlib import Path

from settlement_engine.simulator.scenarios import Scenario
from settlement_engine.simulator.script_file import read_script

GUIDE = Path(__file__).parents[2] / "docs/guides/bank-simulator.md"


def test_the_scripts_of_the_guide_are_read() -> None:
    text = GUIDE.read_text("utf-8")
    first, second = (
        read_script(found.encode()) for found in re.findall("```text\n(.*?)```", text, re.DOTALL)
    )
    chosen = [rule.scenario for rule in first.rules]
    assert chosen == ["reject", "lost_answer", "very_slow", "reject"]
    assert first.scenarios["very_slow"].reply_delay_ms == 20_000
    assert second.scenarios["patient"].settles_with_cover
    assert [rule.leg for rule in second.rules] == ["cover"]


def test_the_fields_that_the_guide_names_are_those_of_a_scenario() -> None:
    paragraph = GUIDE.read_text("utf-8").partition("changes some of its fields")[2]
    named = set(re.findall("`([a-z]+_[a-z_]+)`", paragraph.partition("`GET")[0]))
    assert named
    assert named <= set(Scenario.__struct_fields__)
