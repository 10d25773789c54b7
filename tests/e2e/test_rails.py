"""``dev --simulator``: settlements over each rail of ISO 20022, end to end, booked and paid out.

The bank's own ledger says over which rail each payment came, under which names, and that it was debited once.
"""

from __future__ import annotations

import json
import urllib.request
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from settlement_engine.proto import settlement_pb2 as pb
from tests.e2e.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

RAILS = {"swift": "USD", "sepa_sct": "EUR", "sepa_inst": "EUR", "realtime": "USD"}
IBAN = "DE89370400440532013000"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("rails"), "--simulator", "--sample-data") as world:
        yield world


def bank_lines(world: World, settlement_id: str) -> list[dict[str, Any]]:
    lines = world.simulator_ledger()
    return [line for line in lines if line["settlement_id"] == settlement_id]


def treats(world: World, scenario: str) -> None:
    direct(world, {"default": scenario})


def direct(world: World, wanted: dict[str, Any]) -> None:
    script = json.dumps(wanted).encode()
    url = f"{world.address['simulator']}/admin/script"
    urllib.request.urlopen(urllib.request.Request(url, script, method="PUT"), timeout=10).close()


def payment() -> pb.PaymentDetails:
    return pb.PaymentDetails(
        creditor=pb.PaymentParty(name="Jane Doe", account=pb.PaymentAccount(iban=IBAN)),
        remittance="Invoice 4711",
        end_to_end_id=f"THEIRS-{uuid.uuid4().hex[:20]}",
    )


def balance(world: World, bank: str, currency: str) -> str:
    request = pb.ListAccountsRequest(kind=pb.VOSTRO, bank=bank, currency=currency)
    return str(world.accounts.ListAccounts(request, timeout=10).accounts[0].posted)


@pytest.mark.parametrize("rail", RAILS)
@pytest.mark.parametrize("scenario", ["settle", "settle_by_callback", "lost_answer"])
def test_a_plain_request_is_settled_over_each_rail(world: World, rail: str, scenario: str) -> None:
    treats(world, scenario)
    sent = world.execute(rail=rail, currency=RAILS[rail])
    found = world.wait_for(sent.settlement_id)
    assert (found.status, found.rail) == (pb.COMPLETED, rail)
    (line,) = bank_lines(world, sent.settlement_id)
    assert (line["rail"], line["times_debited"], line["amount"]) == (rail, 1, "1.00")
    assert (line["uetr"], line["end_to_end_id"]) == (found.uetr, found.end_to_end_id)
    assert line["trace"] == ""


@pytest.mark.parametrize("rail", RAILS)
def test_a_customer_is_paid_out_over_each_rail(world: World, rail: str) -> None:
    treats(world, "accept_then_settle")
    currency, said = RAILS[rail], payment()
    before = balance(world, "CHASUS33", currency)
    sent = world.execute(rail=rail, currency=currency, payment=said)
    assert world.wait_for(sent.settlement_id).status == pb.COMPLETED
    (line,) = bank_lines(world, sent.settlement_id)
    assert (line["rail"], line["times_debited"], line["to_bank"]) == (rail, 1, "CHASUS33")
    assert line["end_to_end_id"] == said.end_to_end_id
    assert balance(world, "CHASUS33", currency) == before


@pytest.mark.parametrize("rail", RAILS)
def test_what_a_bank_rejects_is_released(world: World, rail: str) -> None:
    treats(world, "reject")
    sent = world.execute(rail=rail, currency=RAILS[rail])
    assert world.wait_for(sent.settlement_id).status == pb.ROLLED_BACK
    (line,) = bank_lines(world, sent.settlement_id)
    assert line["times_debited"] == 0


EARLY_RETURN = {
    "default": "own",
    "scenarios": {
        "own": {
            "steps": [
                {"status": "ACSP"},
                {"status": "ACSC", "after_ms": 50, "told_after_ms": 60_000},
            ],
            "returns": [{"after_ms": 100}],
        }
    },
}
"""The return is the first that the engine hears of the settlement: it asks only after a second."""


def test_what_comes_back_before_it_is_confirmed_is_booked_both_ways(world: World) -> None:
    direct(world, EARLY_RETURN)
    sent = world.execute(rail="sepa_inst", currency="EUR", payment=payment())
    found = world.wait_for(sent.settlement_id, pb.RETURNED)
    assert [move.to_state.lower() for move in found.moves][-2:] == ["completed", "returned"]
    (line,) = bank_lines(world, sent.settlement_id)
    assert (line["times_debited"], line["state"]) == (1, "returned")


def test_a_rail_that_does_not_carry_the_currency_is_refused_with_the_field(world: World) -> None:
    sent = world.execute(rail="sepa_sct", currency="USD")
    found = world.wait_for(sent.settlement_id)
    assert found.status == pb.FAILED
    assert "CURRENCY_NOT_CARRIED" in str(found)


def test_the_books_agree_with_the_banks(world: World) -> None:
    world.prove()
