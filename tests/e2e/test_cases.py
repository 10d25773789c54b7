"""Case management as people use it: a bank without an answer, two people, and the engine."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from settlement_engine.proto import settlement_pb2 as pb
from tests.e2e.world import World, payment_request, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BANK_LATE_SECONDS = 4

SETTINGS = (
    *("--set", "banks.mock_latency_ms=5"),
    *("--set", "banks.mock_answer_timeout_ms=300"),
    *("--set", f"banks.mock_late_seconds={BANK_LATE_SECONDS}"),
    *("--set", "settlement.enquiry_first_delay_seconds=0.1"),
    *("--set", "cases.interval_seconds=0.2"),
    *("--set", "cases.in_doubt_after_seconds=0.5"),
    *("--set", "cases.overdue_after_seconds=0.5"),
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Start one engine for all tests of this file."""
    folder: Path = tmp_path_factory.mktemp("desk")
    with World(folder, *SETTINGS) as world:
        world.open_bank("DEUTDEFF", "EUR", "1000.00")
        world.open_bank("CHASUS33", "EUR")
        yield world
        world.prove()


@pytest.fixture
def statement(tmp_path: Path) -> Path:
    """A file with evidence of what happened."""
    file = tmp_path / "camt.053.xml"
    file.write_text("<Document>entry 12</Document>")
    return file


def run(world: World, *words: str) -> tuple[int, str]:
    """Run a command of the program; return its exit code and its output."""
    done = subprocess.run(
        [sys.executable, "-m", "settlement_engine", *words, "--address", world.address["grpc"]],
        capture_output=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout.decode() + done.stderr.decode()


def read(world: World, *words: str) -> Any:
    """Run a command that prints JSON."""
    code, text = run(world, *words, "--json")
    assert code == 0, text
    return json.loads(text)


def submit(world: World, simulate: str, amount: str = "10.00") -> str:
    """Submit a settlement without waiting for its end."""
    request = pb.SubmitSettlementsRequest(
        settlements=[payment_request(simulate=simulate, amount=amount)]
    )
    answer = world.settlements.SubmitSettlements(request, timeout=10)
    return str(answer.results[0].settlement.settlement_id)


def exception_of(world: World, settlement_id: str, *words: str) -> dict[str, Any]:
    """Wait for the case of a settlement."""

    def look() -> Any:
        listed = read(world, "exceptions", "list", "--settlement", settlement_id, *words)
        return listed["exceptions"]

    found: dict[str, Any] = until(look, 20, "the exception")[0]
    return found


def test_two_people_resolve_an_unanswered_payment_across_a_crash(
    world: World, statement: Path
) -> None:
    before = world.nostro("DEUTDEFF", "EUR")
    settlement_id = submit(world, "silent")
    found = exception_of(world, settlement_id)
    assert found["kind"] in ("EXCEPTION_KIND_IN_DOUBT", "EXCEPTION_KIND_OVERDUE")
    code, text = run(world, "exceptions", "show", found["id"])
    assert code == 0
    assert "safe to do now" in text
    assert settlement_id in text

    words = ("--not-settled", "--evidence", str(statement), "--reason", "the bank has nothing")
    proposal = read(world, "resolve", found["id"], *words, "--as", "ada")
    assert proposal["settlementId"] == settlement_id
    code, text = run(world, "approve", proposal["id"], "--as", "Ada")
    assert (code, "cannot approve" in text) == (1, True)
    assert world.status(settlement_id).status != pb.ROLLED_BACK
    held = world.nostro("DEUTDEFF", "EUR")
    assert float(held.held) == float(before.held) + 10

    old = world.engine_pids()
    approved = read(world, "approve", proposal["id"], "--as", "grace")
    world.kill_engine()
    assert approved["decidedBy"] == "grace"
    world.await_new_engine(old)
    ended = world.wait_for(settlement_id)
    assert ended.status == pb.ROLLED_BACK
    assert (ended.moves[-1].event, ended.moves[-1].detail["approved_by"]) == (
        "ATTESTED_NOT_SETTLED",
        "grace",
    )
    assert ended.moves[-1].detail["evidence_sha256"] == proposal["evidenceSha256"]
    after = world.nostro("DEUTDEFF", "EUR")
    assert (after.posted, after.held) == (before.posted, before.held)
    closed = until(
        lambda: (one := exception_of(world, settlement_id, "--closed"))["closedBy"] and one,
        20,
        "the exception to be closed",
    )
    assert closed["closedBy"] == "engine"
    shown = read(world, "exceptions", "show", found["id"])
    assert [each["status"] for each in shown["proposals"]] == ["PROPOSAL_STATUS_APPLIED"]


def test_the_banks_own_report_overrides_an_attestation(world: World, statement: Path) -> None:
    """People attest that nothing moved; the bank answers one more enquiry that it did."""
    settlement_id = submit(world, "late_settle")
    exception_of(world, settlement_id, "--closed")
    words = ("--not-settled", "--evidence", str(statement), "--reason", "no entry so far")
    proposal = read(world, "resolve", settlement_id, *words, "--as", "ada")
    until(
        lambda: (entry := world.bank_entry(settlement_id)) and entry["state"] == "settled",
        BANK_LATE_SECONDS + 20,
        "the bank to settle",
    )
    code, text = run(world, "approve", proposal["id"], "--as", "grace")
    ended = world.wait_for(settlement_id)
    assert ended.status == pb.COMPLETED
    assert ended.moves[-1].event == "SETTLED"
    if code != 0:  # the engine had asked by itself, and knew already
        assert "cannot be resolved" in text or "superseded" in text, text


def test_metrics_count_open_exceptions(world: World) -> None:
    settlement_id = submit(world, "silent")
    exception_of(world, settlement_id)

    def is_counted() -> bool:
        _, text = world.get("/metrics")
        lines = [line for line in text.splitlines() if line.startswith("exceptions_open{")]
        return any(float(line.rsplit(" ", 1)[1]) >= 1 for line in lines)

    until(is_counted, 20, "the gauge")
