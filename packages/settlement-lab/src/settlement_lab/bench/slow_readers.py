"""Clients that send requests and never read the responses: the engine must not buffer without bound.

They have connections of their own, with the smallest flow-control window of HTTP/2: a window that grows
automatically would read for them.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import grpc

from settlement_engine.proto import settlement_pb2 as wire
from settlement_engine.proto import settlement_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from settlement_lab.bench.workload import Workload

CONNECTIONS: Final = 4
FOLLOWERS: Final = 4
"""How many clients follow the events on each connection."""

WRITTEN_MAX: Final = 2_000
"""How many settlements are requested on each connection, if the engine accepts as many unread."""

WRITING_SECONDS: Final = 3.0
OPTIONS: Final = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 65_535),
)


@asynccontextmanager
async def never_reading(target: str, workload: Workload) -> AsyncIterator[None]:
    """Run such clients for the length of the block; their requests are sent before it begins."""
    channels = [grpc.aio.insecure_channel(target, OPTIONS) for _ in range(CONNECTIONS)]
    try:
        stubs = [settlement_pb2_grpc.SettlementServiceStub(one) for one in channels]
        followed = [
            stub.StreamSettlementEvents(wire.StreamRequest())
            for stub in stubs
            for _ in range(FOLLOWERS)
        ]
        executed = [stub.ExecuteSettlements() for stub in stubs]
        await asyncio.gather(*(_write(call, workload) for call in executed))
        yield
        for call in (*followed, *executed):
            call.cancel()
    finally:
        for channel in channels:
            await channel.close()


async def _write(call: Any, workload: Workload) -> None:  # noqa: ANN401 - generated
    """Request settlements and leave the responses unread; stop when no more are accepted."""
    with suppress(TimeoutError):
        async with asyncio.timeout(WRITING_SECONDS):
            for _ in range(WRITTEN_MAX):
                await call.write(workload.one())
