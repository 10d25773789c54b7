"""Callers of the gRPC interface: they bring a load until its time is over, and tally what they see.

Promises: what the engine refuses for want of room is counted, waited out and replaced by another; what
is in flight at the end is waited for.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import grpc

from settlement_engine.bench.load import BATCH_ITEMS, Load, Tally, Way
from settlement_engine.bench.wishes import BANKS, CURRENCY, FUNDS, Spread, Wishes
from settlement_engine.errors import Unavailable
from settlement_engine.proto import settlement_pb2 as wire
from settlement_engine.proto import settlement_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from google.protobuf.message import Message

    from settlement_engine.bench.progress import Progress

CHANNELS: Final = 4
CALL_SECONDS: Final = 60.0
OPENING_AT_ONCE_MAX: Final = 200
TOUCH_SEED: Final = 1_000_000
NEVER_READING: Final = 4
"""So many streams on each connection are opened and never read."""

REFUSED_PAUSE_SECONDS: Final = 0.05
OUTSTANDING_MAX: Final = 20_000
"""An open loop that is this far behind sends no more: the caller's memory has a bound too."""

REFUSED: Final = frozenset(
    {grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ABORTED}
)
REFUSED_NUMBERS: Final = frozenset(code.value[0] for code in REFUSED)
REFUSED_REASONS: Final = frozenset({"OVERLOADED", "UNAVAILABLE", "CONTENTION"})
OPTIONS: Final = (
    ("grpc.use_local_subchannel_pool", 1),  # a connection for each channel, so that engines share
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 200),
)


class Callers:
    """Connections to an engine."""

    def __init__(self, target: str, channels: int = CHANNELS) -> None:
        self._channels = [grpc.aio.insecure_channel(target, OPTIONS) for _ in range(channels)]
        self.stubs = [settlement_pb2_grpc.SettlementServiceStub(one) for one in self._channels]
        self._accounts = settlement_pb2_grpc.AccountServiceStub(self._channels[0])

    async def close(self) -> None:
        """Hang up."""
        for channel in self._channels:
            await channel.close()

    async def open_accounts(self) -> None:
        """Open and fund the accounts of every bank, and let the engine get to know them.

        Again changes nothing, calls have their keys.
        """
        turn = asyncio.Semaphore(OPENING_AT_ONCE_MAX)

        async def call(method: Callable[..., Awaitable[Any]], request: Message) -> None:
            async with turn:
                await method(request, timeout=CALL_SECONDS)

        opening = [
            wire.OpenAccountRequest(
                kind=kind, bank=bank, currency=CURRENCY, idempotency_key=f"bench/{kind}/{bank}"
            )
            for bank in BANKS
            for kind in (wire.NOSTRO, wire.VOSTRO)
        ]
        funding = [
            wire.FundAccountRequest(
                bank=bank, currency=CURRENCY, amount=FUNDS, idempotency_key=f"bench/fund/{bank}"
            )
            for bank in BANKS
        ]
        await asyncio.gather(*(call(self._accounts.OpenAccount, one) for one in opening))
        await asyncio.gather(*(call(self._accounts.FundAccount, one) for one in funding))
        for number in range(len(self.stubs)):  # each may lead to another engine
            await self.submit_many(Wishes(Spread.MANY, TOUCH_SEED + number).each_bank(), number)

    async def submit_many(self, wishes: Sequence[wire.SettlementRequest], channel: int = 0) -> None:
        """Submit all of these, whatever becomes of them. Raises Unavailable unless all are taken."""
        tally = Tally()
        for start in range(0, len(wishes), BATCH_ITEMS):
            batch = wishes[start : start + BATCH_ITEMS]
            await _submit(self.stubs[channel], batch, time.monotonic(), tally)
        if tally.accepted < len(wishes):
            raise Unavailable(
                f"of {len(wishes)} settlements only {tally.accepted} were taken",
                why=str(tally.faults),
            )

    @asynccontextmanager
    async def never_reading(self) -> AsyncIterator[None]:
        """Open streams from which nobody reads, for the length of the block."""
        calls = [
            stub.StreamSettlementEvents(wire.StreamRequest())
            for stub in self.stubs
            for _ in range(NEVER_READING)
        ]
        try:
            yield
        finally:
            for call in calls:
                call.cancel()

    async def bring(
        self, load: Load, wishes: Wishes, progress: Progress, until: float, tally: Tally
    ) -> None:
        """Bring a load until a time of the monotonic clock."""
        if load.rate:
            await self._bring_open(load, wishes, until, tally)
            return
        ways: dict[Way, Callable[..., Awaitable[None]]] = {
            Way.UNARY: self._bring_unary,
            Way.BATCH: self._bring_batches,
            Way.STREAM: self._bring_streams,
        }
        await ways[load.way](load, wishes, progress, until, tally)

    # --- closed loops -----------------------------------------------------------------------------

    async def _bring_unary(
        self, load: Load, wishes: Wishes, _progress: Progress, until: float, tally: Tally
    ) -> None:
        async def caller(number: int) -> None:
            stub = self.stubs[number % len(self.stubs)]
            while (began := time.monotonic()) < until:
                if not await _execute(stub, wishes.one(), began, tally):
                    await asyncio.sleep(REFUSED_PAUSE_SECONDS)

        async with asyncio.TaskGroup() as group:
            for number in range(load.in_flight):
                group.create_task(caller(number))

    async def _bring_batches(
        self, load: Load, wishes: Wishes, progress: Progress, until: float, tally: Tally
    ) -> None:
        """Keep so many in flight: what was sent and has not yet been announced."""
        before = progress.lives
        sent = 0

        async def caller(stub: settlement_pb2_grpc.SettlementServiceAsyncStub) -> None:
            nonlocal sent
            while time.monotonic() < until:
                if sent - (progress.lives - before) + load.batch_items > load.in_flight:
                    await progress.wait()
                    continue
                sent += load.batch_items
                batch = wishes.many(load.batch_items)
                taken = await _submit(stub, batch, time.monotonic(), tally)
                sent -= load.batch_items - taken
                if taken < load.batch_items:
                    await asyncio.sleep(REFUSED_PAUSE_SECONDS)

        async with asyncio.TaskGroup() as group:
            for stub in self.stubs:
                group.create_task(caller(stub))

    async def _bring_streams(
        self, load: Load, wishes: Wishes, _progress: Progress, until: float, tally: Tally
    ) -> None:
        async with asyncio.TaskGroup() as group:
            for stub in self.stubs:
                share = max(1, load.in_flight // len(self.stubs))
                group.create_task(_stream(stub, wishes, share, until, tally))

    # --- open loops -------------------------------------------------------------------------------

    async def _bring_open(self, load: Load, wishes: Wishes, until: float, tally: Tally) -> None:
        """Send at even distances; the rate is that of settlements, whatever a call carries."""
        items = load.batch_items if load.way is Way.BATCH else 1
        distance = items / load.rate
        going: set[asyncio.Task[Any]] = set()
        refused: list[list[wire.SettlementRequest]] = []

        async def submit(stub: Any, due: float) -> None:  # noqa: ANN401 - generated
            # What was refused is sent again: a crowd of callers does so, and it costs us nothing.
            batch = refused.pop() if refused else wishes.many(items)
            if not await _submit(stub, batch, due, tally):
                refused.append(batch)

        due = time.monotonic()
        number = 0
        while due < until:
            if (early := due - time.monotonic()) > 0:
                await asyncio.sleep(early)
            stub = self.stubs[number % len(self.stubs)]
            if len(going) * items < OUTSTANDING_MAX:
                is_batch = load.way is Way.BATCH
                work = submit(stub, due) if is_batch else _execute(stub, wishes.one(), due, tally)
                task = asyncio.create_task(work)
                going.add(task)
                task.add_done_callback(going.discard)
            else:
                tally.refused += items
                await asyncio.sleep(0)
            due += distance
            number += 1
        if going:
            await asyncio.wait(going)


async def _execute(stub: Any, wish: wire.SettlementRequest, began: float, tally: Tally) -> bool:  # noqa: ANN401 - generated
    """Execute one; False when the engine had no room."""
    try:
        answer = await stub.ExecuteSettlement(wish, timeout=CALL_SECONDS)
    except grpc.aio.AioRpcError as error:
        if error.code() in REFUSED:
            tally.refused += 1
            return False
        tally.faults[f"{error.code().name}: {error.details()}"] += 1
        return False
    now = time.monotonic()
    tally.latencies.add(now - began)
    tally.accepted += 1
    tally.accepted_at = now
    tally.statuses[answer.status] += 1
    return True


async def _submit(
    stub: Any,  # noqa: ANN401 - generated
    batch: Sequence[wire.SettlementRequest],
    began: float,
    tally: Tally,
) -> int:
    """Submit a batch; return how many were taken."""
    try:
        answer = await stub.SubmitSettlements(
            wire.SubmitSettlementsRequest(settlements=batch), timeout=CALL_SECONDS
        )
    except grpc.aio.AioRpcError as error:
        if error.code() in REFUSED:
            tally.refused += len(batch)
        else:
            tally.faults[f"{error.code().name}: {error.details()}"] += len(batch)
        return 0
    now = time.monotonic()
    taken = 0
    for result in answer.results:
        if not result.HasField("error"):
            taken += 1
        elif result.error.code in REFUSED_NUMBERS:
            tally.refused += 1
        else:
            tally.faults[result.error.message] += 1
    if taken:
        tally.latencies.add(now - began)
        tally.accepted += taken
        tally.accepted_at = now
    return taken


async def _stream(stub: Any, wishes: Wishes, share: int, until: float, tally: Tally) -> None:  # noqa: ANN401 - generated
    """Keep so many in flight on one stream."""
    call = stub.ExecuteSettlements()
    free = asyncio.Semaphore(share)
    began_at: dict[str, float] = {}

    async def write() -> None:
        while time.monotonic() < until:
            await free.acquire()
            wish = wishes.one()
            began_at[wish.obligation_id] = time.monotonic()
            await call.write(wish)
        await call.done_writing()

    writing = asyncio.create_task(write())
    async for answer in call:
        now = time.monotonic()
        began = began_at.pop(answer.obligation_id, None)
        if answer.settlement_id:
            if began is not None:
                tally.latencies.add(now - began)
            tally.accepted += not answer.replayed
            tally.accepted_at = now
            tally.statuses[answer.status] += 1
        elif answer.refusal_code in REFUSED_REASONS:
            tally.refused += 1
        else:
            tally.faults[answer.refusal_code] += 1
        free.release()
    await writing


@asynccontextmanager
async def connected(target: str, channels: int = CHANNELS) -> AsyncIterator[Callers]:
    """Be connected for the length of the block. Raises Unavailable."""
    callers = Callers(target, channels)
    try:
        await callers.stubs[0].ListSettlements(
            wire.ListSettlementsRequest(page_size=1), timeout=CALL_SECONDS, wait_for_ready=True
        )
        yield callers
    except grpc.aio.AioRpcError as error:
        what = "the engine does not answer the bench"
        raise Unavailable(what, why=error.details() or error.code().name) from error
    finally:
        await callers.close()
