from __future__ import annotations

from collections import Counter

import msgspec
import pytest

from settlement_engine.errors import Misconfigured
from settlement_engine.simulator.scenarios import (
    SCENARIOS,
    Rule,
    Scenario,
    ScenarioScript,
    ScenarioStep,
)
from settlement_engine.simulator.script_file import read_script

NAMES = ("M1", "E1", "0123abcd-0123-4abc-8abc-0123456789ab")

YAML = b"""
seed: 7
default: accept_then_settle
scenarios:
  very_slow: {like: slow, reply_delay_ms: 9000}
  own:
    steps:
      - {status: ACSP}
      - {status: ACSC, after_ms: 10}
    reply: callback
rules:
  - {reference: "INV-42*", scenario: reject}
  - {amount: "13.13", currency: EUR, scenario: late_return}
  - {one_in: 3, scenario: very_slow}
"""


def test_the_first_rule_that_agrees_chooses() -> None:
    script = ScenarioScript(
        rules=(
            Rule(scenario="reject", reference="INV-*"),
            Rule(scenario="slow", amount="1.00", currency="EUR"),
            Rule(scenario="twice", amount="1.00"),
        )
    )
    assert script.choose(("M", "INV-1"), "1.00", "EUR") == "reject"
    assert script.choose(NAMES, "1.00", "EUR") == "slow"
    assert script.choose(NAMES, "1.00", "USD") == "twice"
    assert script.choose(NAMES, "2.00", "USD") == "settle"


def test_a_rule_and_a_default_may_be_of_one_leg() -> None:
    script = ScenarioScript(
        rules=(Rule(scenario="reject", reference="E1", leg="cover"),),
        leg_defaults={"payment": "slow"},
    )
    assert script.choose(NAMES, "1.00", "EUR", "cover") == "reject"
    assert script.choose(NAMES, "1.00", "EUR", "payment") == "slow"
    assert script.choose(NAMES, "1.00", "EUR") == "settle"
    assert script.choose(("E2",), "1.00", "EUR", "cover") == "settle"


def test_luck_is_a_function_of_seed_and_names() -> None:
    script = ScenarioScript(seed=1, rules=(Rule(scenario="reject", one_in=4),))
    other = ScenarioScript(seed=2, rules=script.rules)
    names = [(f"E{number}",) for number in range(4_000)]
    first = [script.choose(name, "1.00", "EUR") for name in names]
    assert first == [script.choose(name, "1.00", "EUR") for name in names]
    assert first != [other.choose(name, "1.00", "EUR") for name in names]
    assert 850 < Counter(first)["reject"] < 1_150


def test_a_script_is_read_from_yaml() -> None:
    script = read_script(YAML)
    assert (script.seed, script.default) == (7, "accept_then_settle")
    assert script.scenario("very_slow").reply_delay_ms == 9_000
    assert [step.status for step in script.scenario("own").steps] == ["ACSP", "ACSC"]
    assert script.choose(("INV-4242",), "1.00", "EUR") == "reject"
    assert script.choose(("x",), "13.13", "EUR") == "late_return"


def test_the_legs_of_cover_payments_are_read_from_yaml() -> None:
    text = b"leg_defaults: {cover: slow}\nrules: [{leg: payment, scenario: reject}]"
    script = read_script(text)
    assert (script.leg_defaults, script.rules[0].leg) == ({"cover": "slow"}, "payment")
    stored = msgspec.json.encode(script)
    assert msgspec.json.decode(stored, type=ScenarioScript) == script


def test_an_empty_script_settles_everything() -> None:
    assert read_script(b"") == ScenarioScript()
    assert read_script(b'{"seed": 3}').seed == 3


@pytest.mark.parametrize(
    "text",
    [
        b"[",
        b"- a",
        b"seed: x",
        b"unknown: 1",
        b"default: no_such",
        b"rules: [{scenario: no_such}]",
        b"rules: [{scenario: settle, one_in: 0}]",
        b"rules: [{scenario: settle, leg: third}]",
        b"leg_defaults: {cover: no_such}",
        b"leg_defaults: {third: settle}",
        b"rules: 3",
        b"scenarios: 3",
        b"scenarios: {a: 3}",
        b"scenarios: {a: {like: no_such}}",
        b"scenarios: {a: {steps: []}}",
        b"scenarios: {a: {reply_delay_ms: -1}}",
        b"scenarios: {a: {reply: never}}",
        b"scenarios: {a: {unknown: 1}}",
        b"rules: &a [*a]",
        b"!!python/object/apply:os.system ['true']",
        b"x" * 300_000,
    ],
)
def test_what_is_no_script_is_refused(text) -> None:
    with pytest.raises(Misconfigured):
        read_script(text)


def test_every_scenario_ends() -> None:
    """The last true status settles, rejects, or leaves the payment to a recall."""
    for name, scenario in SCENARIOS.items():
        last = [step for step in scenario.steps if step.is_true][-1]
        is_for_recall = name.startswith("recall_")
        assert last.status in (("ACSP",) if is_for_recall else ("ACSC", "RJCT")), name


def test_a_scenario_has_steps_and_no_time_before_the_receipt() -> None:
    with pytest.raises(ValueError, match="steps"):
        Scenario(steps=())
    with pytest.raises(ValueError, match="below 0"):
        Scenario(steps=(ScenarioStep(status="ACSC", after_ms=-1),))
