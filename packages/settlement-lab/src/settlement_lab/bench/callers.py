"""Clients of the gRPC interface: they produce a load for a given time, and count what they observe.

Promises: a request that the engine refuses because of overload is counted, and another one is sent after
the advised delay. Requests that are in flight at the end are awaited.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import grpc

from settlement_engine.errors import Unavailable
from settlement_engine.proto import settlement_pb2 as wire
from settlement_engine.proto import settlement_pb2_grpc
from settlement_lab.bench.calls import CALL_SECONDS, execute, keep_streaming, submit
from settlement_lab.bench.load import BATCH_ITEMS, Load, Tally, Way
from settlement_lab.bench.progress import MOVES
from settlement_lab.bench.workload import BANKS, CURRENCY, FUNDS, LoadSpread, Workload

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence

    from google.protobuf.message import Message

    from settlement_lab.bench.progress import Progress

CHANNELS: Final = 4
OPENING_AT_ONCE_MAX: Final = 200
TOUCH_SEED: Final = 1_000_000
OUTSTANDING_MAX: Final = 20_000
"""The greatest number of sends that an open loop may be late; beyond it, it stops: memory is bounded."""

OPTIONS: Final = (
    ("grpc.use_local_subchannel_pool", 1),  # each channel has its own connection
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 200),
)


class BenchCallers:
    """Connections to an engine."""

    def __init__(self, target: str, channels: int = CHANNELS) -> None:
        self._channels = [grpc.aio.insecure_channel(target, OPTIONS) for _ in range(channels)]
        self.stubs = [settlement_pb2_grpc.SettlementServiceStub(one) for one in self._channels]
        self._accounts = settlement_pb2_grpc.AccountServiceStub(self._channels[0])

    async def close(self) -> None:
        """Close the connections."""
        for channel in self._channels:
            await channel.close()

    async def open_accounts(self, *, is_touched: bool = True) -> None:
        """Open and fund the accounts of every bank; with ``is_touched`` also settle once for each bank.

        Calling it again changes nothing, because the calls have idempotency keys.
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
        for number in range(
            len(self.stubs) if is_touched else 0
        ):  # each channel may be connected to another engine
            await self.submit_many(
                Workload(LoadSpread.MANY, TOUCH_SEED + number).each_bank(), number
            )

    async def submit_many(
        self, workload: Sequence[wire.SettlementRequest], channel: int = 0
    ) -> None:
        """Submit all of these requests; a refused request is sent again.

        Raises Unavailable unless all are accepted.
        """
        tally = Tally()
        deadline = time.monotonic() + CALL_SECONDS
        for start in range(0, len(workload), BATCH_ITEMS):
            batch = workload[start : start + BATCH_ITEMS]
            taken, pause_seconds = 0, 0.0
            while not taken and time.monotonic() < deadline:
                await asyncio.sleep(pause_seconds)
                began = time.monotonic()
                taken, pause_seconds = await submit(self.stubs[channel], batch, began, tally)
        if tally.accepted < len(workload):
            raise Unavailable(
                f"of {len(workload)} settlements only {tally.accepted} were accepted",
                why=str(tally.faults),
            )

    async def bring(
        self, load: Load, workload: Workload, progress: Progress, until: float, tally: Tally
    ) -> None:
        """Produce a load until a time of the monotonic clock, in seconds."""
        ways: dict[Way, Callable[..., Coroutine[Any, Any, None]]] = {
            Way.UNARY: self._bring_unary,
            Way.BATCH: self._bring_batches,
            Way.STREAM: self._bring_streams,
        }
        bring = self._bring_open if load.rate else ways[load.way]
        async with asyncio.TaskGroup() as group:
            group.create_task(self._probe(load.probes, workload, until, tally))
            group.create_task(bring(load, workload, progress, until, tally))

    async def _probe(self, count: int, workload: Workload, until: float, tally: Tally) -> None:
        """Run ``count`` callers beside the load; each executes one settlement at a time and times it."""
        probed = Tally(latencies=tally.ends, faults=tally.faults, statuses=tally.statuses)
        alone = Load(name="probe", way=Way.UNARY, spread=LoadSpread.MANY, in_flight=count)
        await self._bring_unary(alone, workload, None, until, probed)
        tally.accepted += probed.accepted
        tally.refused += probed.refused

    # --- closed loops -----------------------------------------------------------------------------

    async def _bring_unary(
        self, load: Load, workload: Workload, _progress: object, until: float, tally: Tally
    ) -> None:
        async def caller(number: int) -> None:
            stub = self.stubs[number % len(self.stubs)]
            while (began := time.monotonic()) < until:
                if pause_seconds := await execute(stub, workload.one(), began, tally):
                    await asyncio.sleep(pause_seconds)

        async with asyncio.TaskGroup() as group:
            for number in range(load.in_flight):
                group.create_task(caller(number))

    async def _bring_batches(
        self, load: Load, workload: Workload, progress: Progress, until: float, tally: Tally
    ) -> None:
        """Keep a number of settlements in flight: those sent and not yet announced."""
        before = progress.messages
        sent = 0

        async def caller(stub: settlement_pb2_grpc.SettlementServiceAsyncStub) -> None:
            nonlocal sent
            while time.monotonic() < until:
                ended = progress.ended(before + MOVES * tally.ends.count, tally.accepted)
                if sent - ended + load.batch_items > load.in_flight:
                    await progress.wait()
                    continue
                sent += load.batch_items
                batch = workload.many(load.batch_items)
                taken, pause_seconds = await submit(stub, batch, time.monotonic(), tally)
                sent -= load.batch_items - taken
                await asyncio.sleep(pause_seconds)

        async with asyncio.TaskGroup() as group:
            for stub in self.stubs:
                group.create_task(caller(stub))

    async def _bring_streams(
        self, load: Load, workload: Workload, _progress: Progress, until: float, tally: Tally
    ) -> None:
        async with asyncio.TaskGroup() as group:
            for stub in self.stubs:
                share = max(1, load.in_flight // len(self.stubs))
                group.create_task(keep_streaming(stub, workload, share, until, tally))

    # --- open loops -------------------------------------------------------------------------------

    async def _bring_open(
        self, load: Load, workload: Workload, _progress: object, until: float, tally: Tally
    ) -> None:
        """Send at even intervals; the rate counts settlements, however many a call carries."""
        items = load.batch_items if load.way is Way.BATCH else 1
        distance = items / load.rate
        going: set[asyncio.Task[Any]] = set()
        refused: list[list[wire.SettlementRequest]] = []

        async def submit_one(stub: Any, due: float) -> None:  # noqa: ANN401 - generated
            # A refused request is sent again, as a large number of real callers would do.
            batch = refused.pop() if refused else workload.many(items)
            taken, _ = await submit(stub, batch, due, tally)
            if not taken:
                refused.append(batch)

        due = time.monotonic()
        number = 0
        while due < until:
            if (early := due - time.monotonic()) > 0:
                await asyncio.sleep(early)
            stub = self.stubs[number % len(self.stubs)]
            if len(going) * items < OUTSTANDING_MAX:
                is_batch = load.way is Way.BATCH
                work: Coroutine[Any, Any, object] = (
                    submit_one(stub, due) if is_batch else execute(stub, workload.one(), due, tally)
                )
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


@asynccontextmanager
async def connected(target: str, channels: int = CHANNELS) -> AsyncIterator[BenchCallers]:
    """Connect for the length of the block. Raises Unavailable."""
    callers = BenchCallers(target, channels)
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
