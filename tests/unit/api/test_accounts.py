from __future__ import annotations

import asyncio
from typing import Any, cast

import grpc
import pytest

from settlement_engine.api.accounts import KINDS
from settlement_engine.domain.ledger import AccountKind, Leg
from settlement_engine.proto import settlement_pb2 as pb
from tests.support.waiting import until
from tests.unit.api.test_grpc import failed, violations


def opening(**change: Any) -> pb.OpenAccountRequest:
    good: dict[str, Any] = {"kind": pb.NOSTRO, "bank": "DEUTDEFF", "currency": "EUR"}
    return pb.OpenAccountRequest(**good | change)


def test_every_account_kind_and_leg_is_in_the_proto() -> None:
    assert set(KINDS.values()) == set(AccountKind)
    for number, kind in KINDS.items():
        assert pb.AccountKind.Name(cast("Any", number)) == kind.name
    for leg in Leg:
        assert pb.TransferLeg.Name(cast("Any", int(leg))) == f"TRANSFER_LEG_{leg.name}"


async def test_an_account_can_be_opened_funded_and_shown(edge) -> None:
    opened = await edge.accounts.OpenAccount(opening(credit_limit="10.5", account_number="DE 12"))
    assert (opened.id, opened.kind, opened.credit_limit) == ("1", pb.NOSTRO, "10.50")
    assert (opened.posted, opened.held, opened.available) == ("0.00", "0.00", "0.00")
    funding = pb.FundAccountRequest(bank="DEUTDEFF", currency="EUR", amount="100.00")
    assert (await edge.accounts.FundAccount(funding)).available == "100.00"
    shown = await edge.accounts.GetAccount(pb.GetAccountRequest(id="1"))
    assert (shown.posted, shown.account_number, shown.is_active) == ("100.00", "DE 12", True)
    off = await edge.accounts.SetAccountActive(pb.SetAccountActiveRequest(id="1", is_active=False))
    assert not off.is_active


async def test_an_account_number_that_looks_like_a_card_number_is_accepted_with_a_warning(
    edge,
) -> None:
    opened = await edge.accounts.OpenAccount(opening(account_number="4111111111111111"))
    assert opened.account_number == "4111111111111111"
    [warning] = opened.warnings
    assert "card number" in warning
    assert "4111" not in warning
    other = await edge.accounts.OpenAccount(opening(account_number="20261128160000"))
    assert not other.warnings


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"kind": 0}, "kind"),
        ({"kind": 99}, "kind"),
        ({"bank": ""}, "bank"),
        ({"bank": "...."}, "bank"),
        ({"bank": "4111111111111111"}, "bank"),
        ({"idempotency_key": "4111111111111111"}, "idempotency_key"),
        ({"currency": "eur"}, "currency"),
        ({"credit_limit": "-1"}, "credit_limit"),
        ({"credit_limit": "1.001"}, "credit_limit"),
        ({"credit_limit": "0.000"}, "credit_limit"),
        ({"kind": pb.CLEARING, "credit_limit": "1"}, "credit_limit"),
        ({"account_number": "x" * 35}, "account_number"),
        ({"account_number": "a\x00"}, "account_number"),
        ({"idempotency_key": "ä"}, "idempotency_key"),
    ],
)
async def test_an_invalid_account_names_the_field(edge, change, field) -> None:
    error = await failed(edge.accounts.OpenAccount(opening(**change)))
    assert violations(error) == [field]
    assert not edge.world.accounts_known


@pytest.mark.parametrize("limit", ["", "0", "0.00", "0.0"])
async def test_a_credit_limit_may_be_empty_or_zero(edge, limit: str) -> None:
    assert (await edge.accounts.OpenAccount(opening(credit_limit=limit))).credit_limit == "0.00"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"amount": "0"}, "amount"),
        ({"amount": "1.001"}, "amount"),
        ({"currency": ""}, "currency"),
        ({"bank": "a b"}, "bank"),
        ({"reference": "x" * 141}, "reference"),
        ({"reference": "a\nb"}, "reference"),
        ({"reference": "card 4111-1111-1111-1111"}, "reference"),
        ({"idempotency_key": "4111111111111111"}, "idempotency_key"),
        ({"bank": "4111111111111111"}, "bank"),
    ],
)
async def test_an_invalid_funding_names_the_field(edge, change, field) -> None:
    good = {"bank": "DEUTDEFF", "currency": "EUR", "amount": "1.00"}
    error = await failed(edge.accounts.FundAccount(pb.FundAccountRequest(**good | change)))
    assert field in violations(error)


async def test_missing_objects_are_reported_as_not_found(edge) -> None:
    funding = pb.FundAccountRequest(bank="DEUTDEFF", currency="EUR", amount="100.00")
    error = await failed(edge.accounts.FundAccount(funding))
    assert error.code() is grpc.StatusCode.NOT_FOUND
    for call, request in (
        (edge.accounts.GetAccount, pb.GetAccountRequest(id="7")),
        (edge.accounts.SetAccountActive, pb.SetAccountActiveRequest(id="7")),
    ):
        assert (await failed(call(request))).code() is grpc.StatusCode.NOT_FOUND
    error = await failed(edge.accounts.GetAccount(pb.GetAccountRequest(id="007")))
    assert violations(error) == ["id"]


async def test_accounts_are_listed_in_pages(edge) -> None:
    for number in range(5):
        await edge.accounts.OpenAccount(opening(account_number=f"a{number}"))
    seen, token = [], ""
    for _ in range(3):
        page = await edge.accounts.ListAccounts(
            pb.ListAccountsRequest(kind=pb.NOSTRO, page_size=2, page_token=token)
        )
        seen += [one.account_number for one in page.accounts]
        token = page.next_page_token
    assert (seen, token) == ([f"a{number}" for number in range(5)], "")


async def test_transfers_are_listed_in_pages(edge) -> None:
    await edge.accounts.OpenAccount(opening())
    for amount in ("1.00", "2.00", "3.00"):
        funding = pb.FundAccountRequest(
            bank="DEUTDEFF", currency="EUR", amount=amount, reference="pay-in"
        )
        await edge.accounts.FundAccount(funding)
    first = await edge.accounts.ListTransfers(pb.ListTransfersRequest(account_id="1", page_size=2))
    rest = await edge.accounts.ListTransfers(
        pb.ListTransfersRequest(account_id="1", page_token=first.next_page_token)
    )
    assert [one.amount for one in (*first.transfers, *rest.transfers)] == ["3.00", "2.00", "1.00"]
    one = first.transfers[0]
    assert (one.leg, one.debit_account_id) == (pb.TRANSFER_LEG_FUNDING, "1")
    assert one.created_at == one.created_time.seconds > 0
    assert not rest.next_page_token


async def test_an_account_is_opened_even_if_its_caller_disconnects(edge) -> None:
    edge.world.holding = asyncio.Event()
    call = edge.accounts.OpenAccount(opening(), timeout=10)
    await until(lambda: edge.calls.undisturbed._tasks, "the store is at work")
    call.cancel()
    await asyncio.sleep(0)
    edge.world.holding.set()
    await edge.calls.undisturbed.finished()
    assert len(edge.world.accounts_known) == 1
