"""Finding the settlement that a caller means, by any of its identifiers."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import grpc
import pytest

from settlement_engine.api.finding import ANY_ID_CHARACTERS_MAX
from settlement_engine.ports import Named, NamedBy
from settlement_engine.proto import settlement_pb2 as pb
from tests.unit.api.test_grpc import failed, payment_request, violations

if TYPE_CHECKING:
    from tests.unit.api.conftest import Edge

CARD_LIKE = "4111111111111111"
FIRST, SECOND = UUID(int=1), UUID(int=2)


async def settled(edge: Edge, count: int) -> None:
    for number in range(count):
        await edge.settlements.ExecuteSettlement(payment_request(number), timeout=5)


async def found(edge: Edge, name: str) -> str:
    request = pb.SettlementStatusRequest(any_id=name)
    answer = await edge.settlements.GetSettlementStatus(request, timeout=5)
    return str(answer.settlement_id)


@pytest.mark.parametrize("name", ["OBL-0", "MOCK 7/é", CARD_LIKE, "x" * ANY_ID_CHARACTERS_MAX])
@pytest.mark.parametrize("named_by", list(NamedBy))
async def test_a_settlement_is_found_by_any_of_its_identifiers(
    edge: Edge, name: str, named_by: NamedBy
) -> None:
    await settled(edge, 1)
    edge.world.named[name] = [Named(FIRST, named_by)]
    assert await found(edge, name) == str(FIRST)


async def test_matches_of_the_same_settlement_are_unambiguous(edge: Edge) -> None:
    await settled(edge, 1)
    edge.world.named["N"] = [
        Named(FIRST, NamedBy.RAIL_REFERENCE),
        Named(FIRST, NamedBy.OBLIGATION_ID),
    ]
    assert await found(edge, "N") == str(FIRST)


async def test_a_settlement_id_takes_precedence(edge: Edge) -> None:
    await settled(edge, 2)
    name = str(FIRST)
    edge.world.named[name] = [
        Named(SECOND, NamedBy.OBLIGATION_ID),
        Named(FIRST, NamedBy.SETTLEMENT_ID),
    ]
    assert await found(edge, name) == name


async def test_an_ambiguous_identifier_is_refused_with_the_ids(edge: Edge) -> None:
    await settled(edge, 2)
    edge.world.named["N"] = [Named(each, NamedBy.RAIL_REFERENCE) for each in (SECOND, FIRST)]
    error = await failed(
        edge.settlements.GetSettlementStatus(pb.SettlementStatusRequest(any_id="N"))
    )
    assert violations(error) == ["any_id"]
    assert str(FIRST) in error.details()
    assert str(SECOND) in error.details()


async def test_an_unknown_identifier_is_not_found_and_names_the_list_command(edge: Edge) -> None:
    request = pb.SettlementStatusRequest(any_id=str(FIRST))
    error = await failed(edge.settlements.GetSettlementStatus(request))
    assert error.code() is grpc.StatusCode.NOT_FOUND
    status, body, _ = await edge.post("GetSettlementStatus", {"anyId": str(FIRST)})
    assert status == 404
    shown = body["details"][0]["metadata"]
    assert shown["todo"] == "List them with: settlement-engine list."
    assert "UETR" in shown["why"]


@pytest.mark.parametrize(
    "change",
    [
        {"settlement_id": str(FIRST)},
        {"obligation_id": "OBL-1"},
        {"any_id": "a\nb"},
        {"any_id": "x" * (ANY_ID_CHARACTERS_MAX + 1)},
    ],
)
async def test_an_invalid_identifier_is_refused(edge: Edge, change: dict[str, str]) -> None:
    request = pb.SettlementStatusRequest(any_id="N")
    request.MergeFrom(pb.SettlementStatusRequest(**change))  # type: ignore[arg-type]
    assert violations(await failed(edge.settlements.GetSettlementStatus(request))) == ["any_id"]


@pytest.mark.parametrize(
    ("call", "body", "listed_by"),
    [
        ("GetAccount", {"id": "7"}, "accounts list"),
        ("GetException", {"id": "7"}, "exceptions list"),
        ("GetProposal", {"id": "7"}, "proposals --all"),
        ("GetDeadLetter", {"id": "7"}, "intake dead-letters list"),
        ("GetSettlementStatus", {"obligationId": "OB-7"}, "list"),
        ("GetSettlementStatus", {"settlementId": str(UUID(int=7))}, "list"),
    ],
)
async def test_a_missing_object_names_its_list_command(
    edge: Edge, call: str, body: dict[str, str], listed_by: str
) -> None:
    status, answer, _ = await edge.post(call, body)
    assert status == 404
    todo = answer["details"][0]["metadata"]["todo"]
    assert todo == f"List them with: settlement-engine {listed_by}."
