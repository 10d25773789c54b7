"""An older backup is restored, in which payments are missing: nothing is paid twice, and all are found."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from settlement_engine.domain.announcement import POSITIONS_PER_EPOCH, system_epoch_of
from settlement_engine.proto import settlement_pb2 as pb
from tests.e2e.jetstream import read_stream
from tests.e2e.world import events, payment_request, until
from tests.support.failover import ask, await_quiet, engine_on, journal, tell
from tests.support.replicas import Replica, restore

if TYPE_CHECKING:
    from pathlib import Path

    from settlement_engine.embedded import EmbeddedPostgres
    from tests.e2e.world import World

pytestmark = pytest.mark.timeout(300)

FORGOTTEN = 20
IN_FLIGHT = 5


def submit(world: World, simulate: str, count: int) -> dict[str, pb.SettlementRequest]:
    """Submit settlements; return the requests by settlement id."""
    requests = [
        payment_request(obligation_id=str(uuid.uuid4()), amount="7.00", simulate=simulate)
        for _ in range(count)
    ]
    return dict(zip(send(world, requests), requests, strict=True))


def send(world: World, requests: list[pb.SettlementRequest]) -> list[str]:
    batch = pb.SubmitSettlementsRequest(settlements=requests)
    results = world.settlements.SubmitSettlements(batch, timeout=30, wait_for_ready=True).results
    assert all(result.HasField("settlement") for result in results), results
    return [result.settlement.settlement_id for result in results]


def debits(world: World) -> dict[str, int]:
    """Return how often the bank debited, by obligation."""
    return {row["obligation_id"]: row["times_debited"] for row in world.bank_ledger()}


def receipts(world: World) -> dict[str, int]:
    """Return how often the bank received the payment, by obligation."""
    return {row["obligation_id"]: row["times_received"] for row in world.bank_ledger()}


def unknown_payments(server: EmbeddedPostgres) -> list[dict[str, Any]]:
    rows = asyncio.run(
        ask(server.url(), "SELECT detail FROM exceptions WHERE kind = 'unknown_payment'")
    )
    return [json.loads(row["detail"]) for row in rows]


def reason(server: EmbeddedPostgres) -> str:
    """Return why the epoch began."""
    return str(tell(server, "SELECT why FROM openings WHERE step = 'shut'"))


def pay_after_a_backup(
    world: World, server: EmbeddedPostgres, folder: Path, *, is_announced: bool = True
) -> Any:
    """Take a backup with payments in flight, and make more payments after it."""
    in_flight = submit(world, "late_settle", IN_FLIGHT)
    for settlement_id in in_flight:
        world.wait_for(settlement_id, pb.IN_DOUBT, pb.EXECUTING)
    backup = Replica(folder / "backup")
    backup.take_from(server, is_standby=False)
    forgotten = submit(world, "settle", FORGOTTEN)
    await_quiet(world)
    if is_announced:
        until(lambda: len(read_stream(world)) == events_count(world), 20, "all to be announced")
    return backup, in_flight, forgotten


def events_count(world: World) -> int:
    return sum(1 for _ in events(world))


def check_after_the_restore(
    world: World,
    server: EmbeddedPostgres,
    in_flight: dict[str, pb.SettlementRequest],
    forgotten: dict[str, pb.SettlementRequest],
) -> None:
    """All payments that the bank has are found once; repeated keys complete with their one debit."""
    until(lambda: journal(server) == "1 opened", 30, "the gate to open")
    found = unknown_payments(server)
    obligations = {request.obligation_id for request in forgotten.values()}
    assert sorted(each["obligation_id"] for each in found) == sorted(obligations)
    for settlement_id in in_flight:
        assert world.wait_for(settlement_id).status == pb.COMPLETED
    again = send(world, list(forgotten.values()))
    assert not set(again) & forgotten.keys(), "they are new to this database"
    for settlement_id in again:
        assert world.wait_for(settlement_id).status == pb.COMPLETED
    assert {debits(world)[obligation] for obligation in obligations} == {1}
    assert {receipts(world)[obligation] for obligation in obligations} == {1}, "not sent again"
    assert len(unknown_payments(server)) == FORGOTTEN, "one exception each"
    world.prove()


def check_stream(world: World, before: list[tuple[str, int]]) -> None:
    """Earlier announcements stay; the new epoch follows its marker, and no event id is used twice."""
    wanted = [(event.event_id, event.sequence) for event in events(world)]
    new = [each for each in wanted if system_epoch_of(each[1]) == 1]
    assert new
    found = until(
        lambda: (stored := read_stream(world))[-1] == new[-1] and stored, 30, "the new epoch"
    )
    assert found == [*before, ("reopened.1", POSITIONS_PER_EPOCH), *new]
    assert len({name for name, _ in found}) == len(found)


@pytest.mark.kill
def test_a_running_engine_detects_a_restore(tmp_path: Path, server: EmbeddedPostgres) -> None:
    with engine_on(tmp_path / "dev", server.url()) as world:
        backup, in_flight, forgotten = pay_after_a_backup(world, server, tmp_path)
        before = read_stream(world)
        engines = world.engine_pids()
        server.stop()
        restore(server, backup)
        server.start()
        check_after_the_restore(world, server, in_flight, forgotten)
        check_stream(world, before)
        assert world.engine_pids() == engines
        assert reason(server) in ("older_state", "stream_ahead"), (
            "by how much log there was, or else"
        )


@pytest.mark.kill
@pytest.mark.parametrize(
    ("why", "options"),
    [("stream_ahead", ()), ("bank_knows_more", ("--set", "nats.enabled=false"))],
)
def test_an_engine_started_after_a_restore_detects_it_from_the_stream_or_the_bank(
    tmp_path: Path, server: EmbeddedPostgres, why: str, options: tuple[str, ...]
) -> None:
    with engine_on(tmp_path / "dev", server.url(), *options) as world:
        is_announced = not options
        backup, in_flight, forgotten = pay_after_a_backup(
            world, server, tmp_path, is_announced=is_announced
        )
        before = read_stream(world) if is_announced else []
        for pid in world.engine_pids():
            os.kill(pid, signal.SIGSTOP)  # so that it cannot notice, and is not replaced
        server.stop()
        restore(server, backup)
        server.start()
        world.kill_engine()
        check_after_the_restore(world, server, in_flight, forgotten)
        assert reason(server) == why
        if is_announced:
            check_stream(world, before)
