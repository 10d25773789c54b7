"""Event streams share the event loop fairly, and little is written for a caller that does not read."""

from __future__ import annotations

import asyncio
import socket
import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import grpc
import pytest

from settlement_engine.api.call import Call, Drain
from settlement_engine.api.streams import EventStreams
from settlement_engine.api.turns import SLICE_SECONDS
from settlement_engine.proto import settlement_pb2 as pb
from settlement_engine.proto import settlement_pb2_grpc as rpc
from tests.support.histories import payment_request
from tests.support.waiting import until, until_still

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from settlement_engine.ports import Announcement
    from tests.unit.api import fakes

CALL = Call(caller="local")
EVENT_SECONDS = 0.001
SLICE_EVENTS_MAX = int(SLICE_SECONDS / EVENT_SECONDS) + 1
BODY = b'{"endsAtHead":true}'
MANY = 3_000
FEW = MANY // 2


def streams(world: Any, settings, **changes: Any) -> EventStreams:
    return EventStreams(world, world, replace(settings, **changes), Drain())


def fill(world: fakes.World, count: int) -> None:
    for _ in range(count):
        world._accept(payment_request())


def work(seconds: float) -> None:
    """Keep the event loop busy for so long."""
    ends_at = time.perf_counter() + seconds
    while time.perf_counter() < ends_at:
        pass


@pytest.mark.parametrize("ends_at_head", [True, False])
async def test_event_streams_are_written_in_turn(world, settings, ends_at_head: bool) -> None:
    fill(world, 30)
    following = streams(world, settings)
    if not ends_at_head:
        world.moves = whole_batches(world)
    turn, got, order = 0, Counter[int](), list[int]()
    turns = Counter[int]()

    def writer(reader: int) -> Any:
        def write(_: Announcement) -> int:
            work(EVENT_SECONDS)
            order.append(reader)
            turns[turn] += 1
            return reader

        return write

    async def send(events: Sequence[int]) -> None:
        got.update(events)

    async def others() -> None:
        nonlocal turn
        while got.total() < 90:
            turn += 1
            await asyncio.sleep(0)

    request = pb.StreamRequest(ends_at_head=ends_at_head)
    readers = [
        asyncio.create_task(following.follow(request, CALL, send, writer(reader)))
        for reader in range(3)
    ]
    await others()
    assert got == {0: 30, 1: 30, 2: 30}
    assert max(turns.values()) <= SLICE_EVENTS_MAX, "in between, others have their turn"
    assert set(order[: 3 * SLICE_EVENTS_MAX]) == {0, 1, 2}, "nobody waits for another's whole batch"
    for reader in readers:
        reader.cancel()
    await asyncio.gather(*readers, return_exceptions=True)


async def test_few_events_are_written_at_once(world, settings) -> None:
    fill(world, 8)
    following = streams(world, settings)
    await following._turns._lane.acquire()
    got: list[int] = []

    async def send(events: Sequence[int]) -> None:
        got.extend(events)

    request = pb.StreamRequest(ends_at_head=True)
    await following.follow(request, CALL, send, lambda event: event.sequence)
    assert got == list(range(1, 9))


def whole_batches(world: fakes.World) -> Any:
    async def moves(after: int, _settlement_id=None) -> AsyncIterator[Sequence[Announcement]]:
        yield await world.read(after, 100)
        await asyncio.Event().wait()

    return moves


class SilentReader:
    """A caller over HTTP that requests events and reads none."""

    def __init__(self, edge) -> None:
        self.url = urlsplit(edge.http)
        self.edge = edge
        self.read_up_to = 0

    async def __aenter__(self) -> Self:
        fill(self.edge.world, MANY)
        read = self.edge.world.read

        async def watched(after: int, limit: int, settlement_id=None) -> Any:
            self.read_up_to = max(self.read_up_to, after)
            return await read(after, limit, settlement_id)

        self.edge.world.read = watched
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        address = (self.url.hostname, self.url.port)
        await asyncio.get_running_loop().sock_connect(self.socket, address)
        head = (
            "POST /settlement.SettlementService/StreamSettlementEvents HTTP/1.1\r\n"
            f"Host: {self.url.netloc}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(BODY)}\r\n\r\n"
        )
        await asyncio.get_running_loop().sock_sendall(self.socket, head.encode() + BODY)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.socket.close()

    async def standstill(self) -> None:
        """Wait until the server reads no more events for this caller."""
        await until(lambda: self.edge.gateway._in_flight._count == 1, "it is served")
        await until_still(lambda: self.read_up_to)

    async def cut_off(self) -> None:
        """Wait until the call and its connection have ended."""
        await until(lambda: self.edge.gateway._in_flight._count == 0, "the call has ended")
        await until(lambda: self.edge.http_server._connections.count == 0, "it is cut off")


async def test_little_is_written_for_a_caller_that_does_not_read(edge) -> None:
    async with SilentReader(edge) as reader:
        await reader.standstill()
        assert 0 < reader.read_up_to < FEW


async def test_a_caller_that_does_not_read_is_disconnected(make_edge) -> None:
    edge = await make_edge(stream_unread_seconds_max=0.3)
    async with SilentReader(edge) as reader:
        await until(lambda: reader.read_up_to > 0, "it is served")
        await reader.cut_off()
        assert reader.read_up_to < FEW


async def test_a_caller_that_does_not_read_does_not_delay_draining(edge) -> None:
    async with SilentReader(edge) as reader:
        await reader.standstill()
        await edge.server.drain()
        await reader.cut_off()


async def test_a_grpc_caller_that_pauses_receives_all_events_afterwards(edge) -> None:
    fill(edge.world, MANY)
    read, asked = edge.world.read, [0]

    async def watched(after: int, limit: int, settlement_id=None) -> Any:
        asked.append(after)
        return await read(after, limit, settlement_id)

    edge.world.read = watched
    small_window = (("grpc.use_local_subchannel_pool", 1), ("grpc.http2.bdp_probe", 0))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{edge.port}", small_window) as channel:
        stub: Any = rpc.SettlementServiceStub(channel)
        call = stub.StreamSettlementEvents(pb.StreamRequest(ends_at_head=True), timeout=60)
        await call.read()
        await until_still(lambda: len(asked))
        assert asked[-1] < FEW
        following = [1]
        while (event := await call.read()) is not grpc.aio.EOF:
            following.append(event.sequence)
        assert following == list(range(1, MANY + 1))
