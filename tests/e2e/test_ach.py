"""``dev --simulator``: settlements over the rail ach, by files in folders, with the operator's ledger as the judge.

Files are closed a second after their first payment, acknowledged, settled a second later, and returned if the script
says so. The engine is killed between closing a file and placing it.
"""

from __future__ import annotations

import json
import urllib.request
from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import grpc
import pytest

from settlement_engine.messages.nacha.building import build_file
from settlement_engine.messages.nacha.model import FILE_ID_MODIFIERS
from settlement_engine.messages.nacha.reading import read_file
from settlement_engine.proto import settlement_pb2 as pb
from tests.e2e.world import World, payment_request, until
from tests.support import nacha

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECONDS = 30.0
ORIGIN, ODFI = "1234567890", "091000019"
SCRIPT = {
    "default": "settle",
    "rules": [
        {"scenario": "reject", "amount": "1.01"},
        {"scenario": "late_return", "amount": "1.02"},
        {"scenario": "lost_answer", "amount": "1.03"},
    ],
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("ach"), "--simulator", "--sample-data") as world:
        url = f"{world.address['simulator']}/admin/script"
        data = json.dumps(SCRIPT).encode()
        urllib.request.urlopen(urllib.request.Request(url, data, method="PUT"), timeout=10).close()
        yield world


def send(world: World, amount: str = "1.00", **more: Any) -> str:
    request = payment_request(rail="ach", currency="USD", amount=amount, **more)
    submitted = pb.SubmitSettlementsRequest(settlements=[request])
    [result] = world.settlements.SubmitSettlements(submitted, timeout=20).results
    return str(result.settlement.settlement_id)


def ledger(world: World) -> dict[str, dict[str, Any]]:
    """The operator's entries, by trace."""
    return {line["trace"]: line for line in world.simulator_ledger() if line["rail"] == "ach"}


def folder(world: World, name: str) -> Path:
    return world.folder / "data" / "ach" / name


def sent_files(world: World) -> list[Path]:
    found = folder(world, "archive") / "sent"
    return [each for each in found.iterdir() if each.suffix == ".ach"]


def entry_of(world: World, settlement_id: str) -> Any:
    """The only entry of a payment in all files that were placed: found by its reference."""
    reference = world.status(settlement_id).end_to_end_id
    found = [
        entry
        for file in sent_files(world)
        for entry in read_file(file.read_bytes()).entries()
        if entry.remittance[0].startswith(reference)
    ]
    assert len(found) == 1, found
    return found[0]


def line_of(world: World, settlement_id: str) -> dict[str, Any]:
    return ledger(world)[entry_of(world, settlement_id).trace_number]


def next_name(world: World) -> tuple[str, str]:
    """The next file's modifier and name."""
    day = f"{datetime.now(ZoneInfo('America/New_York')):%Y%m%d}"
    used = {each.name[-5] for each in sent_files(world) if f"-{day}-" in each.name}
    modifier = next(each for each in FILE_ID_MODIFIERS if each not in used)
    return modifier, f"{ORIGIN}-{ODFI}-{day}-{modifier}.ach"


def test_payments_are_settled_rejected_and_returned_item_by_item(world: World) -> None:
    sent = {amount: send(world, amount) for amount in ("1.00", "1.01", "1.02")}
    wanted = {"1.00": pb.COMPLETED, "1.01": pb.ROLLED_BACK, "1.02": pb.RETURNED}
    for amount, settlement_id in sent.items():
        found = world.wait_for(settlement_id, wanted[amount], seconds=SECONDS)
        assert found.rail == "ach"
        line = line_of(world, settlement_id)
        assert line["times_debited"] == (0 if amount == "1.01" else 1)
        assert (line["times_received"], line["end_to_end_id"]) == (1, found.end_to_end_id)
    states = [move.to_state.lower() for move in world.status(sent["1.00"]).moves]
    assert "sent" in states, "acknowledged is not settled"
    assert "in_doubt" not in states
    request = pb.SettlementStatusRequest(settlement_id=sent["1.02"])
    listed = world.settlements.ListMessages(request, timeout=10).messages
    assert [(each.direction, each.type) for each in listed] == [
        ("OUT", "ach.order"),
        ("OUT", "nacha"),
        ("IN", "ach.report"),
        ("IN", "ach.report"),
        ("IN", "nacha"),
    ]


def test_without_an_acknowledgement_the_settlement_advice_ends_it(world: World) -> None:
    """The file is acknowledged by nobody, and is not sent a second time."""
    settlement_id = send(world, "1.03")
    assert world.wait_for(settlement_id, seconds=SECONDS).status == pb.COMPLETED
    line = line_of(world, settlement_id)
    assert (line["times_debited"], line["times_received"]) == (1, 1)


def test_a_customer_is_paid_out(world: World) -> None:
    creditor = pb.PaymentParty(name="Jane Doe", account=pb.PaymentAccount(other_id="77-1"))
    said = pb.PaymentDetails(creditor=creditor, remittance="invoice 4711", end_to_end_id="THEIRS-1")
    settlement_id = send(world, "3.00", payment=said)
    assert world.wait_for(settlement_id, seconds=SECONDS).status == pb.COMPLETED
    entry = entry_of(world, settlement_id)
    assert (entry.receiver, entry.account, entry.name) == ("021000021", "77-1", "Jane Doe")
    assert entry.remittance[0].endswith(" invoice 4711")
    assert line_of(world, settlement_id)["times_debited"] == 1


def test_what_an_entry_cannot_carry_is_refused_with_its_field(world: World) -> None:
    creditor = pb.PaymentParty(name="Zoë", account=pb.PaymentAccount(other_id="77-1"))
    settlement_id = send(world, "3.00", payment=pb.PaymentDetails(creditor=creditor))
    found = world.wait_for(settlement_id, seconds=SECONDS)
    assert found.status == pb.FAILED
    assert "payment.creditor.name" in str(found)


def test_a_refused_file_ends_every_payment_of_it(world: World) -> None:
    modifier, _ = next_name(world)
    batch = nacha.batch(nacha.entry(1), institution=nacha.OURS)
    taken = nacha.file(
        batch,
        origin=ORIGIN,
        destination=ODFI,
        created=datetime.now(ZoneInfo("America/New_York")),
        modifier=modifier,
    )
    (folder(world, "outbox") / "somebody-elses.ach").write_bytes(build_file(taken).data)
    until(lambda: nacha.entry(1).trace_number in ledger(world), SECONDS, "the file to be taken")
    both = [send(world, "1.00"), send(world, "2.00")]
    for settlement_id in both:
        found = world.wait_for(settlement_id, seconds=SECONDS)
        assert found.status == pb.ROLLED_BACK
        assert entry_of(world, settlement_id).trace_number not in ledger(world)


def test_a_payment_in_the_open_file_is_cancelled_and_in_no_file(world: World) -> None:
    settlement_id = send(world, "4.00")
    until(
        lambda: world.status(settlement_id).status == pb.EXECUTING, SECONDS, "it to be in the file"
    )
    request = pb.CancelSettlementRequest(settlement_id=settlement_id)
    world.settlements.CancelSettlement(request, timeout=20)
    assert world.wait_for(settlement_id, seconds=SECONDS).status == pb.ROLLED_BACK
    reference = world.status(settlement_id).end_to_end_id
    assert all(reference.encode() not in each.read_bytes() for each in sent_files(world))


def test_a_payment_of_a_closed_file_is_not_cancelled(world: World) -> None:
    settlement_id = send(world, "5.00")
    until(
        lambda: "sent" in [each.to_state.lower() for each in world.status(settlement_id).moves],
        SECONDS,
        "its file to be acknowledged",
    )
    request = pb.CancelSettlementRequest(settlement_id=settlement_id)
    with pytest.raises(grpc.RpcError):
        world.settlements.CancelSettlement(request, timeout=20)
    assert world.wait_for(settlement_id, seconds=SECONDS).status == pb.COMPLETED


def test_killed_between_closing_and_placing_the_same_file_leaves_and_pays_once(
    world: World,
) -> None:
    _, name = next_name(world)
    hindrance = folder(world, "outbox") / f".{name}.part"
    hindrance.mkdir()  # where the file would be written: so it is closed, and cannot be placed
    settlement_id = send(world, "6.00")
    until(lambda: "file_not_placed" in world.get("/metrics")[1], SECONDS, "the file to be closed")
    assert world.status(settlement_id).status == pb.EXECUTING
    before = world.engine_pids()
    world.kill_engine()
    world.await_new_engine(before, SECONDS)
    hindrance.rmdir()
    assert world.wait_for(settlement_id, seconds=SECONDS).status == pb.COMPLETED
    line = line_of(world, settlement_id)
    assert (line["times_debited"], line["times_received"]) == (1, 1)


def test_killed_while_the_file_is_open_the_payment_goes_into_another_file(world: World) -> None:
    settlement_id = send(world, "7.00")
    until(lambda: world.status(settlement_id).status == pb.EXECUTING, SECONDS, "it to be locked")
    before = world.engine_pids()
    world.kill_engine()
    world.await_new_engine(before, SECONDS)
    assert world.wait_for(settlement_id, seconds=SECONDS).status == pb.COMPLETED
    assert line_of(world, settlement_id)["times_debited"] == 1


def test_the_books_agree(world: World) -> None:
    world.prove()
    assert all(line["times_debited"] <= 1 for line in ledger(world).values())
