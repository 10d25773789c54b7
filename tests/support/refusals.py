"""Refusals before the point of no return, timed from the call to the announcement on JetStream."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from typing import TYPE_CHECKING, Self

import nats

from settlement_engine.proto import settlement_pb2 as pb
from tests.support.soak_installation import BANKS

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg

    from settlement_engine.proto import settlement_pb2_grpc as rpc

STREAM = "settlement-events"
TIMEOUT_SECONDS = 20.0
CALL_SECONDS = 10.0
TOO_MUCH = "99999999999.00"

_numbers = itertools.count(1)


class Listener:
    """Records when each obligation was announced as failed."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._waiting: dict[str, asyncio.Future[float]] = {}
        self._connection: Client | None = None

    async def __aenter__(self) -> Self:
        """Subscribe to the announcements."""
        self._connection = await nats.connect(self._url, allow_reconnect=False)
        await self._connection.subscribe("settlement.failed", cb=self._hear)
        await self._connection.flush()
        return self

    async def __aexit__(self, *_: object) -> None:
        """End the subscription."""
        assert self._connection is not None
        await self._connection.close()

    async def _hear(self, message: Msg) -> None:
        future = self._waiting.pop(json.loads(message.data)["obligation_id"], None)
        if future is not None and not future.done():
            future.set_result(time.monotonic())

    def expect(self, obligation_id: str) -> asyncio.Future[float]:
        """Return a future with the time of the announcement."""
        future = self._waiting[obligation_id] = asyncio.get_running_loop().create_future()
        return future


async def refuse(stub: rpc.SettlementServiceStub, name: str, listener: Listener) -> float:
    """Request more than the available funds; return the seconds until the refusal was announced."""
    obligation_id = f"refused-{name}-{next(_numbers)}"
    payment_request = pb.SettlementRequest(
        obligation_id=obligation_id,
        from_bank=BANKS[0],
        to_bank=BANKS[1],
        amount=TOO_MUCH,
        currency="EUR",
    )
    heard = listener.expect(obligation_id)
    began = time.monotonic()
    found = await asyncio.to_thread(stub.ExecuteSettlement, payment_request, timeout=CALL_SECONDS)
    assert found.refusal_code == "INSUFFICIENT_FUNDS", found
    async with asyncio.timeout(TIMEOUT_SECONDS):
        return await heard - began
