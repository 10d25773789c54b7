"""A compensation from outside: submitted by a command, released by two people, linked both ways, and proved."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from settlement_engine.cli.failures import ExitCode
from settlement_engine.proto import settlement_pb2 as pb
from tests.e2e.test_cases import exception_of, read, run
from tests.e2e.test_parked import evidence_root
from tests.e2e.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAID, PAID_BACK = "100.00", "60.00"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder: Path = tmp_path_factory.mktemp("compensation")
    options = ("--set", "cases.interval_seconds=0.2", "--set", "nats.enabled=false")
    with World(folder, *options, "--engines", "2") as made:
        made.open_bank("DEUTDEFF", "EUR", "5000.00")
        made.open_bank("CHASUS33", "EUR", "5000.00")
        yield made
        made.prove()


def submitted(world: World, compensated: str, amount: str, *words: str) -> tuple[int, str]:
    sides = ("CHASUS33", "DEUTDEFF", amount, "EUR")
    return run(world, "submit", *sides, "--compensates", compensated, "--no-wait", *words)


def test_two_people_release_a_compensation_and_both_settlements_name_the_other(
    world: World, tmp_path: Path
) -> None:
    paid = world.execute(amount=PAID).settlement_id
    code, text = submitted(world, paid, "100.01")
    assert code == ExitCode.USAGE
    assert "amount: is more than what is left to compensate: 100.00 EUR" in text
    code, text = submitted(world, paid, PAID_BACK, "--json")
    assert code == 0, text
    settlement_id = json.loads(text[text.rindex("\n{") if "\n{" in text else 0 :])["settlementId"]
    found = exception_of(world, settlement_id)
    assert found["said"]["text"] == f"it compensates settlement {paid}"
    words = ("resolve", settlement_id, "--release", "--reason", "paid twice", "--as", "ada")
    proposal = read(world, *words)
    assert run(world, "approve", proposal["id"], "--as", "ada")[0] == 1
    assert world.nostro("CHASUS33", "EUR").held in ("0.00", "")
    read(world, "approve", proposal["id"], "--as", "grace")
    assert world.wait_for(settlement_id).status == pb.COMPLETED
    assert read(world, "show", settlement_id)["compensates"] == paid
    [linked] = read(world, "show", paid)["compensations"]
    assert (linked["settlementId"], linked["amount"]) == (settlement_id, PAID_BACK)
    for listing, expected in (
        (("--compensates", paid), [settlement_id]),
        (("--compensates", settlement_id), []),
        (("--compensations",), [settlement_id]),
        (("--compensated", "--status", "completed"), [paid]),
    ):
        listed = read(world, "list", *listing)["settlements"]
        ids = {each["settlementId"] for each in listed}
        assert ids & {paid, settlement_id} == {*expected}, listing
    assert f"It is compensated by settlement {settlement_id}" in run(world, "explain", paid)[1]
    code, text = submitted(world, paid, "40.01")
    assert code == ExitCode.USAGE
    assert "what is left to compensate: 40.00 EUR" in text
    for number, each in enumerate((paid, settlement_id)):
        assert evidence_root(world, each, tmp_path / f"{number}.zip")


def test_declined_it_moves_nothing(world: World) -> None:
    paid = world.execute(amount=PAID, obligation_id="O-declined").settlement_id
    before = world.nostro("CHASUS33", "EUR")
    code, text = submitted(world, paid, PAID, "--obligation-id", "OC-declined")
    assert code == 0, text
    settlement_id = read(world, "show", "OC-declined")["settlementId"]
    exception_of(world, settlement_id)
    words = ("resolve", settlement_id, "--decline", "--reason", "it was right", "--as", "ada")
    proposal = read(world, *words)
    read(world, "approve", proposal["id"], "--as", "grace")
    ended = world.wait_for(settlement_id)
    assert (ended.status, ended.refusal_code) == (pb.FAILED, "DECLINED")
    assert world.nostro("CHASUS33", "EUR") == before
