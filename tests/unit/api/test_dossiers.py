"""Settlements explained, exported and listed as stuck, over gRPC and over JSON."""

from __future__ import annotations

import base64
import math

import grpc
import pytest

from settlement_engine import __version__
from settlement_engine.evidence import bundle
from settlement_engine.evidence.explanation import as_text, explain
from settlement_engine.evidence.verification import verify
from settlement_engine.proto import settlement_pb2 as pb
from tests.support.made_histories import live

DAY_SECONDS = 86_400


async def bring(world, name):
    """Load one of the prepared settlement histories into the fake engine."""
    settlement, stores = await live(name)
    world.stores = stores
    world.settlements[settlement.id] = settlement
    return settlement


async def test_the_explanation_is_that_of_the_domain(edge):
    settlement = await bring(edge.world, "in_doubt")
    request = pb.SettlementStatusRequest(settlement_id=str(settlement.id))
    answer = await edge.settlements.ExplainSettlement(request, timeout=10)
    shown = explain(await edge.world.dossier(settlement.id))
    assert (answer.state, answer.status) == ("IN_DOUBT", pb.IN_DOUBT)
    assert answer.headline == shown.headline
    assert [line.text for line in answer.story] == [line.text for line in shown.story]
    assert [each.at.seconds for each in answer.story] == [
        int(line.at.timestamp()) for line in shown.story
    ]
    assert tuple(answer.standing) == shown.standing
    assert tuple(answer.next)[1:] == shown.next[1:]
    assert tuple(answer.money) == shown.money
    assert tuple(answer.who) == shown.who
    assert answer.text.splitlines()[:6] == as_text(shown).splitlines()[:6]


async def test_the_gateway_serves_the_explanation(edge):
    await bring(edge.world, "returned")
    status, body, _ = await edge.post("ExplainSettlement", {"obligation_id": "OBL-returned"})
    assert status == 200
    assert body["state"] == "RETURNED"
    assert "Held: 5.00 EUR" in body["text"]


@pytest.mark.parametrize("name", ["completed_by_attestation", "failed_by_refusal", "sent"])
async def test_exported_evidence_verifies(edge, name):
    settlement = await bring(edge.world, name)
    request = pb.SettlementStatusRequest(settlement_id=str(settlement.id))
    answer = await edge.settlements.GetEvidence(request, timeout=10)
    files = {each.name: each.content for each in answer.files}
    assert list(files) == sorted(files)
    verified = verify(files, __version__, answer.root_sha256)
    assert verified.is_good, verified
    assert verified.settlement_id == str(settlement.id)
    status, body, _ = await edge.post("GetEvidence", {"settlement_id": str(settlement.id)})
    assert status == 200
    same = {each["name"]: base64.b64decode(each["content"]) for each in body["files"]}
    assert same.keys() == files.keys()
    assert same["moves.json"] == files["moves.json"]


async def test_evidence_beyond_its_limit_is_refused_not_truncated(edge, monkeypatch):
    settlement = await bring(edge.world, "completed")
    monkeypatch.setattr(bundle, "EVIDENCE_BYTES_MAX", 1000)
    request = pb.SettlementStatusRequest(settlement_id=str(settlement.id))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await edge.settlements.GetEvidence(request, timeout=10)
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "exceeds the maximum size" in (refused.value.details() or "")


@pytest.mark.parametrize("call", ["ExplainSettlement", "GetEvidence"])
async def test_an_unknown_settlement_is_not_found(edge, call):
    stub = getattr(edge.settlements, call)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub(pb.SettlementStatusRequest(obligation_id="NOBODYS"), timeout=10)
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub(pb.SettlementStatusRequest(settlement_id="x"), timeout=10)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_stuck_settlement_is_listed_with_its_reason(edge):
    settlement = await bring(edge.world, "stuck_in_doubt")
    answer = await edge.settlements.ListStuckSettlements(
        pb.ListStuckSettlementsRequest(), timeout=10
    )
    [found] = answer.settlements
    assert found.settlement_id == str(settlement.id)
    assert (found.state, found.reason, found.rail) == ("IN_DOUBT", "NO_NEXT_ACTION", "mock")
    assert found.text == "it has no next action, so nothing will continue it"
    assert dict(answer.counts) == {"NO_NEXT_ACTION": 1}
    assert answer.at.seconds - found.since.seconds < DAY_SECONDS
    assert math.isclose(found.since.ToDatetime().second, 5)


async def test_the_list_of_stuck_settlements_may_be_empty(edge):
    status, body, _ = await edge.post("ListStuckSettlements", {})
    assert (status, body["settlements"], body["counts"]) == (200, [], {})
    status, body, _ = await edge.post("ListStuckSettlements", {"page_size": -1})
    assert status == 400
