"""``dev --simulator``: cover payments end to end, on PostgreSQL, with the ledger of both banks as the judge.

HSBC is covered in USD, as the sample directory says: a customer's payment goes to it, and its cover through Deutsche.
"""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from settlement_engine.proto import settlement_pb2 as pb
from settlement_engine.proto import settlement_pb2_grpc as rpc
from tests.e2e.test_rails import balance, bank_lines, direct
from tests.e2e.test_scripted_bank import run
from tests.e2e.world import World, payment_request, until
from tests.support.bank_day import BankDay

if TYPE_CHECKING:
    from collections.abc import Iterator

FROM, TO, CORRESPONDENT = "DEUTDEFF", "HSBCGB2L", "CHASUS33"
SECONDS = 20.0
ADA = (("settlement-actor", "ada"),)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("covers"), "--simulator", "--sample-data") as world:
        yield world


def treats(world: World, payment: str = "settle", cover: str = "settle") -> None:
    direct(world, {"default": "settle", "leg_defaults": {"payment": payment, "cover": cover}})


def request_of(**changes: Any) -> pb.SettlementRequest:
    said = pb.PaymentDetails(
        debtor=pb.PaymentParty(name="Ada Ltd", account=pb.PaymentAccount(other_id="0001")),
        creditor=pb.PaymentParty(name="Jane Doe", account=pb.PaymentAccount(other_id="0002")),
        remittance="Invoice 4711",
        end_to_end_id=f"THEIRS-{uuid.uuid4().hex[:20]}",
    )
    fields: dict[str, Any] = {"payment": said, "from_bank": FROM, "to_bank": TO, "currency": "USD"}
    return payment_request(**(fields | changes))


def pay(world: World, **changes: Any) -> pb.SettlementResponse:
    return world.settlements.ExecuteSettlement(request_of(**changes), timeout=20)


def submit(world: World, count: int = 1) -> list[str]:
    """Ask for payments without waiting for their ends; return their ids."""
    batch = pb.SubmitSettlementsRequest(settlements=[request_of() for _ in range(count)])
    taken = world.settlements.SubmitSettlements(batch, timeout=10).results
    return [each.settlement.settlement_id for each in taken]


def legs(world: World, settlement_id: str) -> dict[str, dict[str, Any]]:
    uetr = world.status(settlement_id).uetr
    return {line["leg"]: line for line in world.simulator_ledger() if line["uetr"] == uetr}


def failures(world: World, settlement_id: str) -> list[pb.SettlementException]:
    asked = pb.ListExceptionsRequest(settlement_id=settlement_id)
    exceptions = rpc.ExceptionServiceStub(world.channel)
    found = exceptions.ListExceptions(asked, timeout=10).exceptions
    return [each for each in found if each.kind == pb.EXCEPTION_KIND_COVER_FAILED]


def test_a_customer_is_paid_by_two_messages_with_one_debit(world: World) -> None:
    treats(world)
    before = balance(world, TO, "USD")
    sent = pay(world)
    found = world.wait_for(sent.settlement_id)
    assert (found.status, found.rail) == (pb.COMPLETED, "swift_cover")
    lines = legs(world, sent.settlement_id)
    assert lines.keys() == {"payment", "cover"}
    assert [lines[leg]["times_debited"] for leg in ("payment", "cover")] == [0, 1]
    assert (lines["cover"]["from_bank"], lines["cover"]["to_bank"]) == (FROM, CORRESPONDENT)
    assert balance(world, TO, "USD") == before
    messages = world.settlements.ListMessages(
        pb.SettlementStatusRequest(settlement_id=sent.settlement_id), timeout=10
    ).messages
    sent_types = {each.type.rpartition(".001.")[0] for each in messages if each.direction == "OUT"}
    assert sent_types >= {"pacs.008", "pacs.009"}


def test_an_ordinary_payment_to_the_same_bank_goes_through_from(world: World) -> None:
    treats(world)
    sent = pay(world, rail="swift")
    found = world.wait_for(sent.settlement_id)
    assert (found.status, found.rail) == (pb.COMPLETED, "swift")
    (line,) = bank_lines(world, sent.settlement_id)
    assert line["leg"] == ""


def test_a_failed_cover_is_repaired_by_a_person(world: World) -> None:
    treats(world, cover="reject")
    (sent,) = submit(world)
    (failed,) = until(lambda: failures(world, sent), SECONDS, "the exception")
    assert failed.said["failed"] == "cover"
    assert world.status(sent).state == "SENT"
    treats(world)
    said = run(
        world,
        *("repair-cover", sent, "--reason", "the account was funded"),
        *("--as", "ada", "--json"),
    )
    assert json.loads(said.stdout)["number"] == 2
    assert world.wait_for(sent).status == pb.COMPLETED
    covers = [
        line
        for line in world.simulator_ledger()
        if line["uetr"] == world.status(sent).uetr and line["leg"] == "cover"
    ]
    assert [line["times_debited"] for line in covers] == [0, 1]
    until(lambda: not failures(world, sent), SECONDS, "it to be closed")


def test_a_cover_that_was_not_refused_is_not_repaired(world: World) -> None:
    treats(world, cover="silent_for_a_day")
    (sent,) = submit(world)
    until(lambda: world.status(sent).state in ("SENT", "IN_DOUBT"), SECONDS, "a cover")
    request = pb.RepairCoverRequest(settlement_id=sent, reason="impatience")
    with pytest.raises(grpc.RpcError) as caught:
        world.settlements.RepairCover(request, timeout=10, metadata=ADA)
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    treats(world)


def test_what_to_refuses_is_released_without_a_cover(world: World) -> None:
    treats(world, payment="reject")
    sent = pay(world)
    assert world.wait_for(sent.settlement_id).status == pb.ROLLED_BACK
    assert legs(world, sent.settlement_id).keys() == {"payment"}


def test_a_killed_engine_goes_on_with_its_pairs(world: World) -> None:
    treats(world)
    old = world.engine_pids()
    treats(world, cover="slow")
    sent = submit(world, 5)
    until(lambda: any(len(legs(world, each)) > 1 for each in sent), SECONDS, "a cover to arrive")
    world.kill_engine()
    world.await_new_engine(old)
    for each in sent:
        assert world.wait_for(each).status == pb.COMPLETED
        assert legs(world, each)["cover"]["times_debited"] == 1


def test_a_cover_payment_is_reconciled_by_the_statement_of_from(world: World) -> None:
    """The statement has the debit of the cover, and nothing of the payment."""
    treats(world)
    sent = pay(world)
    assert world.wait_for(sent.settlement_id).status == pb.COMPLETED
    day = BankDay(world, seed=1)
    day.prepare()
    day.import_statements()
    day.reconcile()
    assert day.check_proofs() > 0
    until(
        lambda: world.status(sent.settlement_id).finality == pb.FINALITY_RECONCILED,
        SECONDS,
        "the payment to be reconciled",
    )


def test_the_books_agree_with_the_banks(world: World) -> None:
    world.prove()
