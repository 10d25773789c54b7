"""RecallSettlement, and the recall in a settlement's status."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest

from settlement_engine.api.call import ACTOR_HEADER, Call
from settlement_engine.api.recalls import STATES
from settlement_engine.domain.recalls import RecallState
from settlement_engine.errors import WrongState
from settlement_engine.proto import settlement_pb2 as pb
from tests.unit.api.test_grpc import failed, payment_request, violations

if TYPE_CHECKING:
    from tests.unit.api.conftest import Edge


ADA = ((ACTOR_HEADER, "ada"),)
ID = "0193a5c2-7d1e-7b3a-9f00-1c2d3e4f5a6b"


def recalling(settlement_id: str, reason: str = "paid twice") -> pb.RecallSettlementRequest:
    return pb.RecallSettlementRequest(settlement_id=settlement_id, reason=reason)


def test_every_state_is_in_the_proto() -> None:
    assert set(STATES) == set(RecallState)
    for state, number in STATES.items():
        assert pb.RecallState.Name(number) == f"RECALL_STATE_{state.name}"


async def test_a_recall_is_requested_once_and_shown(edge: Edge) -> None:
    settled = await edge.settlements.ExecuteSettlement(payment_request())
    asked = pb.SettlementStatusRequest(settlement_id=settled.settlement_id)
    assert not (await edge.settlements.GetSettlementStatus(asked)).HasField("recall")
    first = await edge.settlements.RecallSettlement(recalling(settled.settlement_id), metadata=ADA)
    assert (first.state, first.reason) == (pb.RECALL_STATE_REQUESTED, "paid twice")
    assert (first.requested_by, first.replayed) == ("ada", False)
    again = await edge.settlements.RecallSettlement(
        recalling(settled.settlement_id, "other"), metadata=ADA
    )
    assert (again.reason, again.replayed) == ("paid twice", True)
    shown = await edge.settlements.GetSettlementStatus(asked)
    assert shown.status == pb.COMPLETED
    assert shown.recall == first


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"settlement_id": ""}, "settlement_id"),
        ({"settlement_id": "7"}, "settlement_id"),
        ({"reason": " "}, "reason"),
        ({"reason": "x" * 1_001}, "reason"),
        ({"reason": "4111111111111111"}, "reason"),
    ],
)
async def test_a_faulty_request_names_its_field(edge: Edge, change: Any, field: str) -> None:
    good = {"settlement_id": ID, "reason": "why"}
    error = await failed(
        edge.settlements.RecallSettlement(pb.RecallSettlementRequest(**good | change), metadata=ADA)
    )
    assert violations(error) == [field]
    assert not edge.world.recalls.known


async def test_before_completion_the_answer_says_what_to_call_instead(edge: Edge) -> None:
    todo = "Ask for its cancellation: CancelSettlement."
    edge.world.recalls.failure = WrongState("it is sent", why="it has not completed", todo=todo)
    error = await failed(edge.settlements.RecallSettlement(recalling(ID), metadata=ADA))
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION


async def test_only_a_named_person_recalls_and_no_name_overrides_a_certificate(
    edge: Edge, make_edge: Any
) -> None:
    error = await failed(edge.settlements.RecallSettlement(recalling(ID)))
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    certified = await make_edge(trusts_names=False)
    error = await failed(certified.settlements.RecallSettlement(recalling(ID), metadata=ADA))
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    assert not edge.world.recalls.known
    call = Call(caller="spiffe://bank/alice", actor="mallory")
    recall = await edge.calls.recalls.request(recalling(ID), call)
    assert recall.requested_by == "spiffe://bank/alice"
