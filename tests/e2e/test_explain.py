"""Explanation, evidence, stuck settlements, dead letters and replays on a real engine, by command line."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import asyncpg
import nats
import pytest

from settlement_engine.proto import settlement_pb2 as pb
from settlement_engine.store.hosts import addresses
from tests.e2e.jetstream import publish, read_stream
from tests.e2e.world import World, until

if TYPE_CHECKING:
    from collections.abc import Iterator

QUICK = ("--set", "banks.mock_latency_ms=5", "--set", "banks.mock_success_rate=1")
LIMITS = (
    *("--set", "monitoring.gauges_interval_seconds=0.2"),
    *("--set", "nats.duplicate_window_seconds=0.5"),
)
TIMEOUT_SECONDS = 30.0


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("explain"), *QUICK, *LIMITS) as world:
        for bank in ("DEUTDEFF", "CHASUS33"):
            world.open_bank(bank, "EUR", "1000000.00")
        yield world


def cli(world: World, *words: str) -> subprocess.CompletedProcess[str]:
    address = world.address
    env = os.environ | {
        "SETTLEMENT_ADDRESS": address["grpc"],
        "SETTLEMENT_DATABASE__URL": address["database_url"],
        "SETTLEMENT_NATS__URL": address["nats_url"],
        "SETTLEMENT_NATS__DUPLICATE_WINDOW_SECONDS": "0.5",
        "NO_COLOR": "1",
    }
    return subprocess.run(
        [sys.executable, "-m", "settlement_engine", *words],
        env=env,
        cwd=world.folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def run_json(world: World, *words: str) -> Any:
    done = cli(world, *words, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def ask(world: World, statement: str, *arguments: object) -> Any:
    async def run() -> Any:
        connection = await asyncpg.connect(world.address["database_url"])
        try:
            return await connection.fetchval(statement, *arguments)
        finally:
            await connection.close()

    return asyncio.run(run())


def test_a_completed_settlement_is_explained_exported_and_verified(world: World) -> None:
    settled = world.execute(obligation_id="OBL-DONE")
    assert settled.status == pb.COMPLETED
    explained = cli(world, "explain", "OBL-DONE").stdout
    assert "It has ended: the money moved." in explained
    assert "Moved (cash): 1.00 EUR" in explained
    file = world.folder / "done.zip"
    exported = run_json(world, "evidence", "OBL-DONE", "-o", str(file))
    again = world.folder / "again.zip"
    run_json(world, "evidence", "export", settled.settlement_id, "-o", str(again))
    verified = run_json(world, "evidence", "verify", str(file), "--root", exported["rootSha256"])
    assert verified["isGood"]
    assert verified["settlementId"] == settled.settlement_id
    assert [each["faults"] for each in verified["checks"]] == [[]] * len(verified["checks"])
    assert cli(world, "evidence", "verify", str(again)).returncode == 0
    damaged = bytearray(file.read_bytes())
    damaged[len(damaged) // 3] ^= 1
    file.write_bytes(bytes(damaged))
    assert cli(world, "evidence", "verify", str(file)).returncode == 1


def test_evidence_of_rejected_and_in_doubt_settlements_verifies(world: World) -> None:
    for number, simulate in enumerate(("reject", "lost_answer")):
        name = f"OBL-ODD-{number}"
        world.execute(obligation_id=name, simulate=simulate)
        file = world.folder / f"odd-{number}.zip"
        run_json(world, "evidence", name, "-o", str(file))
        done = cli(world, "evidence", "verify", str(file))
        assert done.returncode == 0, done.stdout


def test_a_stuck_settlement_is_reported_everywhere(world: World) -> None:
    assert "nothing is stuck" in cli(world, "list", "--stuck").stdout
    request = pb.SettlementRequest(
        obligation_id="OBL-STUCK",
        from_bank="DEUTDEFF",
        to_bank="CHASUS33",
        amount="1.00",
        currency="EUR",
        metadata={"simulate": "silent"},
    )
    batch = pb.SubmitSettlementsRequest(settlements=[request])
    world.settlements.SubmitSettlements(batch, timeout=10)
    plant = """
        WITH planted AS (
            SELECT s.id FROM settlement_transactions AS s
            JOIN open_settlements AS w ON w.settlement_id = s.id
            WHERE s.obligation_id = 'OBL-STUCK' AND s.state = 'in_doubt' AND w.owner = 0
        )
        UPDATE open_settlements AS w SET due_at = 'infinity' FROM planted
        WHERE w.settlement_id = planted.id RETURNING w.settlement_id
    """
    planted = until(lambda: ask(world, plant), TIMEOUT_SECONDS, "it to rest in doubt")
    [found] = run_json(world, "list", "--stuck")["settlements"]
    assert (found["settlementId"], found["reason"]) == (str(planted), "NO_NEXT_ACTION")
    explained = cli(world, "explain", "OBL-STUCK").stdout
    fault = "No next action exists. This is a fault: see the alert for stuck settlements."
    assert fault in explained
    metric = 'settlement_stuck{reason="no_next_action"} 1.0'
    until(lambda: metric in world.get("/metrics")[1], TIMEOUT_SECONDS, "the metric")
    until(lambda: str(planted) in world.get("/readyz")[1], TIMEOUT_SECONDS, "the health page")
    assert world.get("/readyz")[0] == 200
    logs = "".join(path.read_text() for path in (world.folder / "data").rglob("engine*.log"))
    assert "settlements_stuck" in logs
    free = "UPDATE open_settlements SET due_at = clock_timestamp() WHERE settlement_id = $1"
    ask(world, free, planted)
    until(
        lambda: "nothing is stuck" in cli(world, "list", "--stuck").stdout,
        TIMEOUT_SECONDS,
        "the alarm to end",
    )


def test_dead_letters_are_listed_retried_and_dropped(world: World) -> None:
    publish(world, "clearing.instructions", b"rubbish", b'{"obligation_id": "OBL-HALF"}')
    listed = ("intake", "dead-letters", "list")
    until(lambda: len(run_json(world, *listed)["letters"]) == 2, TIMEOUT_SECONDS, "two letters")
    second, first = run_json(world, *listed)["letters"]
    shown = cli(world, "intake", "dead-letters", "show", first["id"])
    assert "rubbish" in shown.stdout
    retried = cli(world, "intake", "dead-letters", "retry", second["id"], "--as", "mara")
    assert retried.returncode == 1
    assert "REFUSED by mara (local)" in retried.stdout
    why = ("--reason", "a test of ours")
    dropped = run_json(world, "intake", "dead-letters", "drop", first["id"], *why)
    assert not dropped["isOpen"]
    assert [each["id"] for each in run_json(world, *listed)["letters"]] == [second["id"]]
    assert len(run_json(world, *listed, "--all")["letters"]) == 2


def test_a_purged_stream_is_replayed_while_an_engine_runs(world: World) -> None:
    world.execute(obligation_id="OBL-REPLAY")
    head = ask(world, "SELECT position FROM stream_head")
    until(lambda: len(read_stream(world)) == head, TIMEOUT_SECONDS, "all events")
    before = read_stream(world)

    async def purge() -> None:
        connection = await nats.connect(addresses(world.address["nats_url"]), allow_reconnect=False)
        await connection.jetstream().purge_stream("settlement-events")
        await connection.close()

    asyncio.run(purge())
    plan = run_json(world, "outbox", "replay", "--from", "1", "--dry-run")
    assert (plan["count"], plan["isDryRun"]) == (head, True)
    assert read_stream(world) == []
    assert run_json(world, "outbox", "replay", "--from", "1")["count"] == head
    assert read_stream(world) == before
    refused = cli(world, "outbox", "replay", "--from", "99999")
    assert refused.returncode == 1
    assert "there is no announcement 99999" in refused.stderr
    other = ("--to", "3", "--stream", "again")
    assert run_json(world, "outbox", "replay", "--from", "2", *other)["count"] == 2
    assert read_stream(world, "again") == before[1:3]
    world.execute(obligation_id="OBL-AFTER")
    last = ask(world, "SELECT position FROM stream_head")
    until(lambda: len(read_stream(world)) == last, TIMEOUT_SECONDS, "what came after")
    assert [number for _, number in read_stream(world)] == list(range(1, last + 1))
