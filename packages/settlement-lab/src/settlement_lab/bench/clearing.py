"""The clearing system as a load: instructions are published to JetStream, a bounded number ahead."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Final

import nats

if TYPE_CHECKING:
    from settlement_lab.bench.load import Load, Tally
    from settlement_lab.bench.progress import Progress
    from settlement_lab.bench.workload import Workload

SUBJECT: Final = "clearing.instructions"
ACKS_WAITING_MAX: Final = 250
CONNECT_SECONDS: Final = 5


async def bring_from_clearing(
    nats_url: str, load: Load, workload: Workload, progress: Progress, until: float, tally: Tally
) -> None:
    """Publish until the time is over, with at most ``in_flight`` more than have ended and been announced."""
    connection = await nats.connect(nats_url, connect_timeout=CONNECT_SECONDS)
    try:
        jetstream = connection.jetstream()
        before = progress.messages
        while time.monotonic() < until:
            ended = progress.ended(before, tally.accepted)
            if tally.accepted - ended + ACKS_WAITING_MAX > load.in_flight:
                await progress.wait()
                continue
            bodies = [_body(workload) for _ in range(ACKS_WAITING_MAX)]
            await asyncio.gather(*(jetstream.publish(SUBJECT, body) for body in bodies))
            tally.accepted += len(bodies)
            tally.accepted_at = time.monotonic()
    finally:
        await connection.close()


def _body(workload: Workload) -> bytes:
    request = workload.one()
    return json.dumps(
        {
            "obligation_id": request.obligation_id,
            "from_bank": request.from_bank,
            "to_bank": request.to_bank,
            "amount": request.amount,
            "currency": request.currency,
        }
    ).encode()
