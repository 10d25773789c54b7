"""A parked settlement from outside: two people release it, one alone cannot, and it is visible who must act."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from settlement_engine.proto import settlement_pb2 as pb
from tests.e2e.test_cases import exception_of, read, run, submit
from tests.e2e.world import World, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PARKED = "500.00"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder: Path = tmp_path_factory.mktemp("parked")
    file = folder / "config.toml"
    file.write_text('[screening]\nreview_amounts = { EUR = "500.00" }\n')
    options = ("--config", str(file), "--set", "cases.interval_seconds=0.2")
    with World(folder, *options, "--set", "nats.enabled=false") as made:
        made.open_bank("DEUTDEFF", "EUR", "5000.00")
        made.open_bank("CHASUS33", "EUR")
        yield made
        made.prove()


def evidence_root(world: World, settlement_id: str, file: Path) -> str:
    code, text = run(world, "evidence", "export", settlement_id, "-o", str(file))
    assert code == 0, text
    verified = subprocess.run(
        [sys.executable, "-m", "settlement_engine", "evidence", "verify", str(file), "--json"],
        capture_output=True,
        timeout=60,
        check=True,
    )
    said = json.loads(verified.stdout)
    assert said["isGood"], said
    return str(said["rootSha256"])


def test_two_people_release_a_parked_settlement(world: World, tmp_path: Path) -> None:
    parked = submit(world, "", amount=PARKED)
    found = exception_of(world, parked)
    assert (found["kind"], found["state"]) == ("EXCEPTION_KIND_HELD", "HELD")
    assert "amounts from 500.00 EUR on are reviewed" in found["said"]["text"]
    said = run(world, "explain", parked)[1]
    assert "settlement-engine resolve ID --release" in said
    words = ("resolve", parked, "--release", "--reason", "the customer called", "--as", "ada")
    code, text = run(world, *words, "--dry-run")
    assert (code, "ada would propose: it may continue" in text) == (0, True), text
    assert read(world, "exceptions", "show", found["id"]).get("proposals", []) == []
    proposal = read(world, *words)
    code, text = run(world, "approve", proposal["id"], "--as", "ada")
    assert (code, "cannot approve" in text) == (1, True)
    read(world, "approve", proposal["id"], "--as", "grace")
    assert world.wait_for(parked).status == pb.COMPLETED

    def closed() -> bool:
        shown = read(world, "exceptions", "show", found["id"])
        statuses = [each["status"] for each in shown["proposals"]]
        return shown.get("closedBy") == "engine" and statuses == ["PROPOSAL_STATUS_APPLIED"]

    until(closed, 20, "the exception to be closed")
    roots = {evidence_root(world, parked, tmp_path / f"{number}.zip") for number in range(2)}
    assert len(roots) == 1, "what has ended has one root"


def test_two_people_decline_a_parked_settlement(world: World) -> None:
    parked = submit(world, "", amount=PARKED)
    exception_of(world, parked)
    words = ("resolve", parked, "--decline", "--reason", "nobody knows him", "--as", "ada")
    proposal = read(world, *words)
    read(world, "approve", proposal["id"], "--as", "grace")
    ended = world.wait_for(parked)
    assert (ended.status, ended.refusal_code) == (pb.FAILED, "DECLINED")


def test_a_dry_run_is_refused_like_the_proposal_itself(world: World, tmp_path: Path) -> None:
    file = tmp_path / "letter.txt"
    file.write_text("paid")
    ended = world.execute(amount="1.00").settlement_id
    evidence = ("--evidence", str(file), "--reason", "their letter", "--as", "ada", "--dry-run")
    code, text = run(world, "resolve", ended, "--settled", *evidence)
    assert code != 0
    assert "a final state never changes" in text
    parked = submit(world, "", amount=PARKED)
    exception_of(world, parked)
    code, text = run(world, "resolve", parked, "--settled", *evidence)
    assert code != 0
    assert "--release" in text
    unknown = "0193a5c2-7d1e-7b3a-9f00-1c2d3e4f5a6b"
    assert run(world, "resolve", unknown, "--settled", *evidence)[0] != 0
    run(world, "cancel", parked)
    assert world.wait_for(parked).status == pb.FAILED
