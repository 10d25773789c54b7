"""The callers of the demo: they submit batches concurrently, and repeat calls without an answer.

Promises: a batch is repeated until each of its items is answered, always with the same keys; the waiting
time is bounded.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, cast

import grpc

from settlement_engine.cli.call_errors import explain_status
from settlement_engine.cli.connection import CHANNEL_OPTIONS
from settlement_engine.errors import SettlementEngineError, Unavailable
from settlement_engine.proto import settlement_pb2 as wire
from settlement_engine.proto import settlement_pb2_grpc
from settlement_lab.bench.listing import PAGE_ITEMS, all_items

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from settlement_lab.commands.demo.payments import DemoOrder

BATCH_ITEMS_MAX: Final = 250
BATCHES_MIN: Final = 20
CALLERS: Final = 4
CALL_SECONDS: Final = 20.0
RESEND_SECONDS: Final = 0.1
EXTERNAL_TIMEOUT_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.1
MOCK_RAIL: Final = "mock"
"""Named, so that no order for the mock bank takes another rail while its lane is full."""

TAIL_EVENTS: Final = 1_000
RECONNECTING: Final = (
    *CHANNEL_OPTIONS,
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 200),
)
PASSING: Final = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.CANCELLED,
    }
)
"""The statuses after which an instruction is sent again under the same key."""

PASSING_NUMBERS: Final = frozenset(code.value[0] for code in PASSING)
OPEN: Final = (
    *(wire.PENDING, wire.VALIDATING, wire.HELD, wire.QUEUED),
    *(wire.EXECUTING, wire.IN_DOUBT, wire.RECALLING),
)


class DemoCalls:
    """Clients of a running engine."""

    def __init__(self, target: str) -> None:
        self._channel = grpc.aio.insecure_channel(target, RECONNECTING)
        self._settlements = settlement_pb2_grpc.SettlementServiceStub(self._channel)
        self._accounts = settlement_pb2_grpc.AccountServiceStub(self._channel)
        self._resent: set[str] = set()

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()

    @property
    def resent(self) -> int:
        """How many instructions were sent more than once."""
        return len(self._resent)

    async def submit(self, payments: Sequence[DemoOrder], accepted: Callable[[int], None]) -> None:
        """Submit everything; ``accepted`` gets the number of newly accepted instructions."""
        size = max(1, min(BATCH_ITEMS_MAX, len(payments) // BATCHES_MIN))
        starts = iter(range(0, len(payments), size))

        async def caller() -> None:
            for start in starts:
                batch = [_request(request) for request in payments[start : start + size]]
                await self._submit_batch(batch, accepted)

        async with asyncio.TaskGroup() as callers:
            for _ in range(CALLERS):
                callers.create_task(caller())

    async def await_ends(self, note: Callable[[int], None]) -> None:
        """Wait until no settlement is open, or until a time-out; the checks find open ones."""
        deadline = time.monotonic() + EXTERNAL_TIMEOUT_SECONDS
        wanted = wire.ListSettlementsRequest(statuses=OPEN, page_size=PAGE_ITEMS)
        while time.monotonic() < deadline:
            try:
                page = await self._settlements.ListSettlements(wanted, timeout=CALL_SECONDS)
            except grpc.aio.AioRpcError as error:
                _raise_unless_passing(error)
            else:
                note(len(page.settlements))
                if not page.settlements:
                    return
            await asyncio.sleep(POLL_SECONDS)

    async def settlements(self) -> list[wire.SettlementStatusResponse]:
        """Read all settlements."""
        wanted = wire.ListSettlementsRequest()
        call = self._settlements.ListSettlements
        return await all_items(call, wanted, "settlements", CALL_SECONDS)

    async def accounts(self) -> list[wire.Account]:
        """Read all accounts with their balances."""
        wanted = wire.ListAccountsRequest()
        return await all_items(self._accounts.ListAccounts, wanted, "accounts", CALL_SECONDS)

    async def events(self, after: int) -> AsyncIterator[wire.SettlementEvent]:
        """Read the engine's event stream from a position to the newest event."""
        request = wire.StreamRequest(after_sequence=after, ends_at_head=True)
        async for event in self._settlements.StreamSettlementEvents(request, timeout=CALL_SECONDS):
            yield event

    async def _submit_batch(
        self, requests: list[wire.SettlementRequest], accepted: Callable[[int], None]
    ) -> None:
        deadline = time.monotonic() + EXTERNAL_TIMEOUT_SECONDS
        while True:
            before = len(requests)
            requests = await self._submit_once(requests)
            accepted(before - len(requests))
            if not requests:
                return
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"{len(requests)} instructions were not accepted",
                    why=f"the engine did not answer for {EXTERNAL_TIMEOUT_SECONDS:g} s",
                    todo="Read the engine's log.",
                )
            self._resent.update(request.idempotency_key for request in requests)
            await asyncio.sleep(RESEND_SECONDS)

    async def _submit_once(
        self, requests: list[wire.SettlementRequest]
    ) -> list[wire.SettlementRequest]:
        """Send a batch; return the instructions that must be sent again."""
        batch = wire.SubmitSettlementsRequest(settlements=requests)
        try:
            answer = await self._settlements.SubmitSettlements(batch, timeout=CALL_SECONDS)
        except grpc.aio.AioRpcError as error:
            _raise_unless_passing(error)
            return requests
        again: list[wire.SettlementRequest] = []
        for request, result in zip(requests, answer.results, strict=True):
            if not result.HasField("error"):
                continue
            if result.error.code not in PASSING_NUMBERS:
                raise SettlementEngineError(
                    f"{request.obligation_id} was not accepted", why=explain_status(result.error)
                )
            again.append(request)
        return again


def _raise_unless_passing(error: grpc.aio.AioRpcError) -> None:
    if error.code() not in PASSING:
        raise SettlementEngineError(
            "the engine refused a call of the demo", why=error.details() or error.code().name
        ) from error


def _request(request: DemoOrder) -> wire.SettlementRequest:
    return wire.SettlementRequest(
        obligation_id=request.obligation_id,
        from_bank=request.from_bank,
        to_bank=request.to_bank,
        amount=request.amount,
        currency=request.currency,
        priority=cast("wire.Priority.ValueType", request.priority),
        metadata=request.metadata,
        idempotency_key=request.key,
        rail=request.rail or MOCK_RAIL,
        delivery=wire.DELIVERY_PAY_OUT if request.is_paid_out else wire.DELIVERY_UNSPECIFIED,
    )
