"""RepairCover: the order of a person, and what is wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

import grpc
import pytest

from settlement_engine.api.call import ACTOR_HEADER, Call
from settlement_engine.errors import WrongState
from settlement_engine.proto import settlement_pb2 as pb
from tests.unit.api.test_grpc import failed, violations

if TYPE_CHECKING:
    from tests.unit.api.conftest import Edge

ADA = ((ACTOR_HEADER, "ada"),)
ID = "0193a5c2-7d1e-7b3a-9f00-1c2d3e4f5a6b"


def repairing(**changes: str) -> pb.RepairCoverRequest:
    return pb.RepairCoverRequest(**({"settlement_id": ID, "reason": "funded"} | changes))


async def test_a_repair_is_ordered_by_a_named_person(edge: Edge) -> None:
    found = await edge.settlements.RepairCover(repairing(), metadata=ADA)
    assert (found.settlement_id, found.number) == (ID, 2)
    assert (found.ordered_by, found.reason, found.message_id) == ("ada", "funded", "CH0")
    assert edge.world.covers.ordered == [(UUID(ID), "ada", "funded")]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"settlement_id": ""}, "settlement_id"),
        ({"settlement_id": "7"}, "settlement_id"),
        ({"reason": " "}, "reason"),
        ({"reason": "x" * 501}, "reason"),
        ({"reason": "4111111111111111"}, "reason"),
    ],
)
async def test_a_faulty_request_names_its_field(edge: Edge, change: Any, field: str) -> None:
    error = await failed(edge.settlements.RepairCover(repairing(**change), metadata=ADA))
    assert violations(error) == [field]
    assert not edge.world.covers.ordered


async def test_a_cover_that_was_not_refused_is_refused(edge: Edge) -> None:
    edge.world.covers.failure = WrongState("the bank has not refused the cover", why="it may pay")
    error = await failed(edge.settlements.RepairCover(repairing(), metadata=ADA))
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION


async def test_only_a_named_person_orders_and_no_name_overrides_a_certificate(
    edge: Edge, make_edge: Any
) -> None:
    error = await failed(edge.settlements.RepairCover(repairing()))
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    certified = await make_edge(trusts_names=False)
    error = await failed(certified.settlements.RepairCover(repairing(), metadata=ADA))
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    call = Call(caller="spiffe://bank/alice", actor="mallory")
    cover = await edge.calls.covers.repair(repairing(), call)
    assert cover.ordered_by == "spiffe://bank/alice"
