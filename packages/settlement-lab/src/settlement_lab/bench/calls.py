"""Single calls that submit settlements: made, timed and counted.

Promises: a refusal because of overload is counted separately, with the delay after which the engine asks
to be called again. A refusal without this advice is a fault of the engine, and is counted as one.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

import grpc
from google.rpc.error_details_pb2 import RetryInfo
from grpc_status import rpc_status

from settlement_engine.proto import settlement_pb2 as wire

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.rpc.status_pb2 import Status

    from settlement_lab.bench.load import Tally
    from settlement_lab.bench.workload import Workload

CALL_SECONDS: Final = 60.0
PAUSE_SECONDS: Final = 0.05
"""How long a refused caller waits when the engine gave no delay."""

NANOS: Final = 1e9
REFUSED: Final = frozenset(
    {grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ABORTED}
)
REFUSED_NUMBERS: Final = frozenset(code.value[0] for code in REFUSED)
WITHOUT_ADVICE: Final = "refused without a retry delay"


async def execute(stub: Any, request: wire.SettlementRequest, began: float, tally: Tally) -> float:  # noqa: ANN401 - generated
    """Execute one settlement; return the seconds to wait before the next: 0 unless it was refused."""
    try:
        answer = await stub.ExecuteSettlement(request, timeout=CALL_SECONDS)
    except grpc.aio.AioRpcError as error:
        return _refused(error, 1, tally)
    now = time.monotonic()
    tally.latencies.add(now - began)
    tally.accepted += 1
    tally.accepted_at = now
    tally.statuses[answer.status] += 1
    return 0.0


async def submit(
    stub: Any,  # noqa: ANN401 - generated
    batch: Sequence[wire.SettlementRequest],
    began: float,
    tally: Tally,
) -> tuple[int, float]:
    """Submit a batch; return how many were accepted, and the seconds to wait before the next."""
    try:
        answer = await stub.SubmitSettlements(
            wire.SubmitSettlementsRequest(settlements=batch), timeout=CALL_SECONDS
        )
    except grpc.aio.AioRpcError as error:
        return 0, _refused(error, len(batch), tally)
    now = time.monotonic()
    taken = 0
    pause_seconds = 0.0
    for result in answer.results:
        if not result.HasField("error"):
            taken += 1
        elif result.error.code in REFUSED_NUMBERS:
            pause_seconds = _advised(result.error.code, result.error, 1, tally)
        else:
            tally.faults[result.error.message] += 1
    if taken:
        tally.latencies.add(now - began)
        tally.accepted += taken
        tally.accepted_at = now
    return taken, pause_seconds


def _refused(error: Any, count: int, tally: Tally) -> float:  # noqa: ANN401 - its types differ
    """Count a failed call; return the seconds to wait."""
    if error.code() in REFUSED:
        return _advised(error.code().value[0], rpc_status.from_call(error), count, tally)
    tally.faults[f"{error.code().name}: {error.details()}"] += count
    return PAUSE_SECONDS


def _advised(code: int, status: Status | None, count: int, tally: Tally) -> float:
    """Count a refusal; return the seconds that the engine asks to wait."""
    tally.refused += count
    advice = RetryInfo()
    for detail in status.details if status is not None else ():
        if detail.Unpack(advice):
            return float(advice.retry_delay.seconds + advice.retry_delay.nanos / NANOS)
    if code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]:
        tally.faults[WITHOUT_ADVICE] += count
    return PAUSE_SECONDS


async def keep_streaming(
    stub: Any,  # noqa: ANN401 - generated
    workload: Workload,
    share: int,
    until: float,
    tally: Tally,
) -> None:
    """Keep ``share`` settlements in flight on one stream."""
    call = stub.ExecuteSettlements()
    free = asyncio.Semaphore(share)
    began_at: dict[str, float] = {}

    async def write() -> None:
        while time.monotonic() < until:
            await free.acquire()
            request = workload.one()
            began_at[request.obligation_id] = time.monotonic()
            await call.write(request)
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
        elif answer.error.code in REFUSED_NUMBERS:
            _advised(answer.error.code, answer.error, 1, tally)
        else:
            tally.faults[answer.error.message] += 1
        free.release()
    await writing
