"""The simulated bank's statement ends what its lost confirmation left in doubt; evidence names the entry."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from settlement_engine.cli.failures import ExitCode
from settlement_engine.proto import settlement_pb2 as pb
from tests.e2e.test_command_line import Done, run
from tests.e2e.test_rails import bank_lines, direct, payment
from tests.e2e.world import World, payment_request, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECONDS = 30.0


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("statement-evidence")
    with World(folder, "--simulator", "--sample-data") as world:
        yield world


def statement(world: World, currency: str, folder: Path) -> Path:
    """Fetch the bank's statement of today."""
    asked = urllib.parse.urlencode(
        {
            "bank": "DEUTDEFF",
            "currency": currency,
            "date": datetime.now(UTC).date().isoformat(),
            "account": world.nostro("DEUTDEFF", currency).account_number,
        }
    )
    url = f"{world.address['simulator']}/statements?{asked}"
    with urllib.request.urlopen(url, timeout=10) as answer:
        content = answer.read()
    file = folder / f"{currency}.xml"
    file.write_bytes(content)
    return file


def sent_in_silence(world: World, rail: str, currency: str, **script: Any) -> str:
    """Send a payment that the bank settles, and about which it says nothing for a day."""
    direct(world, {"default": "silent_for_a_day", **script})
    wanted = payment_request(rail=rail, currency=currency, payment=payment())
    answer = world.settlements.SubmitSettlements(
        pb.SubmitSettlementsRequest(settlements=[wanted]), timeout=10
    )
    sent = answer.results[0].settlement
    until(
        lambda: any(line["times_debited"] for line in bank_lines(world, sent.settlement_id)),
        SECONDS,
        "the bank's debit",
    )
    assert world.status(sent.settlement_id).status in (pb.IN_DOUBT, pb.EXECUTING)
    return sent.settlement_id


def imported(world: World, file: Path) -> None:
    done = run(world, "statements", "import", str(file), "--as", "ada", "--json")
    assert done.code == ExitCode.OK, done
    assert json.loads(done.out.splitlines()[0])["outcome"] == "IMPORTED"


def good(done: Done) -> Any:
    assert done.code == ExitCode.OK, done
    return done.json


def test_a_lost_confirmation_is_ended_by_the_statement_and_reconciled(
    world: World, tmp_path: Path
) -> None:
    settlement_id = sent_in_silence(world, "sepa_sct", "EUR")
    assert world.status(settlement_id).finality < pb.FINALITY_SETTLED
    imported(world, statement(world, "EUR", tmp_path))
    found = world.wait_for(settlement_id, pb.COMPLETED, seconds=SECONDS)
    detail = found.moves[-1].detail
    assert (detail["statement_says"], detail["statement_entry"]) == ("debit", "2"), (
        "behind the funds"
    )
    assert found.finality in (pb.FINALITY_SETTLED, pb.FINALITY_RECONCILED)

    run(world, "reconcile", "--bank", "DEUTDEFF", "--currency", "EUR", "--as", "ada")
    until(
        lambda: world.status(settlement_id).finality == pb.FINALITY_RECONCILED,
        SECONDS,
        "the proof of the statement",
    )
    shown = run(world, "show", settlement_id)
    assert "reconciled" in shown.out
    assert good(run(world, "show", settlement_id, "--json"))["finality"] == "FINALITY_RECONCILED"
    explained = run(world, "explain", settlement_id)
    assert "The bank's statement has its booked debit" in explained.out

    file = tmp_path / "evidence.tar"
    exported = good(run(world, "evidence", settlement_id, "-o", str(file), "--json"))
    verified = run(world, "evidence", "verify", str(file), "--root", exported["rootSha256"])
    assert verified.code == ExitCode.OK, verified
    assert "moves that stand on statements" in verified.out


def test_a_second_debit_goes_to_suspense_and_is_an_incident(world: World, tmp_path: Path) -> None:
    twice = {"differences": [{"kind": "duplicate", "one_in": 1}]}
    settlement_id = sent_in_silence(world, "swift", "USD", **twice)
    imported(world, statement(world, "USD", tmp_path))
    world.wait_for(settlement_id, pb.COMPLETED, seconds=SECONDS)
    found = until(
        lambda: (seen := world.status(settlement_id)).is_frozen and seen, SECONDS, "the incident"
    )
    assert [move.event for move in found.moves][-2:] == ["SETTLED", "DEBITED_TWICE"]
    listed = good(run(world, "exceptions", "list", "--kind", "debited_twice", "--json"))
    [case] = listed["exceptions"]
    assert case["settlementId"] == settlement_id
    assert case["severity"] == "EXCEPTION_SEVERITY_CRITICAL"
    world.prove()
