"""Messages of a settlement, over gRPC and over JSON: unchanged, in order, in bounded pages."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import grpc
import pytest

from settlement_engine.api import messages as api_messages
from settlement_engine.domain.kept_messages import KeptMessage, MessageDirection
from settlement_engine.proto import settlement_pb2 as pb
from tests.support.bank_messages import Sent, transfer
from tests.unit.api.test_dossiers import bring

AT = datetime(2026, 11, 28, 12, tzinfo=UTC)


async def keep(edge, settlement, *contents: bytes, type_: str = "pacs.009.001.08") -> None:
    await edge.world.stores.messages.keep(
        [
            KeptMessage(
                settlement_id=settlement.id,
                attempt=1,
                direction=MessageDirection.IN if number % 2 else MessageDirection.OUT,
                rail="swift",
                content=content,
                at=AT + timedelta(seconds=number),
                type=type_,
                message_id=f"M{number}",
                response_status=200 if number % 2 else 0,
            )
            for number, content in enumerate(contents)
        ]
    )


def request(settlement, **fields) -> pb.SettlementStatusRequest:
    return pb.SettlementStatusRequest(settlement_id=str(settlement.id), **fields)


async def test_a_message_comes_with_everything_that_is_known_of_it(edge):
    settlement = await bring(edge.world, "sent")
    real = transfer(Sent(number=1))
    await keep(edge, settlement, real, b"<a>\xff</a>", type_="pacs.009.001.08")
    answer = await edge.settlements.ListMessages(request(settlement), timeout=10)
    first, second = answer.messages
    assert (first.direction, second.direction) == ("OUT", "IN")
    assert (first.type, first.version) == ("pacs.009.001.08", "08")
    assert first.text.encode() == real
    assert first.sha256 == hashlib.sha256(real).hexdigest()
    assert (first.bytes, first.rail, first.attempt) == (len(real), "swift", 1)
    references = settlement.attempt.references
    assert first.references == pb.MessageReferences(
        message_id="M0",
        end_to_end_id=references.end_to_end_id,
        uetr=str(references.uetr),
        payment_message_id=references.message_id,
    )
    assert (second.response_status, second.text) == (200, "<a>\\xff</a>")
    assert first.time.seconds > 0
    assert not answer.next_page_token
    status, body, _ = await edge.post("ListMessages", {"settlement_id": str(settlement.id)})
    assert status == 200
    assert [each["sha256"] for each in body["messages"]] == [first.sha256, second.sha256]


async def test_a_rail_without_messages_has_none(edge):
    settlement = await bring(edge.world, "sent")
    answer = await edge.settlements.ListMessages(request(settlement), timeout=10)
    assert not answer.messages


async def test_all_pages_together_are_the_whole_list(edge):
    settlement = await bring(edge.world, "sent")
    await keep(edge, settlement, *(f"<a>{number}</a>".encode() for number in range(7)))
    texts, token = [], ""
    while True:
        wanted = request(settlement, page_size=3, page_token=token)
        page = await edge.settlements.ListMessages(wanted, timeout=10)
        assert len(page.messages) <= 3
        texts += [each.text for each in page.messages]
        token = page.next_page_token
        if not token:
            break
    assert texts == [f"<a>{number}</a>" for number in range(7)]


async def test_a_page_has_a_bound_of_bytes(edge, monkeypatch):
    monkeypatch.setattr(api_messages, "PAGE_BYTES_MAX", 1_000)
    settlement = await bring(edge.world, "sent")
    await keep(edge, settlement, b"a" * 2_000, b"b" * 600, b"c" * 600)
    sizes, token = [], ""
    for _ in range(10):
        wanted = request(settlement, page_token=token)
        page = await edge.settlements.ListMessages(wanted, timeout=10)
        sizes.append([each.bytes for each in page.messages])
        token = page.next_page_token
        if not token:
            break
    assert [size for size in sizes if size] == [[2_000], [600], [600]]


@pytest.mark.parametrize(
    "fields", [{"page_size": -1}, {"page_token": "x"}, {"page_token": "MTIzNDU2NzguMS8vLw"}]
)
async def test_a_wrong_page_is_refused(edge, fields):
    settlement = await bring(edge.world, "sent")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await edge.settlements.ListMessages(request(settlement, **fields), timeout=10)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_token_belongs_to_its_settlement(edge):
    settlement = await bring(edge.world, "sent")
    await keep(edge, settlement, b"<a/>", b"<b/>")
    page = await edge.settlements.ListMessages(request(settlement, page_size=1), timeout=10)
    other = await bring(edge.world, "in_doubt")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await edge.settlements.ListMessages(
            request(other, page_token=page.next_page_token), timeout=10
        )
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_an_unknown_settlement_is_not_found(edge):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await edge.settlements.ListMessages(pb.SettlementStatusRequest(any_id="?"), timeout=10)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
