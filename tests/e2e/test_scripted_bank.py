"""Operators and a scripted bank, with real servers: scenarios are triggered, rails stopped, messages shown."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from settlement_engine.app.simulated_payment import order_scenario
from settlement_engine.cli.failures import ExitCode
from settlement_engine.proto import settlement_pb2 as wire
from settlement_engine.proto import settlement_pb2_grpc as rpc
from tests.e2e.world import World, until

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS = 60.0
IN_USD = {"from_bank": "DEUTDEFF", "to_bank": "CHASUS33", "currency": "USD"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Two engines and the scripted bank."""
    folder = tmp_path_factory.mktemp("scripted-bank")
    with World(folder, "--simulator", "--sample-data", "--engines", "2") as made:
        yield made


def run(world: World, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "settlement_engine", *words],
        env={**os.environ, "SETTLEMENT_ADDRESS": world.address["grpc"]},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def trigger(world: World, scenario: str, *words: str) -> dict[str, Any]:
    done = run(
        world, "trigger", scenario, "--simulator", world.address["simulator"], "--json", *words
    )
    assert done.returncode == ExitCode.OK, done.stdout + done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.mark.parametrize(
    ("scenario", "state", "debits"),
    [
        ("settle", "COMPLETED", 1),
        ("reject", "ROLLED_BACK", 0),
        ("lost_answer", "COMPLETED", 1),
        ("late_return", "RETURNED", 1),
        ("partial_return", "RETURNED", 1),
        ("recall_accepted", "ROLLED_BACK", 0),
        ("settle_recall_delayed", "RETURNED", 1),
        ("settle_recall_refused", "COMPLETED", 1),
        ("reject_then_settle", "ROLLED_BACK", 1),
    ],
)
def test_a_scenario_is_run_by_name_and_both_sides_are_told(
    world: World, scenario: str, state: str, debits: int
) -> None:
    told = trigger(world, scenario)
    assert told["settlement"]["state"] == state
    if scenario == "settle_recall_refused":
        assert told["settlement"]["recall"]["state"] == "RECALL_STATE_REFUSED"
    assert told["bank"]["scenario"] == scenario
    assert told["bank"]["settlement_id"] == told["settlement"]["settlementId"]
    assert told["bank"]["times_debited"] == debits
    directions = {each["direction"] for each in told["messages"]}
    assert directions == {"IN", "OUT"}
    kinds = [case["kind"] for case in told["exceptions"]]
    expected = ["EXCEPTION_KIND_LATE_DEBIT"] if scenario == "reject_then_settle" else []
    assert kinds == expected


@pytest.mark.parametrize("rail", ["swift", "sepa_sct", "sepa_inst", "realtime", "ach"])
def test_a_scenario_is_run_over_the_rail_that_is_named(world: World, rail: str) -> None:
    scenario = (
        "reject" if rail == "ach" else "lost_answer"
    )  # the operator of the ACH loses no answer
    told = trigger(world, scenario, "--rail", rail)
    is_paid = scenario != "reject"
    ended = "COMPLETED" if is_paid else "ROLLED_BACK"
    assert (told["settlement"]["rail"], told["settlement"]["state"]) == (rail, ended)
    assert (told["bank"]["scenario"], told["bank"]["times_debited"]) == (scenario, int(is_paid))
    assert told["messages"][0]["direction"] == "OUT"
    assert told["messages"][0]["type"].startswith("ach.order" if rail == "ach" else "pac")


def test_a_refused_recall_is_asked_once_and_leaves_the_payment_open(world: World) -> None:
    bank = world.address["simulator"]
    done = run(world, "trigger", "recall_refused", "--simulator", bank, "--json")
    assert done.returncode == ExitCode.OPEN, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert told["settlement"]["state"] == "SENT"
    asked = [each for each in told["messages"] if each["type"].startswith("camt.056")]
    assert 1 <= len(asked) <= 2  # the engine that has it, and the one that was asked


@pytest.mark.parametrize("scenario", ["recall_accepted", "settle_recall_delayed"])
def test_a_rail_without_recalls_says_so_in_the_story(world: World, scenario: str) -> None:
    bank = world.address["simulator"]
    done = run(world, "trigger", scenario, "--rail", "ach", "--simulator", bank)
    assert done.returncode in (ExitCode.OK, ExitCode.OPEN), done.stdout + done.stderr
    assert "not recalled: " in done.stdout


def test_what_a_file_cannot_have_is_said(world: World) -> None:
    bank = world.address["simulator"]
    done = run(world, "trigger", "other_amount", "--rail", "ach", "--simulator", bank)
    assert "an entry has no other" in done.stdout


def test_what_left_in_a_file_is_in_the_statement_of_the_bank_that_paid_it(world: World) -> None:
    told = trigger(world, "settle", "--rail", "ach")
    day = datetime.now(tz=UTC).date()
    asked = f"bank=DEUTDEFF&currency=USD&date={day}"
    with urllib.request.urlopen(f"{world.address['simulator']}/statements?{asked}") as answer:
        statement = answer.read().decode()
    assert told["bank"]["trace"] in statement


def test_no_other_payment_is_treated_so(world: World) -> None:
    trigger(world, "reject")
    assert world.execute(**IN_USD).status == wire.COMPLETED


@pytest.mark.parametrize(("bearer", "billed"), [("DEBT", "0.01"), ("CRED", "0.00")])
def test_from_is_billed_for_the_charges_of_a_return_where_it_bears_them(
    world: World, bearer: str, billed: str
) -> None:
    def clearing() -> Decimal:
        asked = wire.ListAccountsRequest(kind=wire.CLEARING, bank="DEUTDEFF", currency="USD")
        [found] = world.accounts.ListAccounts(asked, timeout=10).accounts
        return Decimal(found.posted)

    key = f"charges-{bearer}"
    order_scenario(world.address["simulator"], "partial_return", key)
    creditor = wire.PaymentParty(name="Zoe", account=wire.PaymentAccount(other_id="4711"))
    creditor.address.CopyFrom(wire.PostalAddress(town_name="New York", country="US"))
    debtor = wire.PaymentParty(name="Ada", account=wire.PaymentAccount(other_id="0815"))
    debtor.address.CopyFrom(wire.PostalAddress(town_name="Berlin", country="DE"))
    before = clearing()
    sent = world.execute(
        **IN_USD,
        amount="50.00",
        idempotency_key=key,
        rail="swift",
        payment=wire.PaymentDetails(debtor=debtor, creditor=creditor, charge_bearer=bearer),
    )
    until(
        lambda: world.status(sent.settlement_id).state == "RETURNED", SECONDS, "the money to return"
    )
    returns = world.status(sent.settlement_id).returns
    assert sorted((each.charges, each.rebilled) for each in returns) == [
        ("0.00", "0.00"),
        ("0.01", billed),
    ]
    assert before - clearing() == Decimal(billed), "the debt is back, and the charges are taken"
    told = run(world, "explain", sent.settlement_id).stdout
    assert ("0.01 USD is billed to DEUTDEFF" in told) is (bearer == "DEBT")
    world.prove()


def test_the_story_is_told_in_words(world: World) -> None:
    done = run(world, "trigger", "lost_answer", "--simulator", world.address["simulator"])
    assert done.returncode == ExitCode.OK, done.stdout + done.stderr
    assert "It settles, and its response is lost." in done.stdout
    assert "IN_DOUBT" in done.stdout
    assert "← pacs.002.001.10" in done.stdout
    assert "the bank: received 1 times, debited 100.00" in done.stdout


def test_a_scenario_is_run_only_where_the_bank_is_simulated(world: World) -> None:
    done = run(world, "trigger", "reject")  # the address file of another directory
    assert done.returncode == ExitCode.MISCONFIGURED
    assert "dev --simulator" in done.stderr
    unknown = run(world, "trigger", "no_such_scenario")
    assert unknown.returncode == ExitCode.USAGE
    assert "trigger --list" in unknown.stderr


def test_a_rail_is_stopped_and_begins_again_in_every_engine(world: World) -> None:
    rails = rpc.RailServiceStub(world.channel)
    listed = {
        rail.name: rail for rail in rails.ListRails(wire.ListRailsRequest(), timeout=10).rails
    }
    assert "pacs.009.001.08" in listed["swift"].messages
    names = list(listed)  # the other rails would take the payment: they are stopped as well
    for name in names:
        opened = run(world, "rails", "open", name, "--reason", "a test", "--as", "ada")
        assert opened.returncode == ExitCode.OK, opened.stderr
    until(lambda: stops_everywhere(world, len(names)), SECONDS, "both engines to follow")
    before = len(world.simulator_ledger())
    waiting = world.settlements.SubmitSettlements(
        wire.SubmitSettlementsRequest(settlements=[request("stopped")]), timeout=10
    )
    settlement_id = waiting.results[0].settlement.settlement_id
    until(lambda: world.status(settlement_id).state == "QUEUED", SECONDS, "it to wait")
    assert len(world.simulator_ledger()) == before
    for name in names:
        closed = run(world, "rails", "close", name, "--reason", "the test is over", "--as", "bob")
        assert closed.returncode == ExitCode.OK, closed.stderr
    assert world.wait_for(settlement_id, seconds=SECONDS).status == wire.COMPLETED
    shown = rpc.RailServiceStub(world.channel).GetRail(
        wire.GetRailRequest(name="swift"), timeout=10
    )
    assert [(order.action, order.who) for order in shown.history][:2] == [
        ("CLOSE", "bob"),
        ("OPEN", "ada"),
    ]


def request(name: str) -> wire.SettlementRequest:
    return wire.SettlementRequest(
        obligation_id=f"rails-{name}",
        from_bank="DEUTDEFF",
        to_bank="CHASUS33",
        amount="1.00",
        currency="USD",
    )


def stops_everywhere(world: World, count: int) -> bool:
    """Say whether one engine and the other have followed: a call reaches either of them."""
    for _ in range(10):
        world.close_channel()
        rails = rpc.RailServiceStub(world.channel).ListRails(wire.ListRailsRequest(), timeout=10)
        if sum(len(rail.stops) for rail in rails.rails) != count:
            return False
    return True
