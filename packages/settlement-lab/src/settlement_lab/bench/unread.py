"""Callers who ask and never read: what an engine writes for them must not grow in its memory.

They have connections of their own, with the smallest window that HTTP/2 has; a window that grows by
itself would read for them.
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

    from settlement_lab.bench.wishes import Wishes

CONNECTIONS: Final = 4
FOLLOWERS: Final = 4
"""So many follow the events on each connection."""

WRITTEN_MAX: Final = 2_000
"""So many settlements are asked for on each connection, if the engine takes as many unread."""

WRITING_SECONDS: Final = 3.0
OPTIONS: Final = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 65_535),
)


@asynccontextmanager
async def never_reading(target: str, wishes: Wishes) -> AsyncIterator[None]:
    """Have such callers for the length of the block; what they ask for was asked for before it."""
    channels = [grpc.aio.insecure_channel(target, OPTIONS) for _ in range(CONNECTIONS)]
    try:
        stubs = [settlement_pb2_grpc.SettlementServiceStub(one) for one in channels]
        followed = [
            stub.StreamSettlementEvents(wire.StreamRequest())
            for stub in stubs
            for _ in range(FOLLOWERS)
        ]
        executed = [stub.ExecuteSettlements() for stub in stubs]
        await asyncio.gather(*(_write(call, wishes) for call in executed))
        yield
        for call in (*followed, *executed):
            call.cancel()
    finally:
        for channel in channels:
            await channel.close()


async def _write(call: Any, wishes: Wishes) -> None:  # noqa: ANN401 - generated
    """Ask for settlements and leave the answers where they are; stop when no more is taken."""
    with suppress(TimeoutError):
        async with asyncio.timeout(WRITING_SECONDS):
            for _ in range(WRITTEN_MAX):
                await call.write(wishes.one())
