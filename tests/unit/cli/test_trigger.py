"""``trigger`` refuses what it cannot run before it pays anything."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from settlement_engine.cli import trigger
from settlement_engine.cli.failures import ExitCode
from settlement_engine.simulator.scenarios import SCENARIOS
from tests.unit.cli.fake_engine import FakeEngine, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.cli.conftest import Run


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEngine]:
    fake = FakeEngine()
    with serving(fake) as address:
        monkeypatch.setenv("SETTLEMENT_ADDRESS", address)
        yield fake


def test_the_list_has_every_scenario(command: Run) -> None:
    said = command("trigger", "--list")
    assert said.code == ExitCode.OK
    assert all(f" {name} " in f" {said.out} ".replace("\n", " ") for name in SCENARIOS)
    told = json.loads(command("trigger", "--list", "--json").out)
    assert [each["name"] for each in told["scenarios"]] == list(SCENARIOS)


@pytest.mark.parametrize("words", [(), ("nothing",)])
def test_an_unknown_scenario_is_refused(
    command: Run, engine: FakeEngine, words: tuple[str, ...]
) -> None:
    said = command("trigger", *words)
    assert said.code == ExitCode.USAGE
    assert "trigger --list" in said.err
    assert not engine.asked


def test_without_a_simulator_nothing_is_paid(command: Run, engine: FakeEngine) -> None:
    said = command("trigger", "reject")
    assert said.code == ExitCode.MISCONFIGURED
    assert "dev --simulator" in said.err
    assert not engine.asked


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://127.0.0.1:1", ExitCode.UNAVAILABLE),
        ("https://127.0.0.1:1", ExitCode.MISCONFIGURED),
        ("nowhere", ExitCode.MISCONFIGURED),
    ],
)
def test_a_simulator_that_cannot_be_told_gets_no_payment(
    command: Run, engine: FakeEngine, url: str, code: int
) -> None:
    assert command("trigger", "reject", "--simulator", url).code == code
    assert not engine.asked


def test_the_request_takes_the_rail_and_its_currency() -> None:
    asked = trigger._request("reject", "sepa_sct")
    assert (asked.rail, asked.currency) == ("sepa_sct", "EUR")
    assert (asked.from_bank, asked.to_bank) == ("DEUTDEFF", "CHASUS33")
    usual = trigger._request("reject", "")
    assert (usual.rail, usual.currency) == ("", "USD")
    assert asked.idempotency_key != trigger._request("reject", "sepa_sct").idempotency_key


def test_the_bank_is_described_in_words() -> None:
    entry = {
        "times_received": 2,
        "times_debited": 1,
        "debited_amount": "100.00",
        "returned_amount": "0.00",
        "state": "settled",
    }
    assert trigger._bank_says(entry) == "received 2 times, debited 100.00, settled"
    back = entry | {"returned_amount": "99.00", "state": "returned"}
    assert "returned 99.00" in trigger._bank_says(back)
    refused = entry | {"times_debited": 0, "state": "rejected"}
    assert trigger._bank_says(refused) == "received 2 times, not debited, rejected"
    assert "never received" in trigger._bank_says(None)
