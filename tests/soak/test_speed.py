"""Acceptance 10, from outside: batches beyond 1,000 a second to the end, one alone under 50 ms.

Absolute figures depend on the machine and on what else it does: that is why this is not in `make test`.
Run it alone: `make soak ARGS="-k speed -s"`.
"""

from __future__ import annotations

import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from settlement_engine.proto import settlement_pb2 as pb
from tests.e2e.jetstream import read_stream
from tests.e2e.world import World, until, wish

if TYPE_CHECKING:
    from pathlib import Path

BANKS = 100
SETTLEMENTS = 20_000
BATCH = 250
CALLERS = 8
ALONE = 200
PER_SECOND_MIN = 1_000
ALONE_SECONDS_MAX = 0.050
MOVES_PER_SETTLEMENT = 3
ZERO_LATENCY = ("--set", "banks.mock_latency_ms=0", "--set", "banks.mock_success_rate=1")


def test_speed_of_batches_and_of_one_alone(tmp_path: Path) -> None:
    """Accepted, completed and announced, with fsync on everywhere."""
    with World(tmp_path, *ZERO_LATENCY) as world:
        banks = [f"BANK{number:04}" for number in range(BANKS)]
        for bank in banks:
            world.open_bank(bank, "EUR", "9000000000.00")
        alone = sorted(_alone(world) for _ in range(ALONE))
        began = time.monotonic()
        with ThreadPoolExecutor(CALLERS) as pool:
            list(pool.map(lambda n: _submit(world, banks, n), range(SETTLEMENTS // BATCH)))
        accepted = time.monotonic() - began
        wanted = MOVES_PER_SETTLEMENT * (SETTLEMENTS + ALONE)
        until(lambda: _published(world) >= wanted, 120, "everything to be announced")
        announced = time.monotonic() - began
        assert len(read_stream(world)) == wanted
    median = alone[len(alone) // 2]
    print(
        f"\naccepted {SETTLEMENTS / accepted:,.0f}/s · announced {SETTLEMENTS / announced:,.0f}/s"
        f" · alone p50 {median * 1000:.1f} ms, p99 {alone[-3] * 1000:.1f} ms"
    )
    assert SETTLEMENTS / announced > PER_SECOND_MIN
    assert median < ALONE_SECONDS_MAX


def _alone(world: World) -> float:
    began = time.monotonic()
    assert world.execute(from_bank="BANK0000", to_bank="BANK0001").status == pb.COMPLETED
    return time.monotonic() - began


def _submit(world: World, banks: list[str], number: int) -> None:
    batch = [
        wish(
            obligation_id=str(uuid.uuid4()),
            from_bank=banks[(number + place) % BANKS],
            to_bank=banks[(number + place + 1) % BANKS],
        )
        for place in range(BATCH)
    ]
    while batch:
        request = pb.SubmitSettlementsRequest(settlements=batch)
        results = world.settlements.SubmitSettlements(request, timeout=30).results
        batch = [
            each for each, result in zip(batch, results, strict=True) if result.HasField("error")
        ]


def _published(world: World) -> int:
    return len(read_stream(world)) if _is_quiet(world) else 0


def _is_quiet(world: World) -> bool:
    open_ones = pb.ListSettlementsRequest(
        statuses=[pb.VALIDATING, pb.EXECUTING, pb.IN_DOUBT], page_size=1
    )
    return not world.settlements.ListSettlements(open_ones, timeout=30).settlements
