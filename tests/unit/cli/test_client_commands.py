"""The commands that talk to a running engine, against one that only pretends."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from settlement_engine.cli.failures import ExitCode
from settlement_engine.proto import settlement_pb2 as wire
from tests.unit.cli.fake_engine import ID, FakeEngine, life, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.cli.conftest import Run


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEngine]:
    fake = FakeEngine()
    with serving(fake) as address:
        monkeypatch.setenv("SETTLEMENT_ADDRESS", address)
        yield fake


# --- show, tail -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [ID, "OB-7"])
def test_show_tells_the_life_as_a_path_through_the_page(
    command: Run, engine: FakeEngine, name: str
) -> None:
    said = command("show", name)
    assert said.code == ExitCode.OK
    lines = [line for line in said.out.splitlines() if "──" in line]
    assert len(lines) == 4
    assert "VALIDATING ── CLEARED" in lines[1]
    assert "→ LOCKED ✓ validation_complete ✓ funds_locked" in lines[1]
    assert "+0.250 s" in lines[1]
    assert "✓ settlement_finalized" in lines[3]


def test_show_says_what_comes_next(command: Run, engine: FakeEngine) -> None:
    engine.settlements[0].next_action = "ENQUIRE"
    assert "next: ENQUIRE" in command("show", ID).out


def test_show_of_an_unknown_settlement_fails(command: Run, engine: FakeEngine) -> None:
    said = command("show", "0199c2d4-0000-7c1a-9d51-1f2a33445566")
    assert said.code == ExitCode.FAILED
    assert "no such settlement" in said.err


def test_show_prints_json(command: Run, engine: FakeEngine) -> None:
    assert len(json.loads(command("show", ID, "--json").out)["moves"]) == 4


def test_tail_resumes_after_a_number(command: Run, engine: FakeEngine) -> None:
    said = command("tail", "--after", "42", "--no-follow", "--json")
    events = [json.loads(line) for line in said.out.splitlines()]
    assert [event["sequence"] for event in events] == ["43", "44"]
    assert events[0]["payload"]["amount"] == "1000.00"
    assert engine.asked[0].ends_at_head


def test_tail_prints_a_line_for_each_move(command: Run, engine: FakeEngine) -> None:
    said = command("tail", "--settlement", ID)
    assert len(said.out.splitlines()) == 4
    assert engine.asked[0].settlement_id == ID
    assert not engine.asked[0].ends_at_head


# --- list, cancel ---------------------------------------------------------------------------------


def test_list_reads_as_many_pages_as_it_needs(command: Run, engine: FakeEngine) -> None:
    engine.settlements = [life() for _ in range(5)]
    said = command("list", "--limit", "4", "--status", "completed", "--bank", "DEUTDEFF", "--json")
    assert len(json.loads(said.out)["settlements"]) == 4
    assert [asked.page_size for asked in engine.asked] == [4, 2]
    assert list(engine.asked[0].statuses) == [wire.COMPLETED]


def test_list_prints_a_table(command: Run, engine: FakeEngine) -> None:
    said = command("list")
    assert "OBLIGATION" in said.out
    assert "OB-7" in said.out
    engine.settlements = []
    assert "nothing found" in command("list").out


def test_cancel_says_what_became_of_the_wish(command: Run, engine: FakeEngine) -> None:
    said = command("cancel", ID)
    assert said.code == ExitCode.OPEN
    assert "RECALLING" in said.out
    assert engine.asked[0].settlement_id == ID
    assert json.loads(command("cancel", ID, "--json").out)["status"] == "RECALLING"


# --- accounts -------------------------------------------------------------------------------------


def test_accounts_open_and_fund(command: Run, engine: FakeEngine) -> None:
    words = ("open", "nostro", "DEUTDEFF", "EUR", "--credit-limit", "5.00")
    assert command("accounts", *words).code == ExitCode.OK
    assert engine.asked[0] == wire.OpenAccountRequest(
        kind=wire.NOSTRO, bank="DEUTDEFF", currency="EUR", credit_limit="5.00"
    )
    said = command("accounts", "fund", "DEUTDEFF", "EUR", "10.00", "--reference", "R", "--json")
    assert engine.asked[1].amount == "10.00"
    assert engine.asked[1].idempotency_key
    assert json.loads(said.out)["available"] == "9.00"


def test_accounts_open_tells_what_the_engine_warns_of(command: Run, engine: FakeEngine) -> None:
    engine.accounts[0].warnings.append("account_number looks like a card number")
    said = command("accounts", "open", "nostro", "DEUTDEFF", "EUR")
    assert said.code == ExitCode.OK
    assert "looks like a card number" in said.out + said.err


def test_accounts_list_reads_every_page(command: Run, engine: FakeEngine) -> None:
    said = command("accounts", "list", "--kind", "nostro", "--json")
    assert len(json.loads(said.out)["accounts"]) == 3
    assert "AVAILABLE" in command("accounts", "list").out


def test_accounts_show_and_switch(command: Run, engine: FakeEngine) -> None:
    assert json.loads(command("accounts", "show", "1", "--json").out)["id"] == "1"
    assert "is not active" in command("accounts", "deactivate", "1").out
    assert "is active" in command("accounts", "activate", "1").out


def test_accounts_transfers(command: Run, engine: FakeEngine) -> None:
    said = command("accounts", "transfers", "--account", "1")
    assert "cash" in said.out
    said = command("accounts", "transfers", "--settlement", ID, "--json")
    assert json.loads(said.out)["transfers"][0]["amount"] == "1000.00"
