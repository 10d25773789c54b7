"""Payment details, the named rail and the delivery, through every door of a whole engine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import pytest

from settlement_engine.proto import settlement_pb2 as pb
from tests.e2e.jetstream import publish
from tests.e2e.world import World, until

if TYPE_CHECKING:
    from collections.abc import Iterator

IBAN = "DE89370400440532013000"
PAYMENT = {
    "debtor": {"name": "Ada"},
    "creditor": {
        "name": "Zoë",
        "account": {"iban": IBAN},
        "address": {"townName": "Bonn", "country": "DE"},
    },
    "remittance": "invoice 4711",
    "endToEndId": "A-1",
}
PLAIN = {"fromBank": "DEUTDEFF", "toBank": "CHASUS33", "amount": "2.00", "currency": "EUR"}
EXECUTE = "SettlementService/ExecuteSettlement"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("payment"), "--set", "banks.mock_latency_ms=5") as world:
        for bank in ("DEUTDEFF", "CHASUS33"):
            world.open_bank(bank, "EUR", "1000000.00")
        yield world


def cli(world: World, *words: str) -> str:
    env = os.environ | {"SETTLEMENT_ADDRESS": world.address["grpc"], "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "settlement_engine", *words],
        env=env,
        cwd=world.folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def execute(world: World, name: str, **more: Any) -> dict[str, Any]:
    code, answer = world.post(EXECUTE, PLAIN | {"obligationId": name} | more)
    assert code == HTTPStatus.OK, answer
    return answer


def vostro(world: World) -> pb.Account:
    request = pb.ListAccountsRequest(kind=pb.VOSTRO, bank="CHASUS33", currency="EUR")
    return world.accounts.ListAccounts(request, timeout=10).accounts[0]


def legs(world: World, settlement_id: str) -> list[str]:
    request = pb.ListTransfersRequest(settlement_id=settlement_id)
    found = world.accounts.ListTransfers(request, timeout=10).transfers
    return sorted(pb.TransferLeg.Name(each.leg) for each in found)


BOOKED = ["TRANSFER_LEG_CASH", "TRANSFER_LEG_OBLIGATION"]


@pytest.mark.parametrize(
    ("more", "delivery"),
    [
        ({}, pb.DELIVERY_BOOK),
        ({"payment": PAYMENT}, pb.DELIVERY_PAY_OUT),
        ({"payment": PAYMENT, "delivery": "DELIVERY_BOOK"}, pb.DELIVERY_BOOK),
        ({"delivery": "DELIVERY_PAY_OUT"}, pb.DELIVERY_PAY_OUT),
    ],
    ids=["plain", "payment", "payment booked", "bank paid out"],
)
def test_each_delivery_is_booked_and_shown_as_asked_for(
    world: World, request: pytest.FixtureRequest, more: dict[str, Any], delivery: int
) -> None:
    before = vostro(world)
    answer = execute(world, f"OBL-{request.node.callspec.id.replace(' ', '-')}", **more)
    assert answer["status"] == "COMPLETED"
    found = world.status(answer["settlementId"])
    assert found.delivery == delivery
    is_paid_out = delivery == pb.DELIVERY_PAY_OUT
    assert legs(world, answer["settlementId"]) == BOOKED + ["TRANSFER_LEG_PAID_OUT"] * is_paid_out
    after = vostro(world)
    assert float(after.posted) - float(before.posted) == (0 if is_paid_out else 2)
    assert found.payment.creditor.account.iban == (IBAN if "payment" in more else "")


def test_a_repetition_is_a_replay_and_other_details_are_a_conflict(world: World) -> None:
    first = execute(world, "OBL-AGAIN", payment=PAYMENT, rail="mock")
    again = execute(world, "OBL-AGAIN", payment=PAYMENT, rail="mock")
    assert (again["settlementId"], again["replayed"]) == (first["settlementId"], True)
    for more, field in (
        ({"payment": PAYMENT}, "rail"),
        ({"rail": "mock"}, "payment"),
        ({"payment": PAYMENT, "rail": "mock", "delivery": "DELIVERY_BOOK"}, "delivery"),
    ):
        code, body = world.post(EXECUTE, PLAIN | {"obligationId": "OBL-AGAIN"} | more)
        assert code == HTTPStatus.CONFLICT
        assert field in json.dumps(body)


def test_a_fault_names_its_field_and_nothing_is_written(world: World) -> None:
    wrong = {"creditor": {"account": {"iban": IBAN[:-1] + "1"}}, "purpose": "x"}
    code, body = world.post(EXECUTE, PLAIN | {"obligationId": "OBL-WRONG", "payment": wrong})
    assert code == HTTPStatus.BAD_REQUEST
    text = json.dumps(body)
    assert "payment.creditor.account.iban" in text
    assert "payment.purpose" in text
    assert IBAN[:-1] not in text


def test_a_named_rail_that_does_not_exist_is_a_refusal_of_that_field(world: World) -> None:
    answer = execute(world, "OBL-NO-RAIL", rail="pigeon")
    assert (answer["status"], answer["refusalCode"]) == ("FAILED", "NO_ROUTE")
    assert answer["refusalFields"]["field"] == "rail"
    assert answer["refusalFields"]["rail.pigeon"].startswith("UNKNOWN_RAIL")
    assert "rail pigeon does not carry this payment" in answer["refusalDetail"]


def test_what_is_odd_is_a_warning(world: World) -> None:
    creditor = {"name": "Zoë", "account": {"otherId": "4111111111111111"}}
    answer = execute(world, "OBL-ODD", payment={"creditor": creditor})
    assert answer["status"] == "COMPLETED"
    assert answer["warnings"] == [
        "payment.creditor.account.other_id: has the form of a card number"
    ]


def test_clearings_instruction_says_it_too(world: World) -> None:
    body = PLAIN | {"obligationId": "OBL-NATS", "payment": PAYMENT, "rail": "mock"}
    publish(world, "clearing.instructions", json.dumps(body).encode())
    wanted = pb.ListSettlementsRequest(obligation_id="OBL-NATS")
    found = until(
        lambda: world.settlements.ListSettlements(wanted, timeout=10).settlements,
        20,
        "clearing's instruction to be taken",
    )
    done = world.wait_for(found[0].settlement_id, pb.COMPLETED)
    assert (done.delivery, done.requested_rail) == (pb.DELIVERY_PAY_OUT, "mock")
    assert done.payment.remittance == "invoice 4711"


def test_the_command_line_submits_shows_explains_and_verifies_it(world: World) -> None:
    names = ("--obligation-id", "OBL-CLI", "--end-to-end-id", "MY-OWN-7", "--rail", "mock")
    creditor = ("--creditor-name", "Zoë", "--creditor-iban", IBAN)
    cli(world, "submit", "DEUTDEFF", "CHASUS33", "3.00", "EUR", *names, *creditor)
    shown = cli(world, "show", "MY-OWN-7")
    assert "paid out" in shown
    assert f"Zoë, {IBAN}" in shown
    assert "It is paid out: DEUTDEFF pays CHASUS33" in cli(world, "explain", "OBL-CLI")
    file = str(world.folder / "paid.zip")
    cli(world, "evidence", "OBL-CLI", "-o", file)
    assert json.loads(cli(world, "evidence", "verify", file, "--json"))["isGood"]


def test_the_books_are_proved_with_all_of_it(world: World) -> None:
    execute(world, "OBL-PROVED", payment=PAYMENT)
    assert world.prove()["differences"] == []
